"""What a challenge file asks for: boxes and clicks, as rounds of clicks that any session can be told.

| key | what, one entry per object |
|---|---|
| `boxes` | `z_mid`, a slice, and `z_mid_x_min`, `z_mid_x_max`, `z_mid_y_min`, `z_mid_y_max`, inclusive |
| `clicks` | `fg` and `bg`: lists of points [z, y, x] |
| `clicks_order` | "fg", "bg", … in the order in which they were given |

The n-th entry is the object of label n, from 1. A box is told as clicks on its slice: one in its middle and,
as far as they lie in the volume, eight just outside the middles of its sides and its corners.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limnet.errors import CaseError, PromptError
from limnet.evaluation.box import middle_of, pixels_around
from limnet.evaluation.npz_case import SLICE_AXIS, voxel_of
from limnet.evaluation.npz_file import read_array
from limnet.prompt import Click, Voxel

BOX_KEYS = ("z_mid", "z_mid_x_min", "z_mid_x_max", "z_mid_y_min", "z_mid_y_max")


@dataclass(frozen=True)
class PromptRound:
    """Clicks that are given together, before one propagation."""

    clicks: tuple[Click, ...]
    axis: int | None = None  # across which their slice is cut; None: as the session likes


def read_npz_prompts(path: Path, shape: Voxel) -> tuple[tuple[PromptRound, ...], ...]:
    """For each object the rounds it was given so far: its box, then one round per click in their order.

    `shape` is (I, J, K). CaseError when there is neither box nor click, when boxes and clicks are not of the
    same number of objects, or when an entry is malformed; PromptError when a point lies outside the volume.
    """
    boxes, clicks, orders = (_entries(path, key) for key in ("boxes", "clicks", "clicks_order"))
    count = len(boxes or clicks or ())
    if count == 0:
        raise CaseError(f"{path}: neither 'boxes' nor 'clicks' in it; there is nothing to segment")
    for key, entries in (("clicks", clicks), ("clicks_order", orders)):
        if entries is not None and len(entries) != count:
            raise CaseError(f"{path}: {key!r} of {len(entries)} objects, but {count} are prompted")
    return tuple(
        (
            *([_box_round(boxes[n], shape, path)] if boxes else []),
            *(_click_rounds(clicks[n], orders[n] if orders else None, shape, path) if clicks else []),
        )
        for n in range(count)
    )


def clicks_of_box(low: tuple[int, int], high: tuple[int, int], k: int, shape: Voxel) -> tuple[Click, ...]:
    """What a box on slice `k` says, in clicks; `low` and `high` are its first and last (i, j).

    >>> [click.index for click in clicks_of_box((2, 0), (6, 4), 1, (8, 9, 3))]
    [(4, 2, 1), (1, 2, 1), (1, 5, 1), (4, 5, 1), (7, 2, 1), (7, 5, 1)]
    """
    box = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
    around = pixels_around(box, (shape[0], shape[1]))
    return (
        Click((*middle_of(box), k)),
        *(Click((i, j, k), positive=False) for i, j in around),
    )


def _entries(path: Path, key: str) -> list[Any] | None:
    """One entry per object, None when the file has no such key."""
    array = read_array(path, key)
    if array is None:
        return None
    if array.ndim == 0:
        raise CaseError(f"{path}: {key!r} is a single value, must be a list with one entry per object")
    return list(array)


def _box_round(box: Any, shape: Voxel, path: Path) -> PromptRound:
    if not isinstance(box, Mapping) or any(key not in box for key in BOX_KEYS):
        raise CaseError(f"{path}: box {box!r}, must have {', '.join(BOX_KEYS)}")
    k, low_i, high_i, low_j, high_j = (int(box[key]) for key in BOX_KEYS)
    for i, j in ((low_i, low_j), (high_i, high_j)):
        _check_inside((i, j, k), shape, path)
    if low_i > high_i or low_j > high_j:
        raise PromptError(f"{path}: box from {(low_i, low_j)} to {(high_i, high_j)} ends before it starts")
    return PromptRound(clicks_of_box((low_i, low_j), (high_i, high_j), k, shape), SLICE_AXIS)


def _click_rounds(clicks: Any, order: Any, shape: Voxel, path: Path) -> list[PromptRound]:
    """One round per click; without an order, all positive clicks come first."""
    if not isinstance(clicks, Mapping) or not {"fg", "bg"} <= clicks.keys():
        raise CaseError(f"{path}: clicks {clicks!r}, must have lists 'fg' and 'bg'")
    points = {sign: [_point(point, shape, path) for point in clicks[sign]] for sign in ("fg", "bg")}
    default = ["fg"] * len(points["fg"]) + ["bg"] * len(points["bg"])
    signs = default if order is None else [str(sign) for sign in np.atleast_1d(order) if sign is not None]
    if sorted(signs) != sorted(default):
        raise CaseError(
            f"{path}: 'clicks_order' {signs}, but there are {len(points['fg'])} 'fg' and"
            f" {len(points['bg'])} 'bg' clicks"
        )
    following = {sign: iter(found) for sign, found in points.items()}
    return [PromptRound((Click(next(following[sign]), positive=sign == "fg"),)) for sign in signs]


def _point(point: Any, shape: Voxel, path: Path) -> Voxel:
    try:
        voxel = voxel_of(point)
    except (TypeError, ValueError):
        raise CaseError(f"{path}: click {point!r}, must be three whole numbers [z, y, x]") from None
    _check_inside(voxel, shape, path)
    return voxel


def _check_inside(voxel: Voxel, shape: Voxel, path: Path) -> None:
    if not all(0 <= n < length for n, length in zip(voxel, shape, strict=True)):
        raise PromptError(
            f"{path}: point [z, y, x] = {list(voxel[::-1])} lies outside 'imgs' of shape {shape[::-1]}"
        )
