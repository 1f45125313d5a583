"""ACDC: the heart in cine MR, two frames per patient.

```
training/patient001/patient001_frame01.nii.gz, patient001_frame01_gt.nii.gz      end of diastole or systole
testing/patient101/…
```
The root holds training and testing, or patients. A patient without any truth is passed over.
"""

from __future__ import annotations

from pathlib import Path

from limnet.evaluation.cases import CaseFiles, EvaluationSet
from limnet.evaluation.datasets.layout import (
    Layout,
    files,
    folders,
    objects_named,
    place_in,
    with_truth,
    without_ending,
)

OBJECTS = objects_named({1: "right ventricle", 2: "myocardium", 3: "left ventricle"})
PATIENTS = "patient[0-9]*"
TRUTHS = "*_frame[0-9]*_gt.nii*"


def _parts(root: Path) -> dict[str, Path]:
    """Name of a set -> where its patients are."""

    def holds(place: Path) -> bool:
        return bool(folders(place, PATIENTS))

    if root.is_dir() and holds(root):
        return {"acdc": root}
    found = {part: place_in(root, part, f"database/{part}", holds=holds) for part in ("training", "testing")}
    return {f"acdc_{part}": place for part, place in found.items() if place is not None}


def _find(root: Path) -> list[EvaluationSet]:
    sets = []
    for name, place in _parts(root).items():
        patients = [folder for folder in folders(place, PATIENTS) if files(folder, TRUTHS)]
        images = [
            image
            for folder in patients
            for image in files(folder, "*_frame[0-9]*.nii*")
            if not without_ending(image).endswith("_gt")
        ]
        cases = [CaseFiles(without_ending(image), image, _truth(image), OBJECTS) for image in images]
        sets.append(with_truth(name, cases, OBJECTS, "unpack the patient's folder again"))
    return sets


def _truth(image: Path) -> Path:
    stem = without_ending(image)
    return image.with_name(f"{stem}_gt{image.name[len(stem) :]}")


def _recognises(root: Path) -> bool:
    return any(files(place, f"{PATIENTS}/{TRUTHS}") for place in _parts(root).values())


ACDC = Layout(
    title="ACDC (Automated Cardiac Diagnosis Challenge)",
    source="the ACDC data set of the Human Heart Project, humanheart-project.creatis.insa-lyon.fr",
    expects="training and testing with folders such as patient001",
    recognises=_recognises,
    find=_find,
)
