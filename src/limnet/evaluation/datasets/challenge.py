"""CVPR 2025 challenge on foundation models for interactive 3D segmentation: one .npz per case.

```
CT_….npz                                                 imgs, gts, spacing: as training cases are
3D_val_npz/CT_….npz, 3D_val_gt_interactive_seg/CT_….npz  imgs and gts apart: as validation cases are
```
File names begin with the modality; each modality is a set of its own. Objects are the ids of `gts`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from limnet.evaluation.cases import CaseFailure, CaseFiles, EvaluationSet
from limnet.evaluation.datasets.layout import Layout, files

PAIRS = (("3D_val_npz", "3D_val_gt_interactive_seg"), ("imgs", "gts"), ("imgs", "validation_gts"))
MODALITIES = ("CT", "MR", "PET", "US", "Microscopy")


def _folders(root: Path) -> tuple[Path, Path] | None:
    """Where images are, and where truth is: often the same."""
    for images, truths in PAIRS:
        if files(root / images, "*.npz") and (root / truths).is_dir():
            return root / images, root / truths
    return (root, root) if files(root, "*.npz") else None


def _find(root: Path) -> list[EvaluationSet]:
    found = _folders(root)
    if found is None:
        return []
    images, truths = found
    by_set: dict[str, list[CaseFiles | CaseFailure]] = {}
    for path in files(images, "*.npz"):
        start = path.name.split("_")[0]
        name = f"cvpr25_{start.lower()}" if start in MODALITIES else "cvpr25"
        by_set.setdefault(name, []).append(_case(name, path, truths / path.name))
    return [
        EvaluationSet(
            name=name,
            cases=tuple(case for case in cases if isinstance(case, CaseFiles)),
            failures=tuple(case for case in cases if isinstance(case, CaseFailure)),
        )
        for name, cases in sorted(by_set.items())
    ]


def _case(set_name: str, image: Path, truth: Path) -> CaseFiles | CaseFailure:
    if not truth.is_file() or "gts.npy" not in _keys(truth):
        message = f"{truth}: no 'gts' there; put the truth beside the images, or into {PAIRS[0][1]}"
        return CaseFailure(set_name, image.stem, message)
    return CaseFiles(image.stem, image, truth)


def _keys(path: Path) -> list[str]:
    """Names of the arrays in a file; none when it is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return []


CHALLENGE = Layout(
    title="CVPR 2025 interactive 3D segmentation challenge",
    source="the validation or training .npz files, by codabench.org/competitions/5263",
    expects=f".npz files with imgs, gts and spacing, or {PAIRS[0][0]} and {PAIRS[0][1]}",
    recognises=lambda root: _folders(root) is not None,
    find=_find,
)
