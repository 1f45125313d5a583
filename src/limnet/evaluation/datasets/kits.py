"""KiTS19, KiTS21 and KiTS23: kidneys and their tumours in contrast-enhanced CT.

```
KiTS19  data/case_00000/imaging.nii.gz, segmentation.nii.gz            1 kidney, 2 tumour
KiTS21  kits21/data/case_00000/imaging.nii.gz, aggregated_MAJ_seg.nii.gz      and 3 cyst
KiTS23  dataset/case_00000/imaging.nii.gz, segmentation.nii.gz                and 3 cyst
```
Objects are those of published tables: 1 the organ, a kidney with its tumours and cysts; 2 the tumours; 3 the
cysts. Of KiTS21's three readers the majority is used. Cases without labels (KiTS19's test) are passed over.
"""

from __future__ import annotations

from pathlib import Path

from limnet.evaluation.cases import CaseFiles, EvaluationSet, NamedObject
from limnet.evaluation.datasets.layout import Layout, folders, place_in, with_truth

MAJORITY = "aggregated_MAJ_seg.nii.gz"
SEGMENTATION = "segmentation.nii.gz"
ORGAN, TUMOUR, CYST = (
    NamedObject(1, "organ", (1, 2, 3)),
    NamedObject(2, "tumour", (2,)),
    NamedObject(3, "cyst", (3,)),
)
NEEDED = "images come apart from labels: run the download script of the KiTS repository"


def _labels(case: Path) -> Path | None:
    return next((case / name for name in (MAJORITY, SEGMENTATION) if (case / name).is_file()), None)


def _place(root: Path) -> Path | None:
    inner = ("data", "dataset", "kits21/data")
    return place_in(root, *inner, holds=lambda place: any(map(_labels, folders(place, "case_[0-9]*"))))


def _find(root: Path) -> list[EvaluationSet]:
    place = _place(root)
    if place is None:
        return []
    labels = {case: _labels(case) for case in folders(place, "case_[0-9]*")}
    year = _year(place, [path for path in labels.values() if path is not None])
    objects = (ORGAN, TUMOUR) if year == "19" else (ORGAN, TUMOUR, CYST)
    cases = [
        CaseFiles(case.name, case / "imaging.nii.gz", path, objects)
        for case, path in labels.items()
        if path is not None
    ]
    return [with_truth(f"kits{year}", cases, objects, NEEDED)]


def _year(place: Path, labels: list[Path]) -> str:
    """19, 21 or 23, by what only that release has."""
    if any(path.name == MAJORITY for path in labels):
        return "21"
    is_23 = (
        place.resolve().name == "dataset"
        or any(place.glob("kits23*.json"))
        or any((path.parent / "instances").is_dir() for path in labels)
    )
    return "23" if is_23 else "19"


KITS = Layout(
    title="KiTS (kidney tumour segmentation)",
    source="KiTS19, KiTS21 or KiTS23, github.com/neheller/kits19, kits21 or kits23, by its download script",
    expects="case_00000/imaging.nii.gz and case_00000/segmentation.nii.gz, or data/ or dataset/ with these",
    recognises=lambda root: _place(root) is not None,
    find=_find,
)
