"""Training cases: volumes with label maps, label maps alone, read from folders into memory."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import CaseError, LimNetError, LimNetWarning
from limnet.volume import Volume, read_mask, read_volume

SUFFIX = re.compile(r"\.(nii\.gz|nii|nrrd|nhdr|mha|mhd|png|jpg|jpeg)$", re.IGNORECASE)
MAX_OBJECTS = 250  # per case; label maps are kept in one byte
MAX_COMPONENTS = 40  # per case, the largest ones
MIN_VOXELS = 30  # of an object; smaller labels are never drawn


@dataclass(frozen=True)
class TrainingObject:
    """One label of a case: what a clip may be about."""

    label: int
    box: tuple[slice, slice, slice]  # bounds in voxels
    voxels: int


@dataclass(frozen=True)
class TrainingCase:
    """One volume with truth, or a label map to which intensities are made up."""

    name: str
    group: str  # the set it belongs to; sets are weighted, not cases
    image: NDArray[np.float16] | None  # (I, J, K) or (I, J, K, 3) in [0, 1]; None: label map alone
    labels: NDArray[np.uint8]  # (I, J, K)
    spacing: tuple[float, float, float]  # mm
    objects: tuple[TrainingObject, ...]  # none: an image without labels


def training_objects(labels: NDArray[np.uint8], min_voxels: int = MIN_VOXELS) -> tuple[TrainingObject, ...]:
    """Every label of (I, J, K) with at least `min_voxels` voxels; 0 is background."""
    counts = np.bincount(labels.ravel(), minlength=256)
    boxes = ndimage.find_objects(labels)
    return tuple(
        TrainingObject(index + 1, box, int(counts[index + 1]))
        for index, box in enumerate(boxes)
        if box is not None and counts[index + 1] >= min_voxels
    )


def case_of(
    name: str,
    group: str,
    volume: Volume | None,
    labels: NDArray[np.integer],
    spacing: tuple[float, float, float],
    split_components: bool = False,
) -> TrainingCase:
    """Bring one volume and its labels into the compact form that clips are cut from."""
    image = None if volume is None else _unit_range(volume.array)
    if split_components:
        small = _split(labels > 0)
        return TrainingCase(name, group, image, small, spacing, training_objects(small))
    return case_with_labels(name, group, image, labels, spacing)


def case_with_labels(
    name: str,
    group: str,
    image: NDArray[np.float16] | None,
    labels: NDArray[np.integer],
    spacing: tuple[float, float, float],
) -> TrainingCase:
    """A case of an image already in [0, 1] and labels of any ids; the most voluminous ones are kept."""
    small = _renumber(labels)
    return TrainingCase(name, group, image, small, spacing, training_objects(small))


def read_cases(
    folder: Path, exclude: Sequence[str] = (), split_components: Sequence[str] = ()
) -> Iterator[TrainingCase]:
    """All cases below `folder`.

    A set is a folder with images/ and labels/ holding files of the same names, or a folder of label
    maps alone. `exclude` are regular expressions of case names; of the sets in `split_components`
    every connected component is an object. A case that cannot be used is named in a warning and left
    out; a folder without any case is a CaseError.
    """
    found = 0
    for group, labels_path in _label_files(folder):
        name = SUFFIX.sub("", labels_path.name)
        if any(re.fullmatch(pattern, name) for pattern in exclude):
            continue
        try:
            case = _read_case(group, labels_path, name, group.name in split_components)
        except LimNetError as error:
            warnings.warn(f"left out: {error}", LimNetWarning, stacklevel=2)
            continue
        found += 1
        if case.objects:
            yield case
    if not found:
        raise CaseError(
            f"{folder}: no training cases; expected SET/images/CASE.nii.gz and SET/labels/CASE.nii.gz,"
            f" or label maps SET/CASE.nii.gz, below it"
        )


def read_images(folder: Path, exclude: Sequence[str] = ()) -> Iterator[TrainingCase]:
    """All images below `folder` but those in folders called labels: cases without objects.

    One that cannot be read is named in a warning and left out; a folder without any is a CaseError.
    """
    found = 0
    for place in sorted({folder, *(path for path in folder.rglob("*") if path.is_dir())}):
        group = place.parent.name if place.name == "images" else place.name
        for path in sorted(_files(place)) if place.name != "labels" else ():
            name = SUFFIX.sub("", path.name)
            if any(re.fullmatch(pattern, name) for pattern in exclude):
                continue
            try:
                volume = read_volume(path)
            except LimNetError as error:
                warnings.warn(f"left out: {error}", LimNetWarning, stacklevel=2)
                continue
            found += 1
            empty = np.zeros(volume.shape, np.uint8)
            yield TrainingCase(name, group, _unit_range(volume.array), empty, volume.spacing, ())
    if not found:
        raise CaseError(f"{folder}: no images; expected NIfTI, NRRD, MetaImage or picture files below it")


def _label_files(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Every label map below `folder` with the folder of its set, in name order."""
    for place in sorted({folder, *(path for path in folder.rglob("*") if path.is_dir())}):
        if place.name == "images":
            continue
        group = place.parent if place.name == "labels" else place
        for path in sorted(_files(place)):
            yield group, path


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if SUFFIX.search(path.name)]


def _read_case(group: Path, labels_path: Path, name: str, split_components: bool) -> TrainingCase:
    if labels_path.parent.name != "labels":
        truth = read_volume(labels_path)
        return case_of(name, group.name, None, truth.array, truth.spacing, split_components)
    images = group / "images"
    candidates = _files(images) if images.is_dir() else []
    image_path = next((path for path in candidates if SUFFIX.sub("", path.name) == name), None)
    if image_path is None:
        raise CaseError(f"{labels_path}: no image of that name in {images}")
    volume = read_volume(image_path)
    labels = read_mask(labels_path, like=volume)
    return case_of(name, group.name, volume, labels, volume.spacing, split_components)


def _renumber(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Ids of any size to 1, 2, ... in one byte; the most voluminous MAX_OBJECTS are kept."""
    ids, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = [i for i in np.argsort(-counts) if ids[i] > 0][:MAX_OBJECTS]
    table = np.zeros(len(ids), np.uint8)
    table[sorted(kept)] = np.arange(1, len(kept) + 1)
    return table[inverse].reshape(labels.shape)


def _split(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """26-connected components as labels 1, 2, ...; the largest MAX_COMPONENTS, the rest is background."""
    components, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    counts = np.bincount(components.ravel())
    counts[0] = 0
    table = np.zeros(len(counts), np.uint8)
    largest = np.argsort(-counts)[: min(MAX_COMPONENTS, len(counts) - 1)]
    table[largest] = np.arange(1, len(largest) + 1)
    small: NDArray[np.uint8] = table[components]
    return small


def _unit_range(array: NDArray[np.generic]) -> NDArray[np.float16]:
    """Intensities clipped at the 0.05 and 99.95 percentiles and scaled to [0, 1]."""
    sample = array.ravel()[:: max(1, array.size // 200_000)]
    low, high = (float(q) for q in np.quantile(sample.astype(np.float32), (0.0005, 0.9995)))
    scaled = (array.astype(np.float32) - low) / max(high - low, 1e-6)
    half: NDArray[np.float16] = np.clip(scaled, 0, 1).astype(np.float16)
    return half
