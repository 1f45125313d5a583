"""Cases to evaluate on: volumes and label maps in two folders, matched by name.

```
SET/images/CASE.nii.gz   any format limnet reads; a folder of frames counts as one image
SET/labels/CASE.mha      labels on the same grid; 0 is background, every other id is one object
```
Nothing is read before its turn, and one case at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError
from limnet.volume import Volume, read_mask, read_volume

ENDINGS = (
    *(".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"),  # the longer of two that both fit comes first
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
)


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class CaseFailure:
    """A case, or one object of it, that could not be evaluated: never a success, and the run exits with 1."""

    set_name: str
    case: str
    message: str  # one line: what was found, what was expected
    object_id: int | None = None  # None: the whole case


@dataclass(frozen=True)
class Skipped:
    """Something left out on purpose: an object empty in truth or too small, a set that is not there."""

    set_name: str
    case: str
    object_id: int | None
    reason: str


@dataclass(frozen=True)
class TruthObject:
    """One object of one case, and its truth."""

    object_id: int
    truth: NDArray[np.bool_]  # (I, J, K)
    volume_ml: float


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """A named pair of folders and which of its objects are evaluated."""

    name: str
    cases: tuple[CaseFiles, ...]
    failures: tuple[CaseFailure, ...] = ()  # files without a partner, known before anything is read
    ids: tuple[int, ...] = ()  # label ids to evaluate; none named: all but 0
    min_ml: float = 0.0  # objects smaller than this are left out


@dataclass(frozen=True, eq=False)
class Case:
    """One case in memory."""

    set_name: str
    name: str
    volume: Volume
    labels: NDArray[Any] = field(repr=False)  # (I, J, K) integers


def find_set(
    images: Path,
    labels: Path,
    *,
    name: str | None = None,
    ids: Sequence[int] = (),
    min_ml: float = 0.0,
    limit: int | None = None,
) -> EvaluationSet:
    """Match the files of two folders by name (CASE.nii.gz goes with CASE.mha), in order of their names.

    The set is called after the folder that holds `images`, unless `name` says otherwise; `limit` keeps the
    first few cases. A file without a partner becomes a failure. CaseError when there is no folder or nothing
    in it. Two files instead of two folders are one case.
    """
    name = name if name is not None else images.resolve().parent.name
    if images.is_file() and labels.is_file():
        only = CaseFiles(_stem(images), images, labels)
        return EvaluationSet(name=name, cases=(only,), ids=tuple(ids), min_ml=min_ml)
    image_files, label_files = _by_name(images), _by_name(labels)
    cases, failures = [], []
    for case in sorted(image_files.keys() | label_files.keys()):
        found, truths = image_files.get(case, []), label_files.get(case, [])
        if len(found) == len(truths) == 1:
            cases.append(CaseFiles(case, found[0], truths[0]))
            continue
        failures.append(CaseFailure(name, case, _mismatch(case, found, truths, images, labels)))
    if not cases and not failures:
        raise CaseError(f"{images}: no image in it; expected files such as CASE.nii.gz")
    return EvaluationSet(
        name=name, cases=tuple(cases[:limit]), failures=tuple(failures), ids=tuple(ids), min_ml=min_ml
    )


def read_case(files: CaseFiles, set_name: str = "") -> Case:
    """Read image and labels; an error of limnet when either is unreadable or the grids differ."""
    volume = read_volume(files.image)
    labels = read_mask(files.labels, like=volume)
    if labels.shape != volume.shape:
        raise CaseError(f"{files.labels}: shape {labels.shape} differs from {volume.shape} of {files.image}")
    return Case(set_name, files.name, volume, labels)


def objects_of(case: Case, ids: Sequence[int] = (), min_ml: float = 0.0) -> Iterator[TruthObject | Skipped]:
    """The objects of a case by rising id, or those of `ids`; what is empty or too small is skipped."""
    present, counts = np.unique(case.labels, return_counts=True)
    voxels = {int(label): int(count) for label, count in zip(present, counts, strict=True)}
    voxel_ml = abs(float(np.linalg.det(case.volume.affine[:3, :3]))) / 1000
    for label in ids or sorted(label for label in voxels if label != 0):
        volume_ml = voxels.get(label, 0) * voxel_ml
        if label not in voxels:
            yield Skipped(case.set_name, case.name, label, "empty in truth")
        elif volume_ml < min_ml:
            yield Skipped(case.set_name, case.name, label, f"{volume_ml:.2f} ml, smaller than {min_ml:g} ml")
        else:
            yield TruthObject(label, case.labels == label, volume_ml)


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """Images of a folder by name without ending; files of other kinds (SOURCE.md, .raw) are passed over."""
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder; expected one with images such as CASE.nii.gz")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or path.name.lower().endswith(ENDINGS)):
            continue
        found.setdefault(_stem(path), []).append(path)
    return found


def _stem(path: Path) -> str:
    ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)] if ending and not path.is_dir() else path.name


def _mismatch(case: str, found: list[Path], truths: list[Path], images: Path, labels: Path) -> str:
    """One line about files that make no pair."""
    for paths in (found, truths):
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            return f"{paths[0].parent}: {len(paths)} files are called {case!r} ({names}); keep one"
    if not truths:
        return f"{found[0]}: no labels of that name in {labels}; expected e.g. {labels / case}.nii.gz"
    return f"{truths[0]}: no image of that name in {images}; expected e.g. {images / case}.nii.gz"
