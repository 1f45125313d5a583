"""Public data sets in their official folder layouts, as evaluation sets with named objects.

Only names are looked at here; nothing is read before its turn. The module of a layout says what it expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from limnet.errors import CaseError, ConfigError
from limnet.evaluation.cases import EvaluationSet
from limnet.evaluation.datasets.acdc import ACDC
from limnet.evaluation.datasets.amos import AMOS
from limnet.evaluation.datasets.btcv import BTCV
from limnet.evaluation.datasets.challenge import CHALLENGE
from limnet.evaluation.datasets.decathlon import DECATHLON
from limnet.evaluation.datasets.endovis import ENDOVIS
from limnet.evaluation.datasets.kits import KITS
from limnet.evaluation.datasets.layout import Layout
from limnet.evaluation.datasets.plain import PANEL, PLAIN
from limnet.evaluation.datasets.totalsegmentator import TOTALSEGMENTATOR

LAYOUTS: Mapping[str, Layout] = {
    "amos": AMOS,  # before msd: it has a dataset.json too
    "msd": DECATHLON,
    "kits": KITS,
    "btcv": BTCV,
    "acdc": ACDC,
    "totalsegmentator": TOTALSEGMENTATOR,
    "endovis18": ENDOVIS,
    "cvpr25": CHALLENGE,
    "plain": PLAIN,
    "panel": PANEL,
}
"""Name -> layout, in the order in which `recognise` tries them."""

__all__ = ["LAYOUTS", "Layout", "find_dataset", "recognise"]


def recognise(root: Path) -> str | None:
    """The name of the layout in which the data below `root` lie, None when it is none of `LAYOUTS`."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(root)), None)


def find_dataset(layout: str, root: Path, *, limit: int | None = None) -> list[EvaluationSet]:
    """The sets of a data set below `root`; with `limit`, the first few cases of each.

    Cases of which a file is missing are failures of their set. CaseError, with what to download and where to
    put it, when there is no complete case; ConfigError when there is no `layout` of that name.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"no data set layout {layout!r}; known: {', '.join(LAYOUTS)}")
    wanted = LAYOUTS[layout]
    sets = [a_set for a_set in wanted.find(root) if a_set.cases or a_set.failures] if root.is_dir() else []
    if not any(a_set.cases for a_set in sets):
        failures = [failure for a_set in sets for failure in a_set.failures]
        state = f"{len(failures)} cases, none complete ({failures[0].message})" if failures else "not there"
        raise CaseError(
            f"{root}: {wanted.title}: {state}; get {wanted.source}, and put it so that this folder holds"
            f" {wanted.expects}"
        )
    return [replace(a_set, cases=a_set.cases[:limit]) for a_set in sets]
