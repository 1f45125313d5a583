"""The picture of docs/dicom.md: the sample as a DICOM series, its truth exported, as others read it.

    python benchmarks/dicom_picture.py docs/images/dicom.png

Needs limnet[dicom], dcmqi, plastimatch, SimpleITK and matplotlib.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import SimpleITK

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dicom_files import write_series  # tests/ writes real series
from limnet.sample import sample_truth_path, sample_volume_path
from limnet.volume import read_mask, read_volume
from limnet.volume.dicom.source import read_source
from limnet.volume.exchange import write_structures
from limnet.volume.placing import placed
from limnet.volume.structure import Structure

TOOLS = Path(sys.executable).parent


def main(target: Path) -> None:
    """Write, read elsewhere, draw."""
    sample = read_volume(sample_volume_path())
    truth = read_mask(sample_truth_path(), like=sample) != 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_series(folder / "scan", sample.array.astype(np.int16), sample.affine)
        volume, source = read_volume(folder / "scan"), read_source(folder / "scan")
        truth = placed(truth, sample.affine, volume, "the sample's truth")  # its slices count the other way
        tumour = [Structure.of("Tumour", truth, "#ee6677", "neoplasm")]
        write_structures(folder / "seg.dcm", tumour, volume, kind="seg", source=source)
        write_structures(folder / "rt.dcm", tumour, volume, kind="rtstruct", source=source)
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "scan")))
        scan = reader.Execute()
        masks = {
            "DICOM-SEG, read by dcmqi": by_dcmqi(folder),
            "RTSTRUCT, read by plastimatch": by_plastimatch(folder),
        }
        k = int(np.argmax(truth.sum((0, 1))))
        figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained")
        for axis, (title, mask) in zip(axes, masks.items(), strict=True):
            shown = SimpleITK.Resample(mask, scan, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
            axis.imshow(SimpleITK.GetArrayFromImage(scan)[k], cmap="gray")
            axis.contour(SimpleITK.GetArrayFromImage(shown)[k] > 0, [0.5], colors="#ee6677", linewidths=1.5)
            axis.set_title(title, fontsize=10)
            axis.axis("off")
        figure.savefig(target, dpi=80)


def by_dcmqi(folder: Path) -> SimpleITK.Image:
    """The segmentation as dcmqi converts it."""
    words = [
        "--inputDICOM",
        folder / "seg.dcm",
        "--outputDirectory",
        folder,
        "-t",
        "nifti",
        "--prefix",
        "dcmqi",
    ]
    subprocess.run([TOOLS / "segimage2itkimage", *words], check=True, capture_output=True)
    (path,) = folder.glob("dcmqi*.nii.gz")
    return SimpleITK.ReadImage(str(path))


def by_plastimatch(folder: Path) -> SimpleITK.Image:
    """The structure set as plastimatch fills it on the scan it reads itself."""
    words = [
        "--input",
        folder / "rt.dcm",
        "--referenced-ct",
        folder / "scan",
        "--output-prefix",
        folder / "pm",
    ]
    subprocess.run(
        [TOOLS / "plastimatch", "convert", *words, "--prefix-format", "nrrd"], check=True, capture_output=True
    )
    (path,) = (folder / "pm").glob("*.nrrd")
    return SimpleITK.ReadImage(str(path))


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main(Path(sys.argv[1]))
