"""Rows of an evaluation that tests make up, so that every figure in a report can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limnet.evaluation.results import ObjectDone, ObjectKey, RoundRow, SliceRow


def done(*dice: float, slices: Sequence[Sequence[tuple[float, float]]] = (), **settings: Any) -> ObjectDone:
    """An object with this Dice by round; `slices` holds (expected, true) Dice of its slices, per round.

    In every round slice 0 is the suggested one. `settings` are fields of rows or key.
    """
    key = {
        "set_name": "s",
        "case": "c",
        "object_id": 1,
        "truth_voxels": 100,
        "protocol": "test",
        "method": "limnet",
        "user": "centre",
        "seed": 0,
        "fusion": True,
        "num_rounds": len(dice),
        "cap": len(dice),
    }
    key |= {name: value for name, value in settings.items() if name in ObjectKey._fields}
    other = {name: value for name, value in settings.items() if name not in ObjectKey._fields}
    rows = [
        _row(key, number, value, number == len(dice), other) for number, value in enumerate(dice, start=1)
    ]
    of_slices = [
        SliceRow(**key, round=number, slice=index, quality=expected, dice=true, suggested=index == 0)
        for number, of_round in enumerate(slices, start=1)
        for index, (expected, true) in enumerate(of_round)
    ]
    return ObjectDone(tuple(rows), tuple(of_slices))


def _row(key: dict[str, Any], number: int, dice: float, is_last: bool, other: dict[str, Any]) -> RoundRow:
    cells = {
        "truth_ml": 0.1,
        "axis": 2,
        "num_clicks": 1,
        "click_i": 1,
        "click_j": 2,
        "click_k": 3,
        "positive": True,
        "iou": dice / (2 - dice),
        "nsd_1mm": dice / 4,
        "nsd_2mm": dice / 2,
        "nsd_3mm": dice,
        "hd95_mm": 10 * (1 - dice),
        "seconds": 0.25,
        "preview_seconds": 0.125,
        "peak_memory_mib": 200.0,
    }
    return RoundRow(**key, **{**cells, **other}, round=number, dice=dice, is_last=is_last)
