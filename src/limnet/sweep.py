"""One attempt at a round: from every prompted slice both ways, fused with the round before on the way.

Beyond the outermost prompted slices a mask is carried outwards; between two of them it is carried from
both, and where both have been, the two are blended by nearness. All sides advance together, one slice
each, so that the slices nearest to the prompts come first. A side knows nothing of the others: they run at
once on the model's lanes, and the masks are the same on one lane. Between two slices nothing runs: whoever
stops asking has cancelled the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.fusion import Candidate, Change, Round, expected_dice, fuse, shrink
from limnet.interaction import bounds
from limnet.law import Law
from limnet.lens import SliceCache, slice_of
from limnet.memory import BankConfig, SliceMask, sweep_one_way
from limnet.memory.propagate import Anchor, anchor_elements
from limnet.model import Elements, LimNet, Reference
from limnet.prompt import Prompt, in_plane

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

NOTHING = np.zeros((0, 0), bool)
PATIENCE = 3  # empty slices in a row after which a sweep stops
TOUCHING = 0.02  # share of the view's side that a mask must occupy at its border to have outgrown it


@dataclass(frozen=True, eq=False)
class Task:
    """What a round starts from; `axis` and window are the lens's through which its slices are seen."""

    mask: NDArray[np.uint8]  # (I, J, K), of all rounds before; read, never written
    rounds: tuple[Round, ...]
    given: tuple[Prompt, ...]  # in this round
    law: Law  # of all prompts, this round's and before
    prompts: dict[int, Mask]  # prompt mask (h, w) of each prompted slice, the newest last
    anchors: frozenset[int]  # slices prompted in this round or before, along this axis
    carried: NDArray[np.int16]  # (S,) slices between each slice's mask so far and its prompt, -1 none
    fusion: bool
    memory: BankConfig
    sign: int  # of its prompts (`prompt.sign_of`), once a round came before; 0 in the first round


class Settled(NamedTuple):
    """A slice after fusion."""

    number: int  # its index along the axis
    mask: Mask  # (h, w)
    carried: int  # slices from its prompt
    is_kept: bool  # it kept its previous mask
    quality: float  # predicted Dice


class Flip(NamedTuple):
    """What changed in the mask of a slice."""

    top: int  # voxels
    left: int
    flipped: Mask  # (h', w'), the box that holds it

    @classmethod
    def of(cls, flipped: Mask) -> Flip:
        """From the whole slice (h, w), in which something changed."""
        (top, left), (bottom, right) = bounds(flipped)
        box = flipped[top : bottom + 1, left : right + 1]
        return cls(top, left, box.copy() if box.size < flipped.size else flipped)


def change_of(flips: Mapping[int, Flip], axis: int) -> Change:
    """What flips by slice along `axis` change in the volume."""
    if not flips:
        return Change.nothing()
    first, last = min(flips), max(flips)
    top, left = min(flip.top for flip in flips.values()), min(flip.left for flip in flips.values())
    bottom = max(flip.top + flip.flipped.shape[0] for flip in flips.values())
    right = max(flip.left + flip.flipped.shape[1] for flip in flips.values())
    low, shape = [top, left], [bottom - top, right - left]
    low.insert(axis, first)
    shape.insert(axis, last - first + 1)
    block = np.zeros(shape, bool)
    for index, (row, column, flipped) in flips.items():
        place = slice_of(block, axis, index - first)[row - top :, column - left :]
        place[: flipped.shape[0], : flipped.shape[1]] = flipped
    i, j, k = low
    return Change.of((i, j, k), block)


def revise(own: Round, task: Task, slices: Mapping[int, Mask]) -> Round:
    """The result of a task with `slices` (h, w), by index, in the place of its own masks there."""
    axis, low, block = own.axis, own.change.low, own.change.block() > 0
    top, left = in_plane(low, axis)
    flips = {
        low[axis] + n: Flip(top, left, slice_of(block, axis, n))
        for n in range(block.shape[axis])
        if low[axis] + n not in slices and slice_of(block, axis, n).any()
    }
    provenance, carried, swept = own.provenance.copy(), own.carried.copy(), own.swept.copy()
    former = next((done.provenance for done in reversed(task.rounds) if done.axis == axis), None)
    for index, mask in slices.items():
        flipped = mask ^ (slice_of(task.mask, axis, index) > 0)
        swept[index] = True
        if flipped.any():
            flips[index] = Flip.of(flipped)
            provenance[index] = len(task.rounds)
            carried[index] = min(abs(index - anchor) for anchor in task.anchors)
        else:  # it stays as it was before the round
            provenance[index] = -1 if former is None else former[index]
            carried[index] = task.carried[index]
    change = change_of(flips, axis)
    return replace(own, change=change, provenance=provenance, carried=carried, swept=swept)


class Step(NamedTuple):
    """What one slice of one side came to."""

    settled: Settled | None  # None on a bridge, where two sides must meet first
    then: int | None  # the slice that this side asks for after the next one
    outgrown: bool = False  # its mask has outgrown the view


class Bridge:
    """The slices between two prompted ones, to which the mask of each is carried."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high
        self.carried: dict[int, dict[int, Array]] = {low: {}, high: {}}  # (H, W) by start and slice

    def path(self, start: int) -> range:
        """From one of its ends to the other, both left out."""
        return range(start + 1, self.high) if start == self.low else range(start - 1, self.low, -1)

    def complete(self) -> list[int]:
        """Slices that both sides have reached."""
        return sorted(self.carried[self.low].keys() & self.carried[self.high].keys())

    def blend(self, index: int) -> tuple[Array, int]:
        """Both probabilities (H, W) weighed by nearness, taken out; and how near the nearer end is."""
        from_low, from_high = self.carried[self.low].pop(index), self.carried[self.high].pop(index)
        share = np.float32((index - self.low) / (self.high - self.low))
        return (1 - share) * from_low + share * from_high, min(index - self.low, self.high - index)


class Sweep:
    """Runs a task through one lens; afterwards either `outgrown` is set or `round()` is the result."""

    def __init__(self, model: LimNet, task: Task, slices: SliceCache, may_grow: bool) -> None:
        self.model = model
        self.task = task
        self.slices = slices
        self.lens = slices.lens
        self.may_grow = may_grow
        self.outgrown = False
        self.settled: dict[int, Settled] = {}  # without their masks
        self._flips: dict[int, Flip] = {}  # of the slices that changed
        along = [done for done in task.rounds if done.axis == self.lens.axis]
        self.former = along[-1] if along else None  # the last round along this axis
        self._anchors = {index: self._anchor(index) for index in task.anchors}
        self._shown = {index: bool(anchor.probability.any()) for index, anchor in self._anchors.items()}
        self._elements: dict[int, Elements] = {}  # of anchors
        self._references: dict[int, Reference] = {}

    def run(self) -> Iterator[SliceMask]:
        """Prompted slices, then their neighbours outwards; ends early when a mask has outgrown the view."""
        for index, mask in self.task.prompts.items():
            yield self._record(self._settle(index, mask, carried=0))
        bridges = self._bridges()
        ends = [end for bridge in bridges for end in (bridge.low, bridge.high)]
        self._remember(
            sorted({anchor for start in (*self.task.prompts, *ends) for anchor in self._read_from(start)})
        )
        sides = [*self._outward_sides(), *chain.from_iterable(map(self._bridge_sides, bridges))]
        ahead: list[int] = []
        while sides:
            steps = self._advance(sides, ahead)
            done = [step for step in steps if step is not None]
            if any(step.outgrown for step in done):
                self.outgrown = True
                return
            settled = [step.settled for step in done if step.settled is not None]
            yield from map(self._record, [*settled, *self._met(bridges)])
            sides = [side for side, step in zip(sides, steps, strict=True) if step is not None]
            ahead = [step.then for step in done if step.then is not None]

    def _advance(self, sides: list[Iterator[Step]], ahead: list[int]) -> list[Step | None]:
        """One slice of every side, None where it has ended; lanes left over encode what comes next."""
        steps: list[Step | None] = [None] * len(sides)

        def step(number: int) -> None:
            steps[number] = next(sides[number], None)

        jobs: list[Callable[[], object]] = [partial(step, number) for number in range(len(sides))]
        spare = max(0, self.model.lanes.count - len(sides))
        jobs += [partial(self.slices.prepare, index) for index in ahead[:spare]]
        self.model.lanes.together(jobs)
        return steps

    def _record(self, settled: Settled) -> SliceMask:
        """Keep what `round` asks for: of the mask only what flipped, as slices may be many and large."""
        axis, index = self.lens.axis, settled.number
        flipped = settled.mask ^ (slice_of(self.task.mask, axis, index) > 0)
        if flipped.any():
            self._flips[index] = Flip.of(flipped)
        self.settled[index] = settled._replace(mask=NOTHING)
        return SliceMask(axis, index, settled.mask)

    def round(self) -> Round:
        """The finished round."""
        length, former = self.task.mask.shape[self.lens.axis], self.former
        provenance = former.provenance.copy() if former else np.full(length, -1, np.int16)
        carried = self.task.carried.copy()
        quality = former.quality.copy() if former else np.full(length, np.nan, np.float32)
        swept = np.zeros(length, bool)
        for index, settled in self.settled.items():
            swept[index] = True
            quality[index] = settled.quality
            if not settled.is_kept:
                provenance[index] = len(self.task.rounds)
                carried[index] = settled.carried
        axis, given = self.lens.axis, self.task.given
        return Round(axis, given, self.change, provenance, carried, quality, swept, self.lens)

    @property
    def change(self) -> Change:
        """What it flips in the mask, from the slices it went through."""
        return change_of(self._flips, self.lens.axis)

    def _outward_sides(self) -> list[Iterator[Step]]:
        """Sides to the ends of the volume, from the outermost prompted slices when prompted in this round."""
        first, last = min(self.task.anchors), max(self.task.anchors)
        length = self.task.mask.shape[self.lens.axis]
        paths = {last: [range(last + 1, length)]}
        paths.setdefault(first, []).append(range(first - 1, -1, -1))
        return [
            self._side(start, path) for start in paths if start in self.task.prompts for path in paths[start]
        ]

    def _bridges(self) -> list[Bridge]:
        """Neighbouring prompted slices of which at least one is of this round."""
        pairs = pairwise(sorted(self.task.anchors))
        return [Bridge(low, high) for low, high in pairs if {low, high} & self.task.prompts.keys()]

    def _bridge_sides(self, bridge: Bridge) -> list[Iterator[Step]]:
        return [self._bridge_side(bridge, start) for start in (bridge.low, bridge.high)]

    def _bridge_side(self, bridge: Bridge, start: int) -> Iterator[Step]:
        """Carry the mask of one end of a bridge to the other end."""
        path = bridge.path(start)
        for index, probability in self._carry(start, path):
            bridge.carried[start][index] = probability
            then = index + 2 * path.step
            yield Step(None, then if then in path else None, self._outgrows(probability))

    def _met(self, bridges: Iterable[Bridge]) -> list[Settled]:
        """Slices of bridges that both sides have now reached, settled."""
        blended = [(index, *bridge.blend(index)) for bridge in bridges for index in bridge.complete()]

        def settle(index: int, probability: Array, carried: int) -> Settled:
            return self._settle(index, self.lens.view.paste(probability) > 0.5, carried, probability)

        return self.model.lanes.together([partial(settle, *one) for one in blended])

    def _side(self, start: int, path: range) -> Iterator[Step]:
        """One sweep; stops once the object has ended, here (after fusion) and in the round before.

        A correction inside the object does not carry it beyond where it ended before: who misses a
        piece there clicks there. Leaks past the object's end cost more Dice than anything else.
        """
        axis, view = self.lens.axis, self.lens.view
        inside = bool(slice_of(self.task.mask, axis, start).any())
        ended = 0
        for index, probability in self._carry(start, path):
            if self._outgrows(probability):
                yield Step(None, None, outgrown=True)
                return
            mask = view.paste(probability) > 0.5
            settled = self._settle(index, mask, abs(index - start), probability)
            absent_before = not slice_of(self.task.mask, axis, index).any()
            empty = absent_before and (inside or not settled.mask.any())
            ended = ended + 1 if empty else 0
            has_ended = ended >= PATIENCE
            then = index + 2 * path.step
            yield Step(settled, then if then in path and not has_ended else None)
            if has_ended:
                return

    def _carry(self, start: int, path: range) -> Iterator[tuple[int, Array]]:
        """The mask of a prompted slice along `path`: index and probability (H, W)."""
        elements = [self._elements[index] for index in self._read_from(start)]
        return sweep_one_way(self.model, self.slices, self._anchors[start], elements, path, self.task.memory)

    def _read_from(self, start: int) -> list[int]:
        """Prompted slices that a sweep from `start` reads: itself, then the nearest that a bank holds."""
        others = sorted(self.task.anchors - {start}, key=lambda index: (abs(index - start), index))
        return [start, *others[: self.task.memory.max_anchors - 1]]

    def _remember(self, anchors: Iterable[int]) -> None:
        """Make the memory elements of prompted slices."""

        def remember(index: int) -> None:
            self._elements[index] = anchor_elements(self.model, self.slices, self._anchors[index])

        self.model.lanes.together([partial(remember, index) for index in anchors])

    def _anchor(self, index: int) -> Anchor:
        mask = self.task.prompts.get(index)
        if mask is None:
            mask = slice_of(self.task.mask, self.lens.axis, index) > 0
        return Anchor(index, self.lens.view.look(mask)[0])

    def _reference(self, index: int) -> Reference:
        """The prompted slice nearest to `index` on which the object is, else the nearest."""
        nearest = min(self._shown, key=lambda start: (not self._shown[start], abs(start - index), start))
        if nearest not in self._references:
            mask = self._anchors[nearest].probability
            self._references[nearest] = Reference(shrink(self.slices.image(nearest)), shrink(mask))
        return self._references[nearest]

    def _settle(self, index: int, mask: Mask, carried: int, probability: Array | None = None) -> Settled:
        """Fuse a slice with the round before; prompts are law, and a prompted slice is never overruled.

        Before the first round every slice is empty: so fusion also finds where the object has ended. What
        only takes from the object adds nothing to it on any slice. Of a mask that was carried here with
        `probability` (H, W), the Dice that the fusion network expects is lowered by what the probability
        itself leaves in doubt.
        """
        task, axis, look = self.task, self.lens.axis, self.lens.view.look
        image = self.slices.image(index)
        before = slice_of(task.mask, axis, index) > 0
        if task.fusion and task.sign < 0 and carried > 0:
            mask = mask & before
        current = Candidate(look(mask)[0], carried)
        previous = None
        if task.fusion and carried > 0 and not np.array_equal(before, mask):
            previous = Candidate(look(before)[0], int(task.carried[index]))
        verdict = fuse(self.model, image, previous, current, self._reference(index), task.sign)
        mask = task.law.enforce(before if verdict.keeps_previous else mask, axis, index, self.lens.view)
        quality = verdict.quality
        if probability is not None and not verdict.keeps_previous and mask.any():
            quality *= expected_dice(probability > 0.5, probability)
        return Settled(index, mask, carried, verdict.keeps_previous, quality)

    def _outgrows(self, probability: Array) -> bool:
        view, mask = self.lens.view, probability > 0.5
        if not self.may_grow or view.is_whole or not view.is_touched(mask):
            return False
        border = int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
        return border > TOUCHING * view.size
