"""Prompts beyond clicks, made while training from the truth of a slice: boxes, lassos, scribbles.

They reach the network as the session brings them there (`limnet.answer`): a scribble as the clicks along it,
a box or a lasso as a few clicks in its middle and around it and a previous mask that fills it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.answer import marks_of, rounded
from limnet.prompt import trace
from limnet.training.clicking import SliceClick
from limnet.view import Plane

Mask = NDArray[np.bool_]

LOOSE = (-0.02, 0.15)  # how far a box's side lies outside the object's, as a share of its extent
MAX_WAYPOINTS = 4  # of a scribble


class Area(NamedTuple):
    """A box or a lasso, as the network is told of it."""

    inside: Mask  # (H, W), what it holds
    start: Mask  # (H, W), the previous mask it starts from
    marks: tuple[SliceClick, ...]  # clicks in the middle and around it


def area_of(inside: Mask, start: Mask) -> Area:
    """An area with its marks."""
    marks = marks_of(inside, Plane(inside.shape, (1.0, 1.0)))
    return Area(inside, start, tuple(SliceClick(m.row, m.column, m.positive) for m in marks))


def drawn_box(truth: Mask, rng: np.random.Generator) -> Area:
    """A box that somebody draws around an object: near its edges, seldom inside them; (H, W), not empty."""
    inside = np.zeros_like(truth)
    sides = []
    for axis, length in enumerate(truth.shape):
        places = np.flatnonzero(truth.any(1 - axis))
        extent = places[-1] + 1 - places[0]
        low, high = rng.uniform(*LOOSE, 2) * extent
        first = int(np.clip(round(places[0] - low), 0, length - 1))
        last = int(np.clip(round(places[-1] + high), first, length - 1))
        sides.append(slice(first, last + 1))
    inside[tuple(sides)] = True
    return area_of(inside, rounded(inside))


def drawn_lasso(truth: Mask, rng: np.random.Generator) -> Area:
    """An outline that somebody draws around an object, unsteady and a little outside; (H, W), not empty."""
    extent = max(3.0, float(np.sqrt(truth.sum())))
    unsteady = ndimage.gaussian_filter(rng.standard_normal(truth.shape), extent * 0.15)
    unsteady *= rng.uniform(0, 0.06) * extent / (float(unsteady.std()) or 1.0)
    away = ndimage.distance_transform_edt(~truth) - ndimage.distance_transform_edt(truth)  # pixels, signed
    inside = ndimage.binary_fill_holes(away <= rng.uniform(0, 0.12) * extent + unsteady)
    if not inside.any():
        inside = truth
    return area_of(inside, inside)


def scribble(truth: Mask, mask: Mask, rng: np.random.Generator) -> list[SliceClick]:
    """A line drawn through the largest error region, in drawing order: (H, W) twice; [] without errors.

    It runs through a few random places of the region and ends where it would leave it.
    """
    components, count = ndimage.label(truth ^ mask)
    if count == 0:
        return []
    region = components == int(np.argmax(np.bincount(components.ravel())[1:])) + 1
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    chosen = rng.choice(depth.size, int(rng.integers(2, MAX_WAYPOINTS + 1)), p=depth.ravel() / depth.sum())
    line = trace([(int(n) // region.shape[1], int(n) % region.shape[1]) for n in chosen])
    outside = [number for number, pixel in enumerate(line) if not region[pixel]]
    kept = line[: outside[0]] if outside else line
    positive = bool(truth[kept[0]])
    return [SliceClick(row, column, positive) for row, column in kept]
