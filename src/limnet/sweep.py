"""One attempt at a round: from every prompted slice both ways, fused with the round before on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limnet.fusion import Candidate, Change, Round, fuse, shrink
from limnet.interaction import PlaneClick, obey
from limnet.lens import SliceCache, slice_of
from limnet.memory import BankConfig, SliceMask, sweep_one_way
from limnet.memory.propagate import Anchor, anchor_elements
from limnet.model import Elements, LimNet, Reference
from limnet.prompt import Click

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

PATIENCE = 3  # empty slices in a row after which a sweep stops
TOUCHING = 0.02  # share of the view's side that a mask must occupy at its border to have outgrown it


@dataclass(frozen=True, eq=False)
class Task:
    """What a round starts from; `axis` and window are the lens's through which its slices are seen."""

    mask: NDArray[np.uint8]  # (I, J, K), of all rounds before; read, never written
    rounds: tuple[Round, ...]
    clicks: tuple[Click, ...]  # of this round
    former_clicks: tuple[Click, ...]  # of all rounds before
    prompts: dict[int, Mask]  # prompt mask (h, w) of each slice clicked on, the newest last
    anchors: frozenset[int]  # slices prompted in this round or before, along this axis
    fusion: bool
    memory: BankConfig


class Sweep:
    """Runs a task through one lens; afterwards either `outgrown` is set or `round()` is the result."""

    def __init__(self, model: LimNet, task: Task, slices: SliceCache, may_grow: bool) -> None:
        self.model = model
        self.task = task
        self.slices = slices
        self.lens = slices.lens
        self.may_grow = may_grow
        self.outgrown = False
        self.masks: dict[int, Mask] = {}  # (h, w) after fusion
        self.kept: set[int] = set()  # slices that kept their previous mask
        self.quality: dict[int, float] = {}
        self.carried: dict[int, int] = {}  # slices from the prompt
        along = [done for done in task.rounds if done.axis == self.lens.axis]
        self.former = along[-1] if along else None  # the last round along this axis
        self._shown = {start: bool(self._anchor(start).probability.any()) for start in task.anchors}
        self._references: dict[int, Reference] = {}

    def run(self) -> Iterator[SliceMask]:
        """Prompted slices, then their sweeps; ends early when a mask has outgrown the view."""
        for index, mask in self.task.prompts.items():
            yield self._settle(index, mask, carried=0)
        for start in reversed(self.task.prompts):  # the newest first
            anchor = self._anchor(start)
            elements = [anchor_elements(self.model, self.slices, anchor), *self._other_anchors(start)]
            for path in self._paths(start):
                for index, probability in self._carry(anchor, elements, path):
                    if self._outgrows(probability):
                        self.outgrown = True
                        return
                    mask = self.lens.view.paste(probability) > 0.5
                    yield self._settle(index, mask, carried=abs(index - start))

    def round(self) -> Round:
        """The finished round."""
        length, former = self.task.mask.shape[self.lens.axis], self.former
        provenance = former.provenance.copy() if former else np.full(length, -1, np.int16)
        carried = former.carried.copy() if former else np.full(length, -1, np.int16)
        quality = former.quality.copy() if former else np.full(length, np.nan, np.float32)
        swept = np.zeros(length, bool)
        for index in self.masks:
            swept[index] = True
            quality[index] = self.quality[index]
            if index not in self.kept:
                provenance[index] = len(self.task.rounds)
                carried[index] = self.carried[index]
        change = self._change()
        return Round(self.lens.axis, self.task.clicks, change, provenance, carried, quality, swept, self.lens)

    def _change(self) -> Change:
        """What the round flips in the mask, from the slices it went through."""
        axis, mask = self.lens.axis, self.task.mask
        first, last = min(self.masks), max(self.masks)
        block = np.zeros([last - first + 1 if a == axis else n for a, n in enumerate(mask.shape)], bool)
        for index, now in self.masks.items():
            slice_of(block, axis, index - first)[...] = now ^ (slice_of(mask, axis, index) > 0)
        i, j, k = (first if a == axis else 0 for a in range(3))
        return Change.of((i, j, k), block)

    def _paths(self, start: int) -> tuple[range, range]:
        """Slices above and below `start` up to the next anchor; half-way to one of this round."""
        above = min((a for a in self.task.anchors if a > start), default=self.task.mask.shape[self.lens.axis])
        below = max((a for a in self.task.anchors if a < start), default=-1)
        if above in self.task.prompts:
            above = (start + above) // 2 + 1
        if below in self.task.prompts:
            below = (start + below) // 2
        return range(start + 1, above), range(start - 1, below, -1)

    def _carry(self, anchor: Anchor, elements: list[Elements], path: range) -> Iterator[tuple[int, Array]]:
        """One sweep; stops once the object has ended, here (after fusion) and in the round before.

        A correction inside the object does not carry it beyond where it ended before: who misses a
        piece there clicks there. Leaks past the object's end cost more Dice than anything else.
        """
        inside = bool(slice_of(self.task.mask, self.lens.axis, anchor.index).any())
        ended = 0
        for index, probability in sweep_one_way(
            self.model, self.slices, anchor, elements, path, self.task.memory
        ):
            yield index, probability
            absent_before = not slice_of(self.task.mask, self.lens.axis, index).any()
            empty = absent_before and (inside or not self.masks[index].any())
            ended = ended + 1 if empty else 0
            if ended >= PATIENCE:
                return

    def _other_anchors(self, start: int) -> list[Elements]:
        """Memory of the other prompted slices, the nearest first, as many as the bank will hold."""
        nearest = sorted(self.task.anchors - {start}, key=lambda index: (abs(index - start), index))
        chosen = nearest[: self.task.memory.max_anchors - 1]
        return [anchor_elements(self.model, self.slices, self._anchor(index)) for index in chosen]

    def _anchor(self, index: int) -> Anchor:
        mask = self.task.prompts.get(index)
        if mask is None:
            mask = slice_of(self.task.mask, self.lens.axis, index) > 0
        return Anchor(index, self.lens.view.look(mask)[0])

    def _reference(self, index: int) -> Reference:
        """The prompted slice nearest to `index` on which the object is, else the nearest."""
        nearest = min(self._shown, key=lambda start: (not self._shown[start], abs(start - index), start))
        if nearest not in self._references:
            mask = self._anchor(nearest).probability
            self._references[nearest] = Reference(shrink(self.slices[nearest].image), shrink(mask))
        return self._references[nearest]

    def _settle(self, index: int, mask: Mask, carried: int) -> SliceMask:
        """Fuse a slice with the round before; clicks are law, and a prompted slice is never overruled.

        Before the first round every slice is empty: so fusion also finds where the object has ended.
        """
        task, axis, look = self.task, self.lens.axis, self.lens.view.look
        image = self.slices[index].image
        current = Candidate(look(mask)[0], carried)
        before = slice_of(task.mask, axis, index) > 0
        if not task.fusion or carried == 0 or np.array_equal(before, mask):
            verdict = fuse(self.model, image, None, current, self._reference(index))
        else:
            former = int(self.former.carried[index]) if self.former else -1
            verdict = fuse(
                self.model, image, Candidate(look(before)[0], former), current, self._reference(index)
            )
        if verdict.keeps_previous:
            self.kept.add(index)
            mask = before
        self.quality[index], self.carried[index] = verdict.quality, carried
        clicks = [
            PlaneClick.of(c, axis) for c in (*task.former_clicks, *task.clicks) if c.index[axis] == index
        ]
        self.masks[index] = obey(mask, clicks, self.lens.view)
        return SliceMask(axis, index, self.masks[index])

    def _outgrows(self, probability: Array) -> bool:
        view, mask = self.lens.view, probability > 0.5
        if not self.may_grow or view.is_whole or not view.is_touched(mask):
            return False
        border = int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
        return border > TOUCHING * view.size
