"""The history of a session: what was done, what was taken back, and the mask that follows from it.

Whatever changes it is a value, a `Deed`. The history is a fold over its deeds: the same deeds in the same
order give the same mask bit for bit, and no network runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from limnet.fusion import Change, Round
from limnet.interaction import bounds
from limnet.law import Placed
from limnet.lens import Lens, slice_of
from limnet.prompt import Painted, Prompt, Voxel, in_plane, slice_index, voxel_of

Mask = NDArray[np.bool_]

MANY = 8  # changes from which on a block of their own is worth its making


@dataclass(frozen=True, eq=False)
class Prompted:
    """One prompt and what came of it."""

    axis: int
    prompt: Prompt
    mask: Mask  # (h, w), the prompt mask of its slice
    lens: Lens

    @property
    def slice_index(self) -> int:
        """Where it lies along the sweep axis."""
        return slice_index(self.prompt, self.axis)


@dataclass(frozen=True)
class Undone:
    """The last pending prompt or, when there is none, the last whole round was taken back."""


@dataclass(frozen=True)
class Redone:
    """What was taken back last came again."""


@dataclass(frozen=True)
class Gone:
    """Back or forth to the state after `num_rounds` rounds, with nothing pending."""

    num_rounds: int


Deed = Prompted | Round | Undone | Redone | Gone


class History:
    """Rounds that are done, prompts that are pending, and both that were undone; starts empty.

    `rounds` and `pending` are oldest first, `undone` has what comes again first at its end.
    """

    def __init__(self, shape: Voxel) -> None:
        self.shape = shape
        self.rounds: tuple[Round, ...] = ()
        self.pending: tuple[Prompted, ...] = ()
        self.undone: tuple[Round | Prompted, ...] = ()
        # (I, J, K) of 0 and 1, of all rounds; slices across k, the usual ones, lie in one piece
        self.mask: NDArray[np.uint8] = np.zeros(shape, np.uint8, order="F")

    def apply(self, *deeds: Deed) -> None:
        """Make changes, in order. Undoing or redoing what is not there changes nothing.

        The mask is brought up to date once, after the last of them.
        """
        before = self.rounds
        for deed in deeds:
            self._move(deed)
        shared = num_shared(before, self.rounds)
        self._flip([done.change for done in (*before[shared:], *self.rounds[shared:]) if done.change.data])

    def part(self, low: Voxel, high: Voxel) -> NDArray[np.uint8]:
        """The mask, pending prompts included, from voxel `low` to `high`, which is left out; a copy."""
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = self.mask[box].copy()
        for prompted in self.pending:
            axis = prompted.axis
            position = prompted.slice_index - low[axis]
            if 0 <= position < part.shape[axis]:
                rows, columns = (side for a, side in enumerate(box) if a != axis)
                slice_of(part, axis, position)[...] = prompted.mask[rows, columns]
        return part

    def extent(self) -> tuple[Voxel, Voxel] | None:
        """The smallest box that holds the mask: (low, high), `high` left out; None when the mask is empty."""
        boxes = [done.change.box for done in self.rounds if done.change.data]
        boxes += [box_of(prompted) for prompted in self.pending if prompted.mask.any()]
        if not boxes:
            return None
        low = np.min([first for first, _ in boxes], axis=0)
        part = self.part(voxel_of(low), voxel_of(np.max([end for _, end in boxes], axis=0)))
        if not part.any():
            return None
        along = [np.flatnonzero(part.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        first, end = [int(where[0]) for where in along], [int(where[-1]) + 1 for where in along]
        return voxel_of(low + first), voxel_of(low + end)

    def placed(self) -> list[Placed]:
        """Every prompt, of the rounds and pending ones, in order."""
        given = self.done()
        return given + [Placed(prompted.axis, prompted.prompt) for prompted in self.pending]

    def done(self) -> list[Placed]:
        """Every prompt of the rounds, in order."""
        return [Placed(done.axis, prompt) for done in self.rounds for prompt in done.prompts]

    def prompted_along(self, axis: int) -> set[int]:
        """Slices prompted in the rounds along an axis."""
        return {placed.index for placed in self.done() if placed.axis == axis}

    def carried_along(self, axis: int) -> NDArray[np.int16]:
        """Slices between each slice's mask and its prompt, (S,), by the last round along an axis."""
        along = [done for done in self.rounds if done.axis == axis]
        return along[-1].carried if along else np.full(self.shape[axis], -1, np.int16)

    def occupied(self, axis: int) -> Mask:
        """Where the object is on any slice along `axis`, pending prompts included: (h, w)."""
        occupied = np.zeros(in_plane(self.shape, axis), bool)
        extent = self.extent()
        if extent is not None:  # not of the whole mask: a copy costs 10 ms for 8.5 million voxels
            low, high = extent
            rows, columns = (slice(a, b) for n, (a, b) in enumerate(zip(low, high, strict=True)) if n != axis)
            occupied[rows, columns] = self.part(low, high).any(axis)
        return occupied

    def last_lens(self) -> Lens | None:
        """The lens last in use to see an object, of pending prompts and rounds; None when there is none."""
        everything: tuple[Round | Prompted, ...] = (*self.rounds, *self.pending)
        return next((done.lens for done in reversed(everything) if _shows(done)), None)

    def _move(self, deed: Deed) -> None:
        """What a deed makes of the tuples."""
        if isinstance(deed, Prompted):
            self.pending, self.undone = (*self.pending, deed), ()
        elif isinstance(deed, Round):
            self.rounds, self.pending, self.undone = (*self.rounds, deed), (), ()
        elif isinstance(deed, Undone):
            self._undo()
        elif isinstance(deed, Redone):
            self._redo()
        else:
            while self.pending or len(self.rounds) > deed.num_rounds:
                self._undo()
            while self.undone and len(self.rounds) < deed.num_rounds:
                self._redo()

    def _flip(self, changes: Sequence[Change]) -> None:
        """Flip what changes say; many at once in a block of their own, which the processor's cache holds."""
        if len(changes) < MANY:
            for change in changes:
                change.apply(self.mask)
            return
        low = np.min([change.low for change in changes], axis=0)
        high = np.max([change.box[1] for change in changes], axis=0)
        block = np.zeros(high - low, np.uint8)
        for change in changes:
            replace(change, low=voxel_of(np.subtract(change.low, low))).apply(block)
        self.mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] ^= block

    def _undo(self) -> None:
        if self.pending:
            self.undone, self.pending = (*self.undone, self.pending[-1]), self.pending[:-1]
        elif self.rounds:
            self.undone, self.rounds = (*self.undone, self.rounds[-1]), self.rounds[:-1]

    def _redo(self) -> None:
        if self.undone:
            last, self.undone = self.undone[-1], self.undone[:-1]
            if isinstance(last, Prompted):
                self.pending = (*self.pending, last)
            else:
                self.rounds = (*self.rounds, last)


def num_shared(first: Sequence[object], second: Sequence[object]) -> int:
    """How many items two sequences have in common at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((n for n, (a, b) in pairs if a is not b), min(len(first), len(second)))


def _shows(done: Round | Prompted) -> bool:
    """Whether a lens was chosen to show an object: not for a slice painted empty, or for no mask at all."""
    if isinstance(done, Prompted):
        return not isinstance(done.prompt, Painted) or bool(done.mask.any())
    return bool(done.prompts) or not done.lens.view.is_whole


def box_of(prompted: Prompted) -> tuple[Voxel, Voxel]:
    """The box (low, high), `high` left out, of a prompt mask that is not empty."""
    axis, index = prompted.axis, prompted.slice_index
    low, (bottom, right) = bounds(prompted.mask)
    return (
        voxel_of(np.insert(low, axis, index)),
        voxel_of(np.insert((bottom + 1, right + 1), axis, index + 1)),
    )
