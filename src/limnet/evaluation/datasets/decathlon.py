"""Medical Segmentation Decathlon (MSD): one folder per task, described by its dataset.json.

```
Task06_Lung/dataset.json     "labels", "training": [{"image": "./imagesTr/…", "label": "./labelsTr/…"}, …]
           /imagesTr/lung_001.nii.gz
           /labelsTr/lung_001.nii.gz
```
The root is a task or a folder of tasks. Where an image has several channels its first one is used: FLAIR of
Task01_BrainTumour, which shows the tumour with its oedema, and T2 of Task05_Prostate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limnet.errors import CaseError
from limnet.evaluation.cases import CaseFiles, EvaluationSet, NamedObject
from limnet.evaluation.datasets.layout import (
    Layout,
    folders,
    objects_named,
    read_json,
    with_truth,
    without_ending,
)

CHANNEL = 0  # of images with several


def _is_task(place: Path) -> bool:
    return (place / "dataset.json").is_file() and (place / "labelsTr").is_dir()


def _recognises(root: Path) -> bool:
    return _is_task(root) or any(_is_task(place) for place in folders(root, "Task*"))


def _find(root: Path) -> list[EvaluationSet]:
    tasks = [root] if _is_task(root) else [place for place in folders(root, "Task*") if _is_task(place)]
    return [_task(place) for place in tasks]


def _task(place: Path) -> EvaluationSet:
    described = read_json(place / "dataset.json")
    if not isinstance(described, Mapping) or not {"labels", "training"} <= described.keys():
        raise CaseError(
            f"{place / 'dataset.json'}: no 'labels' or no 'training' in it; download the task again"
        )
    objects = _objects(described["labels"], place)
    several = len(described.get("modality", described.get("channel_names", {}))) > 1
    cases = [_case(pair, place, objects, several) for pair in described["training"]]
    needed = "unpack the task's .tar again"
    return with_truth(place.resolve().name, sorted(cases, key=lambda case: case.name), objects, needed)


def _case(pair: Any, place: Path, objects: tuple[NamedObject, ...], several: bool) -> CaseFiles:
    if not isinstance(pair, Mapping) or not {"image", "label"} <= pair.keys():
        raise CaseError(f"{place / 'dataset.json'}: {pair!r} is no pair of 'image' and 'label'")
    image, labels = place / str(pair["image"]), place / str(pair["label"])
    return CaseFiles(without_ending(image), image, labels, objects, CHANNEL if several else None)


def _objects(labels: Any, place: Path) -> tuple[NamedObject, ...]:
    """From {"1": "liver"}, or from {"liver": 1} as newer files have it; 0 is background."""
    try:
        both = [(key, value) if str(key).isdecimal() else (value, key) for key, value in labels.items()]
        names = {int(label): str(name) for label, name in both}
    except (AttributeError, TypeError, ValueError):
        raise CaseError(
            f'{place / "dataset.json"}: labels {labels!r}, must be such as {{"1": "liver"}}'
        ) from None
    return objects_named({label: names[label] for label in sorted(names) if label != 0})


DECATHLON = Layout(
    title="Medical Segmentation Decathlon",
    source="a task's .tar from medicaldecathlon.com, unpacked",
    expects="dataset.json, imagesTr and labelsTr, or folders such as Task06_Lung with these",
    recognises=_recognises,
    find=_find,
)
