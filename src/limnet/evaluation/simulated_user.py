"""Simulated users: given truth and mask, the clicks a person might give next.

A user answers with a tuple of clicks on one slice, empty when it is content. Every method is told the same
clicks, so a scribble and a box are clicks too: they bring nothing that another method could not be told.

| user | first round | later rounds |
|---|---|---|
| `centre` | the centre of the object on its largest slice | of the largest error, on its largest slice |
| `random` | any voxel of the object's largest component | any voxel of the largest error |
| `worst-slice` | as `centre` | the centre of the largest error of the slice of lowest Dice |
| `scribble` | up to 8 clicks on a line through the click of `centre` | likewise |
| `box` | inside and around the object's box on its largest slice | as `centre` |
| `cvpr25` | the centre in 3D of the object's largest component | of the largest error |
| `cvpr25-box` | as `box` | as `cvpr25` |

An **error** is a connected region in 3D of one kind, missed or wrongly marked; its click is positive where
the object was missed, negative where background was marked. What is connected, what a centre is and who wins
a tie is said in `error_region`; the rules of `cvpr25` differ. The same input gives the same clicks.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import ConfigError
from limnet.evaluation.box import Pixel, box_of, middle_of, pixels_around
from limnet.evaluation.error_region import (
    centre_in_box,
    centre_of_largest_slice,
    largest_component,
    largest_error,
    largest_slice,
    plane_at,
    require_same_shape,
    voxel_at,
)
from limnet.evaluation.metrics import dice
from limnet.prompt import Click

Mask = NDArray[np.bool_]

SimulatedUser = Callable[[Mask, "Mask | None", int], tuple[Click, ...]]
"""truth (I, J, K), mask (I, J, K) or None before round 1, sweep axis -> the next clicks, () when content."""

SCRIBBLE_CLICKS = 8  # at most, along one line
SCRIBBLE_PART = 0.75  # of the line inside the region: people keep off its ends
SCRIBBLE_DIRECTIONS = 36  # tried over half a turn
CHALLENGE_SEED = 42  # of the CVPR 2025 challenge, anew for each of its clicks


def simulated_user(name: str, seed: int = 0, key: str = "") -> SimulatedUser:
    """A new user for one object; ConfigError when there is none of that `name`.

    `seed` (from 0 on) and `key`, which names the object ("set/case/id"), fix the choices of `random`: they
    are the same whatever the order of objects and whichever process asks. Give every object its own user.

    >>> truth = np.zeros((9, 9, 3), bool)
    >>> truth[2:7, 2:7, 1] = True
    >>> simulated_user("centre")(truth, None, 2)
    (Click(index=(4, 4, 1), positive=True),)
    """
    if name not in USERS:
        raise ConfigError(f"no simulated user is called {name!r}; known: {', '.join(USERS)}")
    if seed < 0:
        raise ConfigError(f"the seed of a simulated user must be 0 or more, got {seed}")
    return USERS[name](seed, key)


def next_click(truth: Mask, mask: Mask | None, axis: int) -> Click | None:
    """The click of the user `centre`; None when `mask` has no error left (or `truth` no object).

    `truth` and `mask` are (I, J, K), `mask` is None before the first round, `axis` is the sweep axis.

    >>> truth = np.zeros((9, 9, 3), bool)
    >>> truth[2:7, 2:7, 1] = True
    >>> next_click(truth, None, axis=2)
    Click(index=(4, 4, 1), positive=True)
    >>> next_click(truth, truth, axis=2) is None
    True
    """
    if mask is None:
        return Click(centre_of_largest_slice(truth, axis)) if truth.any() else None
    error = largest_error(truth, mask)
    if error is None:
        return None
    i, j, k = error.in_whole(centre_of_largest_slice(error.region, axis))
    return Click((i, j, k), positive=error.positive)


def centre_clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """One click, that of `next_click`."""
    click = next_click(truth, mask, axis)
    return () if click is None else (click,)


def random_clicks(seed: int, key: str) -> SimulatedUser:
    """A user of one click, uniform over the voxels of the largest error and drawn anew at each call."""
    calls = count()

    def clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
        random = np.random.default_rng([seed, zlib.crc32(key.encode()), next(calls)])
        error = largest_error(truth, _nothing_like(truth) if mask is None else mask)
        if error is None:
            return ()
        voxels = np.argwhere(error.region)  # (N, 3)
        i, j, k = error.in_whole(tuple(voxels[random.integers(len(voxels))]))
        return (Click((i, j, k), positive=error.positive),)

    return clicks


def worst_slice_clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """One click at the centre of the largest error of the worst slice, as Mem3D is evaluated.

    The worst slice has the lowest Dice among those with any truth or mask (Zhou et al., IJCAI 2021). Many
    may have none at all: of slices of the same Dice the one with most wrong pixels counts, then the first.
    The error is one of that slice alone.
    """
    if mask is None:
        return centre_clicks(truth, None, axis)
    require_same_shape(truth, mask)
    box = box_of(truth ^ mask)
    if box is None:
        return ()
    inside = range(box[axis].start, box[axis].stop)
    worst = min(inside, key=lambda index: _rank(plane_at(truth, axis, index), plane_at(mask, axis, index)))
    error = largest_error(plane_at(truth, axis, worst), plane_at(mask, axis, worst))
    if error is None:  # cannot be: a slice without errors is never the worst of those that have some
        return ()
    pixel = error.in_whole(centre_in_box(error.region))
    return (Click(voxel_at(pixel, axis, worst), positive=error.positive),)


def scribble_clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """Up to 8 clicks of one sign along a straight line inside the error that `centre` clicks, on its slice.

    The line goes through that click, in the direction in which it stays longest inside the region; clicks
    are spread evenly over its middle three quarters. The click of `centre` comes first, the others by their
    distance from it.
    """
    first = next_click(truth, mask, axis)
    if first is None:
        return ()
    index = first.index[axis]
    wanted = plane_at(truth, axis, index)
    found = _nothing_like(wanted) if mask is None else plane_at(mask, axis, index)
    region = wanted & ~found if first.positive else found & ~wanted
    row, column = (at for other, at in enumerate(first.index) if other != axis)
    return tuple(
        Click(voxel_at(pixel, axis, index), positive=first.positive)
        for pixel in _scribble((row, column), region)
    )


def box_clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """Round 1: what the object's box on its largest slice says, in at most 9 clicks; then as `centre`.

    One positive click on the object's pixel nearest to the middle of the box, then negative clicks one pixel
    outside its corners and the middles of its sides, as far as these lie in the volume.
    """
    if mask is not None:
        return centre_clicks(truth, mask, axis)
    index = largest_slice(truth, axis)
    plane = plane_at(truth, axis, index)  # (H, W)
    box = box_of(plane)
    if box is None:
        return ()
    pixels = np.argwhere(plane)  # (N, 2)
    nearest = pixels[np.argmin(((pixels - middle_of(box)) ** 2).sum(1))]
    around = pixels_around(box, (plane.shape[0], plane.shape[1]))
    return (
        Click(voxel_at(tuple(nearest), axis, index)),
        *(Click(voxel_at(pixel, axis, index), positive=False) for pixel in around),
    )


def challenge_clicks(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """One click by the rules of the CVPR 2025 challenge on interactive 3D segmentation (CVPR25_iter_eval.py).

    Its evaluation takes the largest 26-connected component of all that is wrong, missed and wrongly marked
    voxels together; of it the voxel farthest from the component's boundary, in 3D and in voxels; and gives
    that voxel's own sign. Of several that lie equally far it draws one with NumPy's legacy generator, seeded
    anew with 42 for every click, from their list in the order of its arrays (D, H, W). So do we, taking the
    volume's last axis for D. Of components of one size the first in that order counts here.
    """
    found = _nothing_like(truth) if mask is None else mask
    require_same_shape(truth, found)
    wrong = truth ^ found
    box = box_of(wrong)
    if box is None:
        return ()
    component = largest_component(wrong[box].T)  # (D, H, W)
    distance = ndimage.distance_transform_edt(np.pad(component, 1))[1:-1, 1:-1, 1:-1]
    farthest = np.argwhere(distance == distance.max())  # (N, 3)
    drawn = farthest[np.random.RandomState(CHALLENGE_SEED).choice(len(farthest))]
    i, j, k = (int(at) + side.start for at, side in zip(drawn[::-1], box, strict=True))
    return (Click((i, j, k), positive=bool(truth[i, j, k])),)


def challenge_clicks_after_box(truth: Mask, mask: Mask | None, axis: int) -> tuple[Click, ...]:
    """The challenge's optional box as a round of its own, told as the clicks of `box`; then its clicks."""
    return box_clicks(truth, None, axis) if mask is None else challenge_clicks(truth, mask, axis)


USERS: Mapping[str, Callable[[int, str], SimulatedUser]] = {
    "centre": lambda seed, key: centre_clicks,
    "random": random_clicks,
    "worst-slice": lambda seed, key: worst_slice_clicks,
    "scribble": lambda seed, key: scribble_clicks,
    "box": lambda seed, key: box_clicks,
    "cvpr25": lambda seed, key: challenge_clicks,
    "cvpr25-box": lambda seed, key: challenge_clicks_after_box,
}
"""Name -> what makes a user from a seed and the object's key."""


def _nothing_like(truth: Mask) -> Mask:
    return np.zeros(truth.shape, bool)


def _rank(wanted: Mask, found: Mask) -> tuple[float, int]:
    """Sorts slices, the worst first; slices without truth and mask come last, with Dice 1."""
    return dice(wanted, found), -int(np.count_nonzero(wanted ^ found))


class _Line(NamedTuple):
    """A line through a pixel, and how many steps of one pixel it stays inside."""

    angle: float  # from the row axis, radians
    backward: int
    forward: int


def _scribble(start: Pixel, region: Mask) -> list[Pixel]:
    """Distinct pixels spread over the longest line of `region` (H, W) through `start`, `start` first."""
    angles = np.linspace(0, np.pi, SCRIBBLE_DIRECTIONS, endpoint=False)
    line = max(
        (_line(start, angle, region) for angle in angles), key=lambda line: line.backward + line.forward
    )
    along = np.linspace(-line.backward, line.forward, SCRIBBLE_CLICKS) * SCRIBBLE_PART
    steps = sorted((0, *(round(step) for step in along)), key=abs)
    return list(dict.fromkeys(_walk(start, line.angle, step) for step in steps))[:SCRIBBLE_CLICKS]


def _line(start: Pixel, angle: float, region: Mask) -> _Line:
    def inside(step: int) -> bool:
        row, column = _walk(start, angle, step)
        return 0 <= row < region.shape[0] and 0 <= column < region.shape[1] and bool(region[row, column])

    forward = next(step for step in count() if not inside(step + 1))
    backward = next(step for step in count() if not inside(-step - 1))
    return _Line(angle, backward, forward)


def _walk(start: Pixel, angle: float, step: int) -> Pixel:
    return start[0] + round(step * math.cos(angle)), start[1] + round(step * math.sin(angle))
