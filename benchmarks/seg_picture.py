"""The picture of docs/batch.md: a DICOM-SEG of `limnet batch`, opened by the reader of another viewer.

    python benchmarks/seg_picture.py docs/pictures/seg-by-dcmjs.png

The sample becomes a DICOM series, a batch segments it from two files of prompts, and dcmjs, the library by
which OHIF reads segmentations, opens series and result: names, colours, slices and pixels are what it says.
Needs limnet[dicom], matplotlib, and node with npm, which fetches dcmjs (MIT) into a temporary folder.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from dicom_files import write_series  # tests/ writes real series
from limnet.cli import main
from limnet.sample import sample_volume_path
from limnet.volume import read_volume, to_index, to_world

DCMJS = "dcmjs@0.52.2"
READER = Path(__file__).with_name("seg_reader.mjs")
PROMPTS: dict[str, dict[str, Any]] = {  # voxels of the sample as it is shipped
    "tumour": {
        "clicks": [
            {"index": [181, 101, 16]},
            {"index": [166, 110, 15]},
            {"index": [150, 60, 16], "positive": False},
        ]
    },
    "ventricle": {"clicks": [{"index": [97, 101, 14]}, {"index": [120, 173, 13]}, {"index": [108, 139, 15]}]},
}


def draw(target: Path) -> None:
    """Segment, export, read elsewhere, draw."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        segment(folder)
        found = read_by_dcmjs(folder / "out" / "brain1.seg.dcm", folder / "scan", folder)
        for frame in found["frames"]:  # each lies where its source image lies
            image = next(image for image in found["images"] if image["uid"] == frame["uid"])
            assert np.allclose(np.array(frame["place"], float), np.array(image["place"], float), atol=1e-4)
        picture(found, target)


def segment(folder: Path) -> None:
    """The sample as a series, and what a batch makes of it."""
    sample = read_volume(sample_volume_path())
    write_series(folder / "scan", sample.array.astype(np.int16), sample.affine)
    scan = read_volume(folder / "scan")
    for name, script in PROMPTS.items():
        clicks = [{**click, "index": moved(click["index"], sample, scan)} for click in script["clicks"]]
        (folder / f"{name}.json").write_text(json.dumps({"clicks": clicks}), encoding="utf-8")
    files = ";".join(f"{name}.json" for name in PROMPTS)
    (folder / "table.csv").write_text(
        f"case,volume,prompts,name,anatomy\nbrain1,scan,{files},{';'.join(PROMPTS)},tumour;\n",
        encoding="utf-8",
    )
    words = ["batch", str(folder / "table.csv"), "-o", str(folder / "out"), "--format", "seg.dcm"]
    if main(words) != 0:
        raise SystemExit("the batch failed")


def moved(index: list[int], sample: Any, scan: Any) -> list[int]:
    """A voxel of one volume in another that lies at the same place."""
    return [round(float(n)) for n in to_index(scan.affine, to_world(sample.affine, index))]


def read_by_dcmjs(seg: Path, series: Path, folder: Path) -> dict[str, Any]:
    """What dcmjs finds."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise SystemExit("node and npm are needed: install Node.js")
    shutil.copy(READER, folder)
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent", DCMJS], cwd=folder, check=True)
    told = subprocess.run(
        [node, READER.name, str(seg), str(series)], cwd=folder, check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def picture(found: dict[str, Any], target: Path) -> None:
    """Three slices with every segment's outline in its own colour."""
    images = {image["uid"]: image for image in found["images"]}
    areas: dict[str, int] = {}
    for frame in found["frames"]:
        areas[frame["uid"]] = areas.get(frame["uid"], 0) + int(
            pixels_of(frame, images, np.uint8).astype(bool).sum()
        )
    uids = sorted(areas, key=lambda uid: float(images[uid]["place"][2]))
    named = {uid: {frame["segment"] for frame in found["frames"] if frame["uid"] == uid} for uid in uids}
    both = [uid for uid in uids if len(named[uid]) == len(found["segments"])] or uids
    chosen = sorted(both, key=lambda uid: -areas[uid])[:3]
    chosen.sort(key=uids.index)
    figure, axes = plt.subplots(1, len(chosen), figsize=(3.1 * len(chosen), 3.6), layout="constrained")
    for axis, uid in zip(np.atleast_1d(axes), chosen, strict=True):
        image = pixels_of(images[uid], images, np.int16, uid)
        axis.imshow(image, cmap="gray", vmax=float(np.percentile(image, 98)))
        for frame in (frame for frame in found["frames"] if frame["uid"] == uid):
            segment = next(part for part in found["segments"] if part["number"] == frame["segment"])
            colour = [min(1.0, max(0.0, float(part))) for part in segment["rgb"]]
            axis.contour(pixels_of(frame, images, np.uint8) > 0, [0.5], colors=[colour], linewidths=1.5)
        axis.set_title(f"z = {float(images[uid]['place'][2]):.1f} mm", fontsize=9)
        axis.axis("off")
    for segment in found["segments"]:
        colour = [min(1.0, max(0.0, float(part))) for part in segment["rgb"]]
        axes[0].plot([], [], color=colour, label=f"{segment['label']} ({segment['type']})")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    figure.savefig(target, dpi=80)


def pixels_of(
    item: dict[str, Any], images: dict[str, Any], dtype: type[np.generic], uid: str | None = None
) -> NDArray[Any]:
    """The pixels (rows, columns) of an image or of a frame over it."""
    image = images[uid or item["uid"]]
    data = np.frombuffer(base64.b64decode(item["pixels"]), dtype)
    return data.reshape(image["rows"], image["columns"])


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
