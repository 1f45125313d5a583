"""Crossing: what sweeps along the other two axes say of a round; where two of three agree, the mask changes.

A sweep drifts with every slice, runs over into neighbours and does not see ahead where the object ends. Seen
across its slices the same object shows its end, and what has drifted. So the planes that cross the prompted
slice in the prompt are prompted too, and their masks carried along their own axes. A voxel changes when at
least two of the three sweeps change it (decisions/0021).

```
                 ┌─► the prompted slice ─► sweep ───────────────────────────┐
prompt ─► point ─┼─► its plane across ─► prompt mask ─► sweep ──────────────┼─► what two of three change
                 └─► its other plane across ─► prompt mask ─► sweep ────────┘
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from limnet.answer import Question, answer, nearest
from limnet.fusion import Change, Round, tempered
from limnet.interaction import GROWTH, MAX_GROWTHS
from limnet.law import Law, Placed, area_of
from limnet.lens import Lens, SliceCache, lens_at, slice_of
from limnet.memory import SliceMask
from limnet.model import LimNet
from limnet.prompt import Click, Painted, Scribble, Voxel, centre, in_plane, voxel_of
from limnet.sweep import Sweep, Task, revise
from limnet.volume import Volume

Mask = NDArray[np.bool_]

MOST_ANISOTROPY = 4.0  # spacing along the sweep over the finest: planes across thicker slices show little
FEWEST_SLICES = 8  # along every axis: what is thinner shows nothing across
SLICES_ACROSS = 16  # planes through the object that are worth a look; of more, every second to sixth is seen
MAX_STEP = 6
BEYOND = 0.25  # of the object's length: how far past its ends planes are seen, as it may be longer than found
FEWEST_BEYOND = 4  # planes


def crosses(volume: Volume, axis: int) -> bool:
    """Whether planes across the slices along `axis` show enough: not in a video, nor across thick slices."""
    finest = min(volume.spacing)
    is_thick = volume.spacing[axis] > MOST_ANISOTROPY * finest
    return not volume.is_rgb and not is_thick and min(volume.shape) >= FEWEST_SLICES


def point_of(placed: Placed, shape: Voxel) -> Click | None:
    """The voxel in which a prompt is seen across its slice, as a click; None when it has none.

    A click's own, a scribble's middle, the innermost of a positive box, lasso or painted mask.
    """
    axis, prompt = placed.axis, placed.prompt
    if isinstance(prompt, Click):
        return prompt
    if isinstance(prompt, Scribble):
        return Click(prompt.points[len(prompt.points) // 2], prompt.positive)
    if not isinstance(prompt, Painted) and not prompt.positive:
        return None
    area = prompt.mask if isinstance(prompt, Painted) else area_of(prompt, axis, in_plane(shape, axis))
    if not area.any():
        return None
    place = list(centre(area))
    place.insert(axis, placed.index)
    i, j, k = place
    return Click((i, j, k), True)


@dataclass(frozen=True, eq=False)
class Found:
    """The object after a round's own sweep: what is looked at across."""

    low: Voxel  # the box that holds it
    mask: Mask  # (i, j, k), in the box

    @classmethod
    def of(cls, mask: NDArray[np.uint8], extent: tuple[Voxel, Voxel] | None, first: Change) -> Found | None:
        """From the mask (I, J, K) before the round, its extent, and what the sweep flipped; None if empty."""
        boxes = [extent] if extent is not None else []
        boxes += [first.box] if first.data else []
        if not boxes:
            return None
        low, high = _hull(boxes)
        part = _flipped(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] > 0, first, low)
        return cls(low, part) if part.any() else None

    @property
    def box(self) -> tuple[Voxel, Voxel]:
        """Its first voxel and the one after its last."""
        return self.low, voxel_of(np.add(self.low, self.mask.shape))

    def ends(self, axis: int) -> tuple[int, int]:
        """The first slice along an axis that holds any of it, and the one after the last."""
        held = np.flatnonzero(_along(self.mask, axis)) + self.low[axis]
        return int(held[0]), int(held[-1]) + 1

    def length(self, axis: int) -> int:
        """How many slices along an axis it reaches through."""
        first, end = self.ends(axis)
        return end - first

    def meets(self, axis: int, index: int) -> bool:
        """Whether the slice `index` along an axis holds any of it."""
        position = index - self.low[axis]
        return 0 <= position < self.mask.shape[axis] and bool(slice_of(self.mask, axis, position).any())

    def slice_at(self, axis: int, index: int, shape: Voxel) -> Mask:
        """The object on a slice (h, w) of a volume of `shape`."""
        mask = np.zeros(in_plane(shape, axis), bool)
        position = index - self.low[axis]
        if 0 <= position < self.mask.shape[axis]:
            (top, left), (bottom, right) = (in_plane(corner, axis) for corner in self.box)
            mask[top:bottom, left:right] = slice_of(self.mask, axis, position)
        return mask

    def holds(self, voxel: Voxel) -> bool:
        """Whether a voxel belongs to it."""
        place = tuple(n - first for n, first in zip(voxel, self.low, strict=True))
        inside = all(0 <= n < length for n, length in zip(place, self.mask.shape, strict=True))
        return inside and bool(self.mask[place])


class Crossing:
    """One round's sweep along another axis, at the planes that `planes` counts."""

    def __init__(self, model: LimNet, volume: Volume, task: Task, axis: int, found: Found) -> None:
        """`task` is the round's own, along the axis of its slices."""
        self.model = model
        self.task = task
        self.axis = axis
        self.found = found
        self.planes = planes_across(found, axis, volume.shape[axis])
        self._first = [self.planes.start if n == axis else 0 for n in range(3)]
        self._steps = [self.planes.step if n == axis else 1 for n in range(3)]
        # All planes, but of each only what lies in line with the object: volumes are large.
        self._beside = tuple(
            slice(None) if n == axis else slice(a, b) for n, (a, b) in enumerate(zip(*found.box, strict=True))
        )
        self.shape = volume.shape
        self.volume = _at(volume, axis, self.planes)
        self.change = Change.nothing()

    def run(self, former: Sequence[Click], given: Sequence[Click]) -> Iterator[None]:
        """Prompt and sweep, a slice at a time; `change` then is what it flips in the mask (I, J, K).

        `former` are the points of the rounds before, `given` those of this round. A plane that misses the
        object is not asked: a negative click beside it would cut off half of what lies towards that plane.
        """
        mask = self.task.mask[_along_only(self.axis, self.planes)]
        former, given = self._seen(former), self._seen(given)
        if not given:
            return
        law = Law([Placed(self.axis, click) for click in (*former, *given)], self.volume.shape)
        anchors = sorted({click.index[self.axis] for click in former})
        prompts: dict[int, Mask] = {}
        lens: Lens | None = None

        def mask_at(index: int) -> Mask:
            return prompts[index] if index in prompts else slice_of(mask, self.axis, index) > 0

        for click in given:
            index = click.index[self.axis]
            before = prompts.pop(index, slice_of(mask, self.axis, index) > 0)  # the newest comes last
            question = Question(
                volume=self.volume,
                axis=self.axis,
                index=index,
                prompt=click,
                before=before,
                law=law,
                lens=lens,
                occupied=self._shadow,
                neighbour=nearest([*anchors, *prompts], index, mask_at),
            )
            prompts[index], lens = answer(self.model, question)
            yield
        task = replace(
            self.task,
            mask=mask,
            rounds=(),
            given=(),
            law=law,
            prompts=prompts,
            anchors=frozenset([*anchors, *prompts]),
            carried=_distances(mask[self._beside], self.axis, anchors),
        )
        assert lens is not None  # something was given
        yield from self._sweep(task, lens, list(prompts)[-1])

    def _sweep(self, task: Task, lens: Lens, index: int) -> Iterator[None]:
        """Sweep through ever larger views until one is large enough."""
        for growth in range(MAX_GROWTHS + 1):
            sweep = Sweep(self.model, task, SliceCache(self.volume, lens, self.model), growth < MAX_GROWTHS)
            for _ in sweep.run():
                yield
            if not sweep.outgrown:
                break
            lens = lens_at(self.volume, self.axis, index, lens.view.grown(GROWTH))
        self.change = self._at_all_planes(sweep.change)

    def _shadow(self) -> Mask:
        """Where any plane held the object before this round, (h, w): its own sweep shall not be believed."""
        whole = np.zeros(in_plane(self.shape, self.axis), bool)
        place = tuple(side for axis, side in enumerate(self._beside) if axis != self.axis)
        whole[place] = np.any(self.task.mask[self._beside], axis=self.axis)
        return whole

    def _seen(self, clicks: Sequence[Click]) -> list[Click]:
        """Points of planes that meet the object, on the planes that are seen."""
        return [
            replace(click, index=voxel_of(np.subtract(click.index, self._first) // self._steps))
            for click in clicks
            if self.found.meets(self.axis, click.index[self.axis])
        ]

    def _at_all_planes(self, change: Change) -> Change:
        """What a change of the planes that are seen means for those between them."""
        if not change.data:
            return change
        axis, step = self.axis, self.planes.step
        low = np.add(np.multiply(change.low, self._steps), self._first)
        block = np.repeat(change.block(), step, axis=axis)
        room = self.shape[axis] - low[axis]
        cut = tuple(slice(0, room) if n == axis else slice(None) for n in range(3))
        return Change.of(voxel_of(low), block[cut] > 0)


class Crossings:
    """A round's sweeps along both other axes, and the round that two of three sweeps agree on."""

    def __init__(
        self, model: LimNet, volume: Volume, task: Task, own: Round, extent: tuple[Voxel, Voxel] | None
    ) -> None:
        """`own` is what the sweep along the round's axis came to, `extent` what the mask filled before."""
        self.model = model
        self.volume = volume
        self.task = task
        self.own = own
        self.found = Found.of(task.mask, extent, own.change)
        self.round = own

    def run(self, former: Iterable[Placed], given: Iterable[Placed]) -> Iterator[SliceMask]:
        """A slice at a time; `round` then is the result.

        While a sweep goes on across the slices, a prompted slice comes again; in the end every slice comes
        whose mask is another than that of the round's own sweep. `former` are the prompts of the rounds
        before, `given` those of this round; where none of these has a point, nothing is crossed.
        """
        points = self._points(given)
        if self.found is None or not points:
            return
        index, mask = list(self.task.prompts.items())[-1]
        sweeps = [
            Crossing(self.model, self.volume, self.task, axis, self.found)
            for axis in range(3)
            if axis != self.own.axis
        ]
        for sweep in sweeps:
            for _ in sweep.run(self._points(former), points):
                yield SliceMask(self.own.axis, index, mask)
        slices = self._agreed([sweep.change for sweep in sweeps])
        agreement = self._agreement(self.found, [sweep.change for sweep in sweeps])
        self.round = self._with(slices, agreement)
        for index, mask in slices.items():
            yield SliceMask(self.own.axis, index, mask)

    def _points(self, prompts: Iterable[Placed]) -> list[Click]:
        """Where prompts are seen across their slices; what they say is object must be found to be."""
        points = (point_of(placed, self.volume.shape) for placed in prompts)
        return [
            point
            for point in points
            if point is not None
            and (not point.positive or (self.found is not None and self.found.holds(point.index)))
        ]

    def _agreed(self, across: Sequence[Change]) -> dict[int, Mask]:
        """The slices (h, w), by index, on which two of three agree on something else than the own sweep.

        Prompted slices stay as they are, and prompts are law.
        """
        task, axis, first = self.task, self.own.axis, self.own.change
        low, votes = _votes([first, *across])
        own = np.zeros(votes.shape, bool)
        if first.data:
            own[_within(first, low)] = first.block()
        slices: dict[int, Mask] = {}
        for position in np.flatnonzero(_along(own != (votes >= 2), axis)):
            index = low[axis] + int(position)
            if index not in task.anchors:
                mask = slice_of(task.mask, axis, index) > 0
                top, left = in_plane(low, axis)
                flipped = slice_of(votes, axis, int(position)) >= 2
                mask[top : top + flipped.shape[0], left : left + flipped.shape[1]] ^= flipped
                slices[index] = task.law.enforce(mask, axis, index, self.own.lens.view)
        return slices

    def _agreement(self, found: Found, across: Sequence[Change]) -> NDArray[np.float32]:
        """How alike the masks of the three sweeps are on each slice along the round's axis, (S,).

        The mean Dice of the three pairs, in [0, 1]; NaN on slices beyond all that they or rounds before hold.
        """
        axis, own = self.own.axis, self.own.change
        changes = [own, *across]
        low, high = _hull([found.box, *(change.box for change in changes if change.data)])
        before = self.task.mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] > 0
        masks = [_flipped(before, change, low) for change in changes]
        rest = tuple(a for a in range(3) if a != axis)
        sizes = [mask.sum(rest) for mask in masks]
        dice = [
            (2 * (masks[m] & masks[n]).sum(rest) + 1e-6) / (sizes[m] + sizes[n] + 1e-6)
            for m, n in combinations(range(len(masks)), 2)
        ]
        out = np.full(self.task.mask.shape[axis], np.nan, np.float32)
        out[low[axis] : high[axis]] = np.mean(dice, axis=0)
        return out

    def _with(self, slices: dict[int, Mask], agreement: NDArray[np.float32]) -> Round:
        """The round's own result with these slices (h, w) in the place of its own.

        Where the sweeps differ, its masks are less sure: the quality is the geometric mean of what the fusion
        network expects and of how alike the three masks are.
        """
        quality = tempered(self.own.quality, agreement)
        return replace(revise(self.own, self.task, slices), quality=quality)


def _flipped(mask: Mask, change: Change, low: Voxel) -> Mask:
    """A block that begins at `low` after a change whose box lies in it."""
    out = mask.copy()
    if change.data:
        out[_within(change, low)] ^= change.block() > 0
    return out


def _hull(boxes: Sequence[tuple[Voxel, Voxel]]) -> tuple[Voxel, Voxel]:
    """The smallest box that holds boxes (low, high), `high` left out."""
    return voxel_of(np.min([a for a, _ in boxes], axis=0)), voxel_of(np.max([b for _, b in boxes], axis=0))


def _votes(changes: Sequence[Change]) -> tuple[Voxel, NDArray[np.uint8]]:
    """How many of the changes flip each voxel of the box that holds them all; and the box's first voxel."""
    boxes = [change.box for change in changes if change.data]
    if not boxes:
        return (0, 0, 0), np.zeros((0, 0, 0), np.uint8)
    low, high = _hull(boxes)
    votes = np.zeros(np.subtract(high, low), np.uint8)
    for change in changes:
        if change.data:
            votes[_within(change, low)] += change.block()
    return low, votes


def _within(change: Change, low: Voxel) -> tuple[slice, ...]:
    """Where a change's box lies in a block that begins at `low`."""
    return tuple(slice(a - n, b - n) for a, b, n in zip(*change.box, low, strict=True))


def planes_across(found: Found, axis: int, length: int) -> range:
    """The planes along an axis that are seen: through the object and a little beyond, not all of many."""
    held = found.length(axis)
    step = min(MAX_STEP, max(1, held // SLICES_ACROSS))
    beyond = max(FEWEST_BEYOND * step, round(BEYOND * held))
    first, end = found.ends(axis)
    return range(max(0, first - beyond), min(length, end + beyond), step)


def _at(volume: Volume, axis: int, planes: range) -> Volume:
    """The planes of a volume along an axis; shares its voxels."""
    affine = volume.affine.copy()
    affine[:, 3] += affine[:, axis] * planes.start
    affine[:, axis] *= planes.step
    return Volume(volume.array[_along_only(axis, planes)], affine, volume.source)


def _along_only(axis: int, planes: range) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(planes.start, planes.stop, planes.step),)


def _along(mask: Mask, axis: int) -> Mask:
    """Whether each slice along an axis holds anything: (S,)."""
    held: Mask = np.any(mask, axis=tuple(a for a in range(3) if a != axis))
    return held


def _distances(mask: NDArray[np.uint8], axis: int, anchors: Iterable[int]) -> NDArray[np.int16]:
    """Slices from each slice that holds the object to the nearest anchor, (S,); -1 where it holds none."""
    length = mask.shape[axis]
    out = np.full(length, -1, np.int16)
    places = np.array(list(anchors))
    if places.size:
        held = np.flatnonzero(_along(mask > 0, axis))
        out[held] = np.abs(held[:, None] - places).min(1)
    return out
