"""Data of one's own: images/ and labels/ beside each other, or folders that each hold such a pair."""

from __future__ import annotations

from pathlib import Path

from limnet.errors import CaseError
from limnet.evaluation.cases import CaseFailure, EvaluationSet, find_set
from limnet.evaluation.datasets.layout import Layout, folders


def _is_pair(place: Path) -> bool:
    return (place / "images").is_dir() and (place / "labels").is_dir()


def _find_pair(root: Path) -> list[EvaluationSet]:
    return [find_set(root / "images", root / "labels", name=root.resolve().name)] if _is_pair(root) else []


def _find_pairs(root: Path) -> list[EvaluationSet]:
    return [_pair(place) for place in folders(root, "*") if (place / "images").is_dir()]


def _pair(place: Path) -> EvaluationSet:
    """One set; without labels it has a failure and no case, so that it is not passed over."""
    try:
        return find_set(place / "images", place / "labels", name=place.name)
    except CaseError as error:
        failure = CaseFailure(place.name, "", str(error))
        return EvaluationSet(name=place.name, cases=(), failures=(failure,))


PLAIN = Layout(
    title="images with labels",
    source="volumes and label maps of your own",
    expects="images/CASE.nii.gz and labels/CASE.nii.gz on the same grid",
    recognises=_is_pair,
    find=_find_pair,
)
PANEL = Layout(
    title="several sets of images with labels",
    source="volumes and label maps of your own",
    expects="SET/images/CASE.nii.gz and SET/labels/CASE.nii.gz on the same grid",
    recognises=lambda root: any(_is_pair(place) for place in folders(root, "*")),
    find=_find_pairs,
)
