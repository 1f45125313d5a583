"""AMOS22: 15 abdominal organs in CT and MR.

```
amos22/imagesTr/amos_0001.nii.gz   labelsTr/amos_0001.nii.gz     training
      /imagesVa/amos_0008.nii.gz   labelsVa/amos_0008.nii.gz     validation
```
Cases up to number 410 are CT, later ones MR; each part and modality is a set of its own.
"""

from __future__ import annotations

from pathlib import Path

from limnet.evaluation.cases import CaseFiles, EvaluationSet
from limnet.evaluation.datasets.layout import (
    Layout,
    files,
    objects_named,
    place_in,
    with_truth,
    without_ending,
)

ORGANS = {
    1: "spleen",
    2: "right kidney",
    3: "left kidney",
    4: "gallbladder",
    5: "oesophagus",
    6: "liver",
    7: "stomach",
    8: "aorta",
    9: "inferior vena cava",
    10: "pancreas",
    11: "right adrenal gland",
    12: "left adrenal gland",
    13: "duodenum",
    14: "bladder",
    15: "prostate or uterus",
}
OBJECTS = objects_named(ORGANS)
PARTS = {"training": "Tr", "validation": "Va"}
LAST_CT = 410  # number of the last CT case
CASES = "amos_[0-9]*.nii.gz"


def _place(root: Path) -> Path | None:
    return place_in(root, "amos22", holds=lambda place: bool(files(place, f"images*/{CASES}")))


def _find(root: Path) -> list[EvaluationSet]:
    place = _place(root)
    if place is None:
        return []
    sets = []
    for modality in ("ct", "mr"):
        for part, short in PARTS.items():
            cases = [
                CaseFiles(without_ending(image), image, place / f"labels{short}" / image.name, OBJECTS)
                for image in files(place / f"images{short}", CASES)
                if _modality(image) == modality
            ]
            sets.append(with_truth(f"amos_{modality}_{part}", cases, OBJECTS, "unpack amos22.zip again"))
    return sets


def _modality(image: Path) -> str:
    digits = without_ending(image).removeprefix("amos_")
    return "ct" if digits.isdecimal() and int(digits) <= LAST_CT else "mr"


AMOS = Layout(
    title="AMOS22",
    source="amos22.zip, by amos22.grand-challenge.org",
    expects="imagesTr, labelsTr, imagesVa and labelsVa with files such as amos_0001.nii.gz",
    recognises=lambda root: _place(root) is not None,
    find=_find,
)
