"""TotalSegmentator, CT and MR: one folder per subject, one mask per structure.

```
s0000/ct.nii.gz (or mri.nii.gz)
s0000/segmentations/aorta.nii.gz, liver.nii.gz, …
```
Masks may overlap. Ids count all structures of the set from 1, in order of their names: the same for every
subject. What is empty in a subject is passed over.
"""

from __future__ import annotations

from pathlib import Path

from limnet.evaluation.cases import CaseFailure, CaseFiles, EvaluationSet, NamedObject
from limnet.evaluation.datasets.layout import (
    Layout,
    files,
    folders,
    objects_named,
    place_in,
    set_of,
    without_ending,
)
from limnet.evaluation.truth import MaskFile

SUBJECTS = "s[0-9]*"
IMAGES = {"ct": "ct.nii.gz", "mr": "mri.nii.gz"}


def _place(root: Path) -> Path | None:
    def holds(place: Path) -> bool:
        return any((subject / "segmentations").is_dir() for subject in folders(place, SUBJECTS))

    inner = ("Totalsegmentator_dataset_v201", "Totalsegmentator_dataset", "TotalsegmentatorMRI_dataset_v200")
    return place_in(root, *inner, holds=holds)


def _find(root: Path) -> list[EvaluationSet]:
    place = _place(root)
    if place is None:
        return []
    masks = {subject: files(subject / "segmentations", "*.nii.gz") for subject in folders(place, SUBJECTS)}
    structures = sorted({without_ending(path) for paths in masks.values() for path in paths})
    label_of = {name: label for label, name in enumerate(structures, start=1)}
    objects = objects_named({label: name.replace("_", " ") for name, label in label_of.items()})
    is_mr = any((subject / IMAGES["mr"]).is_file() for subject in masks)
    name = f"totalsegmentator_{'mr' if is_mr else 'ct'}"
    cases, failures = [], []
    for subject, paths in masks.items():
        image = subject / IMAGES["mr" if is_mr else "ct"]
        if not image.is_file() or not paths:
            missing = subject / "segmentations" / "*.nii.gz" if image.is_file() else image
            message = f"{missing}: no such file; unpack the subject again"
            failures.append(CaseFailure(name, subject.name, message))
            continue
        cases.append(_case(subject.name, image, paths, label_of, objects))
    return [set_of(name, cases, objects, failures)]


def _case(
    name: str, image: Path, paths: list[Path], label_of: dict[str, int], objects: tuple[NamedObject, ...]
) -> CaseFiles:
    masks = tuple(MaskFile(label_of[without_ending(path)], path) for path in paths)
    return CaseFiles(name, image, masks, objects)


TOTALSEGMENTATOR = Layout(
    title="TotalSegmentator",
    source="the CT or the MR data set of TotalSegmentator, from Zenodo",
    expects="folders such as s0000 with ct.nii.gz or mri.nii.gz, and segmentations/*.nii.gz",
    recognises=lambda root: _place(root) is not None,
    find=_find,
)
