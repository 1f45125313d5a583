"""Stage 1: one slice and its clicks -> prompt mask (paper: 2D Interaction Module)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.hints import click_hints, click_maps, reference_maps
from limnet.model import LimNet
from limnet.prompt import Click
from limnet.view import Plane, View, min_side_mm, view_around, whole_view

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

ZOOM_STEP = 1.6  # between two zoom levels
NUM_ZOOMS = 6
REFIT = 2.0  # side of the final view over the extent of the mask found at the best zoom
GROWTH = 1.5  # of a view whose prompt mask touches its border
MAX_GROWTHS = 4
MIRRORS = ((), (-1,), (-2,), (-1, -2))  # of a view: decisions/0020


@dataclass(frozen=True)
class PlaneClick:
    """A click in the plane of its slice."""

    row: int  # voxels
    column: int
    positive: bool

    @classmethod
    def of(cls, click: Click, axis: int) -> PlaneClick:
        """A click of the volume in the plane of its slice along `axis`."""
        row, column = (n for a, n in enumerate(click.index) if a != axis)
        return cls(row, column, click.positive)


class Shown(NamedTuple):
    """Another prompted slice, through the same view: what the object looks like there."""

    image: Image  # (3, H, W)
    mask: Image  # (H, W), in [0, 1]


def prompt_probability(
    model: LimNet, view: View, image: Image, clicks: Sequence[PlaneClick], previous: Image
) -> Image:
    """What the clicks mean in a view: image (3, H, W), previous mask (H, W) -> probability (H, W).

    Clicks outside the view are ignored. Nothing is known of other slices.
    """
    maps, hints = _told(view, image, clicks)
    return model.interaction(image, previous, maps, hints, _compared(image, None)) * view.inside


def mirrored_probability(
    model: LimNet,
    view: View,
    image: Image,
    clicks: Sequence[PlaneClick],
    previous: Image,
    shown: Shown | None = None,
) -> Image:
    """As `prompt_probability`, the mean over the view and its mirror images, which errs less often.

    The object on another prompted slice is `shown` beside, if there is one.
    """
    inputs = (image, previous, *_told(view, image, clicks), _compared(image, shown))

    def seen(mirror: tuple[int, ...]) -> Image:
        return np.flip(model.interaction(*(np.flip(array, mirror) for array in inputs)), mirror)

    seen_in_all = model.lanes.together([partial(seen, mirror) for mirror in MIRRORS])
    mean: Image = np.mean(seen_in_all, axis=0, dtype=np.float32) * view.inside
    return mean


def _told(view: View, image: Image, clicks: Sequence[PlaneClick]) -> tuple[Image, Image]:
    """Clicks as the network takes them: click maps (2, H, W) and hints (3, H, W)."""
    size = view.size
    seeds = np.zeros((2, 1, size, size), bool)
    maps = np.zeros((2, size, size), np.float32)
    for sign, positive in enumerate((True, False)):
        chosen = [click for click in clicks if click.positive is positive and _inside(view, click)]
        maps[sign] = click_maps([view.pixel(click.row, click.column) for click in chosen], size)
        for click in chosen:
            row, column = view.nearest_pixel(click.row, click.column)
            seeds[sign, 0, row, column] = True
    return maps, click_hints(image[None, : _colours(image)], *seeds)[0]


def _compared(image: Image, shown: Shown | None) -> Image:
    """What another slice tells of this one, as the network takes it: (3, H, W)."""
    if shown is None:
        return np.zeros_like(image)
    channels = max(_colours(image), _colours(shown.image))
    maps: Image = reference_maps(image[None, :channels], shown.image[None, :channels], shown.mask[None])[0]
    return maps


def zoom_levels(plane: Plane, click: PlaneClick, size: int) -> list[View]:
    """Views around a click, from close to the whole plane."""
    sides = [plane.longer_mm / ZOOM_STEP**n for n in range(NUM_ZOOMS - 1, 0, -1)]
    centre = (float(click.row), float(click.column))
    close = [View(plane, centre, side, size) for side in sides if side >= min_side_mm(plane)]
    return [*close, whole_view(plane, size)]


def obey(mask: Mask, clicks: Sequence[PlaneClick], view: View) -> Mask:
    """Clicks are law: a plane mask (h, w) with each positive click inside and each negative outside.

    A click that the network did not follow sets the voxels within one pixel of the view around it.
    A voxel that was clicked both ways follows the later click.
    """
    out = mask.copy()
    radii = [max(1, round(view.side_mm / view.size / s)) for s in view.plane.spacing_mm]
    for click in clicks:
        if out[click.row, click.column] == click.positive:
            continue
        rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
        near = ((rows - click.row) / radii[0]) ** 2 + ((columns - click.column) / radii[1]) ** 2 <= 1
        out[near] = click.positive
    for click in clicks:
        out[click.row, click.column] = click.positive
    return out


def merge(previous: Mask, proposed: Mask, click: PlaneClick) -> Mask:
    """A click corrects what it touches: the proposal's change that holds the click, the rest as it was.

    A positive click only adds the connected piece of `proposed` outside `previous` in which it lies, a
    negative one only removes such a piece (progressive merge; FocalClick, arXiv:2204.02574). An empty
    previous mask has nothing to keep. All (h, w).
    """
    if not previous.any():
        return proposed
    changed = proposed & ~previous if click.positive else previous & ~proposed
    from scipy import ndimage  # slow to import; a first click never comes here

    pieces, _ = ndimage.label(changed)
    number = pieces[click.row, click.column]
    merged: Mask = previous ^ (pieces == number) if number else previous.copy()
    return merged


def bounds(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row and column of a mask that is not empty: (low, high), inclusive."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(columns[0])), (int(rows[-1]), int(columns[-1]))


def refit(view: View, probability: Image, click: PlaneClick) -> View:
    """A view around the mask found in `view`, which holds the click."""
    mask = view.paste(probability) > 0.5
    mask[click.row, click.column] = True
    low, high = bounds(mask)
    return view_around(view.plane, low, high, REFIT, view.size)


def _inside(view: View, click: PlaneClick) -> bool:
    return all(0 <= p <= view.size - 1 for p in view.pixel(click.row, click.column))


def _colours(image: Image) -> int:
    """1 when the three channels are the same grey, which saves the hints two thirds of their work."""
    return 1 if np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]) else 3
