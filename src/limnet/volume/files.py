"""Volumes and masks in and out of files: what a file is comes from its content, not from its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, OutputError, VolumeError
from limnet.volume.dicom import dicom_in, read_dicom
from limnet.volume.dicom.reading import looks_like_dicom
from limnet.volume.frames import looks_like_image, read_frame_folder, read_image
from limnet.volume.geometry import Affine, grid_difference
from limnet.volume.intensity import usable
from limnet.volume.metaimage import looks_like_metaimage, read_metaimage, write_metaimage
from limnet.volume.nifti import looks_like_nifti, read_nifti, write_nifti
from limnet.volume.nrrd import looks_like_nrrd, read_layers, read_nrrd, write_nrrd
from limnet.volume.payload import head, one_line
from limnet.volume.volume import Volume
from limnet.volume.whole import write_whole

READABLE = "NIfTI, NRRD, MetaImage, DICOM, PNG, JPEG, BMP, TIFF or a folder of such images"
WRITERS: dict[str, Callable[[Path, NDArray[Any], Volume], None]] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".nrrd": write_nrrd,
    ".nhdr": write_nrrd,
    ".mha": write_metaimage,
    ".mhd": write_metaimage,
}


def read_volume(path: str | Path, *, series: str | None = None, allow_gaps: bool = False) -> Volume:
    """Read a scan, an image or a folder of frames, on its own grid and in its own type.

    NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd); a DICOM file, or a folder with a DICOM
    series (with the extra `dicom`), of which `series` names the one that is meant when there are several;
    PNG, JPEG, BMP or TIFF as a volume of one slice; a folder of them as frames along the last axis. Voxels
    keep their stored type, except that a NIfTI slope or intercept makes them float and DICOM's are rescaled.
    NaN and infinite voxels become the smallest finite value, with a LimNetWarning. VolumeError when the file
    cannot be read as one volume or all its voxels are equal; GeometryError when its affine is missing or
    singular, or slices of a series are missing; with `allow_gaps` those become background.
    """
    volume = _read(Path(path), labels=False, series=series, allow_gaps=allow_gaps)
    array = usable(volume.array, volume.source)
    return volume if array is volume.array else replace(volume, array=array)


def read_mask(path: str | Path, like: Volume | None = None) -> NDArray[Any]:
    """Read labels as an integer array (I, J, K), from any format `read_volume` knows.

    Floats that hold whole numbers become integers. With `like`, GeometryError unless shape and affine are
    those of that volume. VolumeError when the voxels are not labels.
    """
    volume = _read(Path(path), labels=True)
    if like is not None:
        _check_grid(volume, like)
    return _labels(volume)


def read_labels(path: str | Path) -> tuple[NDArray[Any], Affine]:
    """Labels as an integer array (I', J', K') on their own grid, and its affine; errors as of `read_mask`."""
    volume = _read(Path(path), labels=True)
    return _labels(volume), volume.affine


def read_label_layers(path: str | Path) -> tuple[list[NDArray[Any]], Affine]:
    """Label maps (I', J', K') of one grid, and its affine: several of 3D Slicer's segments that overlap."""
    path = Path(path)
    layers = read_layers(path) if looks_like_nrrd(head(path, 4)) else ()
    if layers:
        return [_labels(layer) for layer in layers], layers[0].affine
    labels, affine = read_labels(path)
    return [labels], affine


def write_mask(path: str | Path, mask: NDArray[Any], like: Volume) -> None:
    """Write a mask or labels on exactly the grid of `like`; the ending of `path` is the format.

    `mask` is (I, J, K) of `like`, bool or whole numbers from 0 to 65535; it is stored as uint8, or uint16
    when a label exceeds 255. The file appears complete or not at all. OutputError when it cannot be
    written, GeometryError when the shapes differ.
    """
    path = Path(path)
    ending = mask_ending(path)
    labels = _storable(mask, like)
    write_whole(path, lambda place: WRITERS[ending](place, labels, like))


def mask_ending(path: Path) -> str:
    """The ending that says in which format a mask is written; OutputError when there is none."""
    ending = next((e for e in sorted(WRITERS, key=len) if path.name.lower().endswith(e)), None)
    if ending is None:
        then = "; limnet export makes DICOM of it" if path.suffix.lower() == ".dcm" else ""
        raise OutputError(
            f"{path}: cannot write masks in this format; end the name in {', '.join(WRITERS)}{then}"
        )
    return ending


def _read(path: Path, *, labels: bool, series: str | None = None, allow_gaps: bool = False) -> Volume:
    """The volume in a file or folder, its values unchecked; `labels` keeps palette indices as they are."""
    try:
        files = dicom_in(path)
        if files:
            return read_dicom(files, str(path), series=series, allow_gaps=allow_gaps)
        if path.is_dir():
            return read_frame_folder(path, labels=labels)
        if not path.exists():
            raise VolumeError(f"{path}: no such file or folder; check the path")
        if not path.is_file():
            raise VolumeError(f"{path}: neither a file nor a folder; give {READABLE}")
        if path.stat().st_size == 0:
            raise VolumeError(f"{path}: empty file (0 bytes); copy or download it again")
        start = head(path, 132)
        if looks_like_dicom(start):  # only behind gzip: others were found above
            raise VolumeError(f"{path}: DICOM packed with gzip; unpack it first")
        if looks_like_nifti(start):
            return read_nifti(path)
        if looks_like_nrrd(start):
            return read_nrrd(path)
        if looks_like_image(start):
            return read_image(path, labels=labels)
        if looks_like_metaimage(start):
            return read_metaimage(path)
    except MemoryError:
        raise VolumeError(f"{path}: does not fit into memory; crop it or make it coarser first") from None
    except (OSError, ValueError) as error:  # ValueError: such as a zero byte in the path
        reason = getattr(error, "strerror", None) or one_line(error)
        raise VolumeError(f"{path}: cannot be read: {reason}; check the path and its permissions") from None
    raise VolumeError(f"{path}: not an image limnet can read (it starts with {start[:8]!r}); give {READABLE}")


def _check_grid(mask: Volume, like: Volume) -> None:
    """GeometryError that tells how two grids differ."""
    if mask.shape != like.shape:
        raise GeometryError(
            f"{mask.source}: shape {mask.shape} against {like.shape} of {like.source};"
            f" resample it to that grid first"
        )
    difference = grid_difference(mask.affine, like.affine, like.shape)
    if difference:
        raise GeometryError(
            f"{mask.source}: not on the grid of {like.source}: {difference}; resample it to that grid first"
        )


def _labels(volume: Volume) -> NDArray[Any]:
    """The voxels as integers; VolumeError when that would change them."""
    array = volume.array
    if volume.is_rgb:
        array = array[..., 0]
        if not all(np.array_equal(array, volume.array[..., n]) for n in (1, 2)):
            raise VolumeError(
                f"{volume.source}: colours are no labels; write the mask with one integer per voxel"
            )
    if array.dtype.kind != "f":
        return array
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())  # NaN if any voxel is
    if not (abs(low) < 2**31 and abs(high) < 2**31) or not np.array_equal(np.rint(array), array):
        raise VolumeError(
            f"{volume.source}: voxels from {low:g} to {high:g} are no labels, must be whole numbers"
        )
    return array.astype(np.uint8 if low >= 0 and high <= 255 else np.int32)


def _storable(mask: NDArray[Any], like: Volume) -> NDArray[Any]:
    """`mask` as uint8, or uint16 when a label needs it."""
    mask = np.asarray(mask)
    if mask.shape != like.shape:
        raise GeometryError(f"mask of shape {mask.shape} does not fit {like.source} of shape {like.shape}")
    if mask.dtype.kind not in "biu":
        raise OutputError(f"mask of type {mask.dtype} must be bool or integer; threshold probabilities first")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > 65535:
        raise OutputError(f"mask holds labels from {low} to {high}, must be 0 to 65535")
    return mask.astype(np.uint8 if high <= 255 else np.uint16, copy=False)
