"""Cases of the CVPR 2025 challenge on interactive 3D segmentation: one .npz per volume.

| key | what |
|---|---|
| `imgs` | voxels (D, H, W), as SimpleITK hands them over: `imgs[z, y, x]` |
| `gts` | labels (D, H, W), in the same file or in another of the same name; 1, 2, … are instances |
| `spacing` | mm, in SimpleITK's own order (x, y, z): the reverse of the array's |
| `segs` | the answer, labels (D, H, W) |

All geometry is here. Inside, an array is (I, J, K) with i = x, j = y, k = z: the challenge's axes reversed.
The files hold no direction, so the affine is the one ITK gives an image without: diagonal, x to the left and
y to posterior. The challenge's own evaluation applies `spacing` to (D, H, W) as it stands; its surface scores
therefore differ from ours where voxels are not cubes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, GeometryError, OutputError
from limnet.evaluation.npz_file import needed_array
from limnet.prompt import Voxel
from limnet.volume import Volume
from limnet.volume.intensity import usable

IMAGE, TRUTH, SPACING = "imgs", "gts", "spacing"
SLICE_AXIS = 2  # D, across which the challenge draws its boxes, is k


def reversed_axes(array: NDArray[Any]) -> NDArray[Any]:
    """(D, H, W) to (I, J, K), or back: the same array seen the other way round, a view."""
    view: NDArray[Any] = array.transpose(2, 1, 0)
    return view


def voxel_of(point: Sequence[Any] | NDArray[Any]) -> Voxel:
    """The voxel (i, j, k) of a point of the challenge, [z, y, x].

    >>> voxel_of([46, 336, 343])
    (343, 336, 46)
    """
    z, y, x = (int(n) for n in point)
    return x, y, z


def read_npz_volume(path: Path) -> Volume:
    """The volume of a challenge file.

    CaseError when `imgs` or `spacing` is missing or is not (D, H, W) numbers and three lengths; VolumeError
    when all voxels are equal.
    """
    voxels = needed_array(path, IMAGE)
    if voxels.ndim != 3 or voxels.dtype.kind not in "biuf":
        raise CaseError(
            f"{path}: {IMAGE!r} of shape {voxels.shape} and type {voxels.dtype}, must be (D, H, W) numbers"
        )
    spacing = needed_array(path, SPACING)
    if spacing.shape != (3,) or spacing.dtype.kind not in "iuf":
        raise CaseError(
            f"{path}: {SPACING!r} of shape {spacing.shape}, must be three lengths in mm (x, y, z)"
        )
    x, y, z = (float(edge) for edge in spacing)
    array = usable(reversed_axes(voxels), str(path)) if voxels.size else reversed_axes(voxels)
    return Volume(array, np.diag([-x, -y, z, 1.0]), source=str(path))


def read_npz_labels(path: Path, like: Volume) -> NDArray[Any]:
    """The labels (I, J, K) in the `gts` of a challenge file.

    CaseError when they are missing or not whole numbers, GeometryError when their shape is not `like`'s.
    """
    labels = needed_array(path, TRUTH)
    if labels.ndim != 3 or reversed_axes(labels).shape != like.shape:
        raise GeometryError(
            f"{path}: {TRUTH!r} of shape {labels.shape} does not fit {IMAGE!r} of {like.source},"
            f" whose shape is {like.shape[::-1]}"
        )
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)):
        labels = labels.astype(np.int32)
    if labels.dtype.kind not in "biu":
        raise CaseError(f"{path}: {TRUTH!r} of type {labels.dtype}, must be whole numbers")
    return reversed_axes(labels)


def write_npz_answer(path: Path, labels: NDArray[Any]) -> None:
    """Write labels (I, J, K), 0 to 65535, as the `segs` of a challenge answer, compressed.

    uint8, or uint16 when a label exceeds 255. The file appears complete or not at all. OutputError when it
    cannot be written.
    """
    dtype = np.uint8 if labels.max(initial=0) <= 255 else np.uint16
    answer = np.ascontiguousarray(reversed_axes(labels).astype(dtype))
    try:
        folder = Path(tempfile.mkdtemp(prefix=".limnet-", dir=path.parent))
        try:
            np.savez_compressed(folder / "answer.npz", segs=answer)
            (folder / "answer.npz").replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; choose another place"
        ) from None
