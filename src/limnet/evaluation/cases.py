"""Cases to evaluate on: where they lie, how they are read, which objects are in them.

```
SET/images/CASE.nii.gz   any format limnet reads; a folder of frames counts as one image
SET/labels/CASE.mha      labels on the same grid; 0 is background, every other id is one object
```
`find_set` knows this plain form, `datasets` those in which public data sets come. Nothing is read before its
turn, and one case at a time is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError
from limnet.evaluation.channel import read_channel
from limnet.evaluation.colour_frames import ColourFrames, read_colour_frames
from limnet.evaluation.npz_case import read_npz_labels, read_npz_volume
from limnet.evaluation.truth import LabelMap, MaskFile, MaskStack, Truth
from limnet.volume import Volume, read_mask, read_volume

ENDINGS = (
    *(".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd"),  # the longer of two that both fit comes first
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
)


@dataclass(frozen=True)
class NamedObject:
    """An object that a set declares: one label of the truth, or several that together make it."""

    object_id: int
    name: str  # as tables show it: "kidney"
    labels: tuple[int, ...]  # in the truth


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies, not read yet.

    `labels` is a label map; or one mask per object; or coloured frames that go with a folder of frames. A
    file that ends in .npz is one of the CVPR 2025 challenge (`npz_case`), which may be image and labels both.
    """

    name: str
    image: Path
    labels: Path | tuple[MaskFile, ...] | ColourFrames
    objects: tuple[NamedObject, ...] = ()  # none declared: every label is an object
    channel: int | None = None  # of an image with four axes


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
    name: str = ""  # what the set calls it


@dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """A named list of cases and which of their objects are evaluated."""

    name: str
    cases: tuple[CaseFiles, ...]
    failures: tuple[CaseFailure, ...] = ()  # known before anything is read: files without a partner
    ids: tuple[int, ...] = ()  # objects to evaluate; none named: all
    min_ml: float = 0.0  # objects smaller than this are left out
    names: Mapping[int, str] = field(default_factory=dict)  # of object ids, where the set declares them


@dataclass(frozen=True, eq=False)
class Case:
    """One case in memory."""

    set_name: str
    name: str
    volume: Volume
    truth: Truth = field(repr=False)
    objects: tuple[NamedObject, ...] = ()


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


def select(a_set: EvaluationSet, ids: Sequence[int] = (), min_ml: float = 0.0) -> EvaluationSet:
    """The same set, of its objects only `ids` (none: all) from `min_ml` on.

    An id that the set does not declare becomes a failure, once for the whole set; when all are such, no case
    remains. A set that declares no names takes any id, and skips it case by case where it is empty.
    """
    known = tuple(label for label in ids if not a_set.names or label in a_set.names)
    failures = tuple(
        CaseFailure(a_set.name, "", f"no object {label}; the set has {_listed(a_set.names)}", label)
        for label in ids
        if label not in known
    )
    return replace(
        a_set,
        cases=a_set.cases if known or not ids else (),
        failures=a_set.failures + failures,
        ids=known,
        min_ml=min_ml,
    )


def read_case(files: CaseFiles, set_name: str = "") -> Case:
    """Read image and truth; an error of limnet when either is unreadable or the grids differ.

    Where every object has a file of its own, those are read by `objects_of`, each in its turn.
    """
    volume = _read_image(files)
    return Case(set_name, files.name, volume, _read_truth(files, volume), files.objects)


def objects_of(case: Case, ids: Sequence[int] = (), min_ml: float = 0.0) -> Iterator[TruthObject | Skipped]:
    """The objects of a case that are there, as declared or by rising id; or those of `ids`, in their order.

    What is too small is skipped, and so is an id of `ids` that is empty or unknown. A case in which nothing
    is found is skipped as a whole.
    """
    declared = {item.object_id: item for item in case.objects}
    names = {item.object_id: item.name for item in case.objects}
    voxel_ml = abs(float(np.linalg.det(case.volume.affine[:3, :3]))) / 1000
    nothing = True
    for object_id in tuple(ids) or tuple(declared) or case.truth.labels:
        labels = declared[object_id].labels if object_id in declared else (object_id,)
        unknown = bool(declared) and object_id not in declared
        truth = case.truth.mask_of(() if unknown else labels)
        voxels = int(np.count_nonzero(truth))
        volume_ml = voxels * voxel_ml
        if voxels == 0 and not ids:
            continue
        nothing = False
        if unknown:
            reason = f"no such object; the set has {_listed(names)}"
        elif voxels == 0:
            reason = "empty in truth"
        elif volume_ml < min_ml:
            reason = f"{volume_ml:.2f} ml, smaller than {min_ml:g} ml"
        else:
            yield TruthObject(object_id, truth, volume_ml, names.get(object_id, ""))
            continue
        yield Skipped(case.set_name, case.name, object_id, reason)
    if nothing:
        yield Skipped(case.set_name, case.name, None, "no object in its truth")


def _read_image(files: CaseFiles) -> Volume:
    if files.image.suffix == ".npz":
        return read_npz_volume(files.image)
    if files.channel is not None:
        return read_channel(files.image, files.channel)
    return read_volume(files.image)


def _read_truth(files: CaseFiles, volume: Volume) -> Truth:
    if isinstance(files.labels, ColourFrames):
        return LabelMap(read_colour_frames(files.labels, files.image, volume))
    if isinstance(files.labels, tuple):
        return MaskStack(volume, files.labels)
    if files.labels.suffix == ".npz":
        return LabelMap(read_npz_labels(files.labels, like=volume))
    labels = read_mask(files.labels, like=volume)
    if labels.shape != volume.shape:
        raise CaseError(f"{files.labels}: shape {labels.shape} differs from {volume.shape} of {files.image}")
    return LabelMap(labels)


def _listed(names: Mapping[int, str]) -> str:
    """Declared objects in one line."""
    return ", ".join(f"{object_id} {name}".strip() for object_id, name in names.items())


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
