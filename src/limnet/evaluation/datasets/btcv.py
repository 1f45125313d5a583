"""BTCV, "Multi-Atlas Labeling Beyond the Cranial Vault", abdomen: 13 organs in 30 CT volumes.

```
RawData/Training/img/img0001.nii.gz                        RawData/Training/label/label0001.nii.gz
averaged-training-images/DET0000101_avg.nii.gz             averaged-training-labels/DET0000101_avg_seg.nii.gz
```
The first form is that of RawData.zip, the second that of the single files on Synapse.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from limnet.evaluation.cases import CaseFiles, EvaluationSet
from limnet.evaluation.datasets.layout import (
    Layout,
    files,
    objects_named,
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
    10: "portal and splenic veins",
    11: "pancreas",
    12: "right adrenal gland",
    13: "left adrenal gland",
}
OBJECTS = objects_named(ORGANS)
PLACES = ("Training", "RawData/Training", "Abdomen/RawData/Training", "Abdomen")
Form = tuple[str, str, Callable[[str], str]]
# Folder of images, folder of labels, name of an image -> name of its labels
FORMS: tuple[Form, ...] = (
    ("img", "label", lambda case: case.replace("img", "label")),
    ("averaged-training-images", "averaged-training-labels", lambda case: f"{case}_seg"),
)


def _form(root: Path) -> tuple[Path, int] | None:
    """Where the folders are, and in which form."""
    for number, (images, labels, _) in enumerate(FORMS):
        for place in (root, *(root / name for name in PLACES)):
            if (place / images).is_dir() and (place / labels).is_dir():
                return place, number
    return None


def _find(root: Path) -> list[EvaluationSet]:
    found = _form(root)
    if found is None:
        return []
    place, number = found
    images, labels, label_of = FORMS[number]
    cases = []
    for image in files(place / images, "*.nii*"):
        ending = image.name[len(without_ending(image)) :]
        label = place / labels / f"{label_of(without_ending(image))}{ending}"
        cases.append(CaseFiles(without_ending(image), image, label, OBJECTS))
    return [with_truth("btcv", cases, OBJECTS, "unpack the training data again")]


BTCV = Layout(
    title="BTCV abdomen (Beyond the Cranial Vault)",
    source="RawData.zip of the abdomen challenge, synapse.org, project syn3193805",
    expects="RawData/Training/img and label, or averaged-training-images and averaged-training-labels",
    recognises=lambda root: _form(root) is not None,
    find=_find,
)
