"""What a prompt means on its slice: the prompt mask, and the lens through which it was found.

Clicks and scribbles ask the interaction network and correct what they touch. A positive box or lasso asks
it about what lies inside: the middle is told to be object, the surroundings background. Negative ones cut
their inside out, a painted slice is taken as it is. Afterwards the law is enforced (`law.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.interaction import (
    GROWTH,
    MAX_GROWTHS,
    PlaneClick,
    Shown,
    bounds,
    merge,
    mirrored_probability,
)
from limnet.law import Law, Placed, area_of, points_of
from limnet.lens import Lens, image_through, lens_at, plane_of
from limnet.model import LimNet
from limnet.prompt import Box, Lasso, Painted, Prompt, centre
from limnet.view import Plane, View, view_around
from limnet.volume import Volume
from limnet.zoom import Look, choose_view

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

MANY = 32  # points of a slice from which on those that share a pixel of the view are seen as one
SPARED = 1 / 3  # of a slice's mask that the network must keep, told of its middle, for the object to be there
ROOM = 2.0  # side of a new view over the extent of what it must hold
AREA_ROOM = 1.6  # the same for a box or a lasso, which end where the object ends
SPARE = 2.5  # a view whose side is at most this many times an area's still shows it well
RING = 0.05  # of an area's extent: how far outside it the background begins
CORE = 0.9  # side of the ellipse over that of its box. With this, RING and LOOKS the mean Dice of a tight and
LOOKS = 2  # of a loose box is best on 53 objects: 0.815 and 0.804; without ellipse 0.724 and 0.738


class Neighbour(NamedTuple):
    """Another slice of the axis, and the object on it."""

    number: int  # its index
    mask: Mask  # (h, w)


def nearest(indices: Iterable[int], index: int, mask_at: Callable[[int], Mask]) -> Neighbour | None:
    """Of slices the nearest to `index`, itself left out, whose mask (h, w) holds something."""
    for other in sorted(set(indices) - {index}, key=lambda other: (abs(other - index), other)):
        mask = mask_at(other)  # a copy each: few are looked at, though hundreds may have been prompted
        if mask.any():
            return Neighbour(other, mask)
    return None


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt on a slice, and what the session knows there."""

    volume: Volume
    axis: int
    index: int  # of the slice
    prompt: Prompt
    before: Mask  # (h, w), the slice's mask so far
    law: Law  # of all prompts, this one included
    lens: Lens | None  # in use so far
    occupied: Callable[[], Mask]  # (h, w), where any slice of the axis holds the object
    neighbour: Neighbour | None = None  # the nearest other prompted slice that holds the object


def answer(model: LimNet, question: Question) -> tuple[Mask, Lens]:
    """The prompt mask (h, w) of the slice, and the lens to go on with."""
    prompt, shape = question.prompt, question.before.shape
    if isinstance(prompt, Painted):
        mask = prompt.mask
        lens = _lens_around(model, question, mask if mask.any() else np.ones(shape, bool), ROOM)
    elif isinstance(prompt, Box | Lasso):
        area = area_of(prompt, question.axis, shape)
        lens = _lens_around(model, question, area, AREA_ROOM)
        mask = _inside(model, question, area, lens) if prompt.positive else question.before & ~area
    else:
        mask, lens = _corrected(model, question)
    return question.law.enforce(mask, question.axis, question.index, lens.view), lens


def _corrected(model: LimNet, question: Question) -> tuple[Mask, Lens]:
    """What a click or a scribble makes of the slice.

    One that takes away does not say where the object is, and alone it often makes the network leave too
    little. So the network is asked once more, told that a pixel far off is object. If it then keeps a good
    part of the mask, that is believed; if only a spot around there, the object has ended (decisions/0032).
    """
    volume, axis, index, before = question.volume, question.axis, question.index, question.before
    touched = points_of(Placed(axis, question.prompt))
    points = question.law.points_on(axis, index)
    lens, look = _lens_for(model, question, touched)
    if look is not None and len(points) == 1:
        return _first_mask(model, look, points[0]), lens
    for growth in range(MAX_GROWTHS + 1):
        image = image_through(volume, lens, index)
        seen = points if len(points) <= MANY else _thinned(points, lens.view)
        previous = lens.view.look(before.astype(np.float32))[0]
        shown = _shown(question, lens)
        probability = mirrored_probability(model, lens.view, image, seen, previous, shown)
        if growth == MAX_GROWTHS or lens.view.is_whole or not lens.view.is_touched(probability > 0.5):
            break
        lens = lens_at(volume, axis, index, lens.view.grown(GROWTH))
    proposed = lens.view.paste(probability) > 0.5
    middle = None if touched[0].positive else _far_middle(before, touched, lens.view.plane)
    if middle is not None:
        told = mirrored_probability(model, lens.view, image, [*seen, middle], previous, shown)
        kept = lens.view.paste(told) > 0.5
        if (kept & before).sum() > SPARED * before.sum():
            proposed = kept
    if len(touched) == 1:
        return merge(before, proposed, touched[0]), lens
    return _merge_along(before, proposed, touched), lens


def _far_middle(mask: Mask, touched: Sequence[PlaneClick], plane: Plane) -> PlaneClick | None:
    """The middle of that half of a mask (h, w) which is farther from the points; None where there is none."""
    from scipy import ndimage  # slow to import; a first click never comes here

    rows, columns = [point.row for point in touched], [point.column for point in touched]
    seen = mask.copy()
    seen[rows, columns] = True
    (top, left), (bottom, right) = bounds(seen)
    part = mask[top : bottom + 1, left : right + 1]
    untouched = np.ones(part.shape, bool)
    untouched[np.subtract(rows, top), np.subtract(columns, left)] = False
    distance = ndimage.distance_transform_edt(untouched, sampling=plane.spacing_mm)
    farther = part & (distance > np.median(distance[part])) if part.any() else part
    if not farther.any():
        return None
    row, column = centre(farther)
    return PlaneClick(top + row, left + column, True)


def _first_mask(model: LimNet, look: Look, click: PlaneClick) -> Mask:
    """What a first click means, at the zoom level that was believed."""
    nothing = np.zeros_like(look.probability)
    mask: Mask = look.view.paste(mirrored_probability(model, look.view, look.image, [click], nothing)) > 0.5
    return mask


def _shown(question: Question, lens: Lens) -> Shown | None:
    """The neighbour through the lens."""
    neighbour = question.neighbour
    if neighbour is None:
        return None
    image = image_through(question.volume, lens, neighbour.number)
    return Shown(image, lens.view.look(neighbour.mask.astype(np.float32))[0])


def _merge_along(previous: Mask, proposed: Mask, points: Sequence[PlaneClick]) -> Mask:
    """As `merge`, with every piece of the change that one of the points lies in."""
    if not previous.any():
        return proposed
    changed = proposed & ~previous if points[0].positive else previous & ~proposed
    from scipy import ndimage  # slow to import; a first click never comes here

    pieces, _ = ndimage.label(changed)
    numbers = np.unique(pieces[[p.row for p in points], [p.column for p in points]])
    merged: Mask = previous ^ np.isin(pieces, numbers[numbers > 0])
    return merged


def _thinned(points: Sequence[PlaneClick], view: View) -> list[PlaneClick]:
    """One point for each pixel of the view and sign; what the networks see stays nearly the same."""
    return list({(*view.nearest_pixel(p.row, p.column), p.positive): p for p in points}.values())


def _inside(model: LimNet, question: Question, area: Mask, lens: Lens) -> Mask:
    """What of an area is the object: inside it the network's mask, elsewhere what was there.

    An area starts its inside anew: it takes the place of the previous mask there.
    """
    view = lens.view
    points = [*marks_of(area, view.plane), *question.law.points_on(question.axis, question.index)]
    image = image_through(question.volume, lens, question.index)
    mask, shown = area if isinstance(question.prompt, Lasso) else rounded(area), _shown(question, lens)
    for _ in range(LOOKS):
        previous = view.look(mask.astype(np.float32))[0]
        found = mirrored_probability(model, view, image, points, previous, shown)
        mask = (view.paste(found) > 0.5) & area
    return mask | (question.before & ~area)


def rounded(box: Mask) -> Mask:
    """The ellipse that fills CORE of a box in both directions, at least its middle; (h, w)."""
    (top, left), (bottom, right) = bounds(box)
    rows, columns = np.ogrid[: box.shape[0], : box.shape[1]]
    down = (rows - (top + bottom) / 2) / (CORE / 2 * (bottom - top + 1))
    across = (columns - (left + right) / 2) / (CORE / 2 * (right - left + 1))
    ellipse: Mask = down**2 + across**2 <= 1
    return ellipse


def marks_of(area: Mask, plane: Plane) -> list[PlaneClick]:
    """What an area says in clicks: object in its middle, background around it in eight directions."""
    row, column = centre(area)
    (top, left), (bottom, right) = bounds(area)
    down = max(1, round(RING * (bottom - top + 1)))
    across = max(1, round(RING * (right - left + 1)))
    rows = (top - down, (top + bottom) // 2, bottom + down)
    columns = (left - across, (left + right) // 2, right + across)
    around = [(r, c) for r in rows for c in columns if (r, c) != (rows[1], columns[1])]
    height, width = plane.shape
    return [
        PlaneClick(int(row), int(column), True),
        *(PlaneClick(r, c, False) for r, c in around if 0 <= r < height and 0 <= c < width),
    ]


def _lens_for(model: LimNet, question: Question, points: Sequence[PlaneClick]) -> tuple[Lens, Look | None]:
    """The lens in use when it shows the new points well, else a new one; and what a first click saw."""
    volume, axis, index, lens = question.volume, question.axis, question.index, question.lens
    if lens is not None and all(lens.view.holds(point.row, point.column) for point in points):
        return lens, None
    occupied = question.occupied()
    if not occupied.any():
        view, look = choose_view(model, volume, axis, index, points[len(points) // 2])
        if len(points) == 1 or all(view.holds(point.row, point.column) for point in points):
            return lens_at(volume, axis, index, view), look
        occupied = view.paste(view.inside.astype(np.float32)) > 0.5
        room = 1.0
    else:
        room = ROOM
    for point in points:
        occupied[point.row, point.column] = True
    view = view_around(plane_of(volume, axis), *bounds(occupied), room, model.manifest.size)
    return lens_at(volume, axis, index, view), None


def _lens_around(model: LimNet, question: Question, area: Mask, room: float) -> Lens:
    """The lens in use when it shows an area well, else one around it."""
    plane, lens = plane_of(question.volume, question.axis), question.lens
    low, high = bounds(area)
    view = view_around(plane, low, high, room, model.manifest.size)
    is_held = lens is not None and lens.view.holds(*low) and lens.view.holds(*high)
    if lens is not None and is_held and lens.view.side_mm <= SPARE / room * view.side_mm:
        return lens
    return lens_at(question.volume, question.axis, question.index, view)
