"""Zoom: which window the first click means. Small enough to see the object well, large enough to hold it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.fusion import expected_dice
from limnet.interaction import PlaneClick, prompt_probability, refit, zoom_levels
from limnet.lens import image_through, lens_at, plane_of
from limnet.model import LimNet
from limnet.view import View
from limnet.volume import Volume

Array = NDArray[np.float32]

ZOOM_SIZE = 128  # pixels, at most, in which zoom levels are compared: a first click waits for all of them
NUM_WITNESSES = 2  # other zoom levels that a mask should agree with
ALONE = 0.3  # weight of a mask that agrees with none, of one that agrees with all it is 1.3


class Look(NamedTuple):
    """What one zoom level showed."""

    view: View
    image: Array  # (3, H, W)
    probability: Array  # (H, W)
    on_plane: NDArray[np.bool_]  # (h, w)


class Choice(NamedTuple):
    """Where a first click finds its object."""

    view: View  # around it
    look: Look | None  # the zoom level that is believed, if any is


def choose_view(model: LimNet, volume: Volume, axis: int, index: int, click: PlaneClick) -> Choice:
    """A view around the object that a first click means, and the look by which it was found.

    Every zoom level proposes a mask; those that reach their view's border or are empty do not count. Of
    the rest the one is taken of which the network expects the highest Dice and which agrees best with two
    other levels (a blob around the click scales with the view and agrees with none), and the view is fitted
    to that mask.
    When none counts, the whole plane is seen.
    """
    size = model.manifest.size
    levels = zoom_levels(plane_of(volume, axis), click, min(size, ZOOM_SIZE))
    looks = model.lanes.together([partial(_look, model, volume, axis, index, click, view) for view in levels])
    scores = [_score(looks, number) for number in range(len(looks))]
    best = int(np.argmax(scores))
    if scores[best] <= 0:
        return Choice(replace(levels[-1], size=size), None)
    look = looks[best]
    return Choice(replace(refit(look.view, look.probability, click), size=size), look)


def _look(model: LimNet, volume: Volume, axis: int, index: int, click: PlaneClick, view: View) -> Look:
    lens = lens_at(volume, axis, index, view)
    nothing = np.zeros((view.size, view.size), np.float32)
    image = image_through(volume, lens, index)
    probability = prompt_probability(model, view, image, [click], nothing)
    return Look(view, image, probability, view.paste(probability) > 0.5)


def _score(looks: list[Look], number: int) -> float:
    """Expected Dice of a level's mask times its agreement with the levels most like it; 0 does not count."""
    look = looks[number]
    mask = look.probability > 0.5
    if not mask.any() or (look.view.is_touched(mask) and not look.view.is_whole):
        return 0.0
    others = [other for n, other in enumerate(looks) if n != number]
    agreement = sorted((_iou(look.on_plane, other.on_plane) for other in others), reverse=True)
    expected = expected_dice(mask, look.probability)
    return expected * (ALONE + sum(agreement[:NUM_WITNESSES]) / NUM_WITNESSES)


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0
