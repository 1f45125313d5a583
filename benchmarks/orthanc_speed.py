"""Seconds and memory of DICOMweb with a real Orthanc, for docs/dicom.md: orthanc_speed.py 512.

Every command is a process of its own, its start included; the number is that of the slices, 512 x 512 each.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from limnet import read_volume, write_mask

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import orthanc
from dicom_files import random_affine, write_series

WATCH = (  # runs a command, then prints its peak of memory
    "import resource, subprocess, sys\n"
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)\n"
    "sys.exit(code)\n"
)


def timed(what: str, *words: object) -> None:
    """Run limnet with these words; print a row of the table."""
    credentials = {"LIMNET_DICOMWEB_USER": orthanc.USER, "LIMNET_DICOMWEB_PASSWORD": orthanc.PASSWORD}
    command = [sys.executable, "-c", WATCH, sys.executable, "-m", "limnet", *map(str, words)]
    start = time.monotonic()
    done = subprocess.run(command, env=os.environ | credentials, check=True, capture_output=True, text=True)
    print(f"| {what} | {time.monotonic() - start:.1f} | {done.stdout.strip()} MiB |", flush=True)


def measure(place: Path, num_slices: int) -> None:
    """Store a CT, fetch it, read it; store results of it."""
    scan, rng = place / "scan", np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (512, 512, num_slices), dtype=np.int16)
    paths = write_series(scan, voxels, random_affine(rng), modality="CT", study="1.2.3", series="1.2.3.4")
    print(f"{num_slices} slices, {sum(path.stat().st_size for path in paths) >> 20} MiB")
    mask = np.zeros(voxels.shape, np.uint8)
    mask[100:300, 150:350, num_slices // 4 : num_slices * 3 // 4] = 1
    write_mask(place / "mask.nii.gz", mask, read_volume(scan))
    results = [place / "seg.dcm", place / "rtstruct.dcm"]
    with orthanc.orthanc(place / "orthanc") as root:
        address = f"{root}/studies/1.2.3/series/1.2.3.4"
        timed("info, of nothing", "info")
        timed("dicomweb store", "dicomweb", "store", root, *paths)
        timed("dicomweb list", "dicomweb", "list", root)
        timed("dicomweb get", "dicomweb", "get", address, "-o", place / "back")
        assert [p.read_bytes() for p in sorted((place / "back").iterdir())] == [p.read_bytes() for p in paths]
        timed("info of the address", "info", address)
        timed("info of the folder", "info", scan)
        for path, kind in zip(results, ("seg", "rtstruct"), strict=True):
            words = ("--mask", place / "mask.nii.gz", "-o", path, "--kind", kind)
            timed(f"export --kind {kind}", "export", scan, *words)
        timed("dicomweb store of both", "dicomweb", "store", root, *results)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), int(sys.argv[1]))
