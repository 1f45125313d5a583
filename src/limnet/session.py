"""A session: one volume, one object, its prompts and rounds. It tells the method's story.

    click ─► prompt mask ─► sweep both ways from it ─► fuse with the round before ─► a new round

State is two tuples, the rounds that are done and the clicks that are pending, each with all it
changed; undo and redo move along them. The same clicks give the same mask bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index as as_integer
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from limnet.errors import PromptError, VolumeError
from limnet.fusion import Candidate, Change, Round, fuse
from limnet.interaction import (
    GROWTH,
    MAX_GROWTHS,
    PlaneClick,
    bounds,
    obey,
    prompt_probability,
)
from limnet.lens import Lens, SliceCache, image_through, lens_at, plane_of
from limnet.memory import BankConfig, SliceMask, sweep_one_way
from limnet.memory.propagate import Anchor, anchor_elements
from limnet.model import Elements, LimNet, load_model
from limnet.prompt import Click, Voxel
from limnet.view import view_around
from limnet.volume import Volume
from limnet.zoom import choose_view

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Number = TypeVar("Number", np.bool_, np.uint8)

PATIENCE = 3  # empty slices in a row after which a sweep stops
TOUCHING = 0.02  # share of the view's side that a mask must occupy at its border to make it grow
ROOM = 2.0  # side of a new view over the extent of what it must hold


@dataclass(frozen=True, eq=False)
class Prompted:
    """One pending click and what came of it."""

    axis: int
    click: Click
    mask: Mask  # (h, w), the prompt mask of its slice
    lens: Lens

    @property
    def slice_index(self) -> int:
        """Where it lies along the sweep axis."""
        return self.click.index[self.axis]


class Session:
    """Interactive segmentation of one object of one volume."""

    def __init__(
        self,
        volume: Volume,
        model: LimNet | None = None,
        threads: int | None = None,
        *,
        fusion: bool = True,
        memory: BankConfig | None = None,
    ) -> None:
        """`model` defaults to the shipped networks, run with `threads` CPU threads each.

        With `fusion` off every round simply replaces the former one on the slices it went through.
        """
        if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
            raise VolumeError(
                f"{volume.source}: holds NaN or infinite voxels; read it with read_volume(), which takes them"
                f" for background, or replace them with numpy.nan_to_num"
            )
        self.volume = volume
        self.model = model or load_model(threads=threads)
        self.fusion = fusion
        self.memory = memory or BankConfig()
        self._mask = np.zeros(volume.shape, np.uint8)  # of all rounds
        self._rounds: tuple[Round, ...] = ()
        self._pending: tuple[Prompted, ...] = ()
        self._undone: tuple[Round | Prompted, ...] = ()
        self._slices: SliceCache | None = None

    # What is known

    @property
    def axis(self) -> int:
        """The sweep axis: of the pending clicks, else of the last round, else the volume's."""
        if self._pending:
            return self._pending[-1].axis
        return self._rounds[-1].axis if self._rounds else self.volume.sweep_axis

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The object, 0 or 1, in the volume's shape: all rounds and pending prompt masks; a copy."""
        mask = self._mask.copy()
        for prompted in self._pending:
            _plane(mask, prompted.axis, prompted.slice_index)[...] = prompted.mask
        return mask

    def slice_mask(self, index: int, axis: int | None = None) -> Mask:
        """The mask of one slice (h, w), pending prompt masks included; cheaper than `mask`."""
        axis = self.axis if axis is None else axis
        if axis not in (0, 1, 2) or not 0 <= index < self.volume.shape[axis]:
            raise PromptError(f"no slice {index} along axis {axis} in a volume of shape {self.volume.shape}")
        plane = _plane(self._mask, axis, index).astype(bool)
        for prompted in self._pending:
            if prompted.axis == axis and prompted.slice_index == index:
                plane[...] = prompted.mask
            elif prompted.axis != axis:  # two planes that cross in a line
                across = prompted.axis - (prompted.axis > axis)
                line = np.moveaxis(plane, across, 0)[prompted.slice_index]
                line[...] = np.take(prompted.mask, index, axis - (axis > prompted.axis))
        return plane

    @property
    def rounds(self) -> tuple[Round, ...]:
        """All rounds that are done and not undone, oldest first."""
        return self._rounds

    @property
    def pending(self) -> tuple[Click, ...]:
        """Clicks that wait for `propagate()`."""
        return tuple(prompted.click for prompted in self._pending)

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Every click, of the rounds and pending ones, in order."""
        return tuple(click for done in self._rounds for click in done.clicks) + self.pending

    @property
    def quality(self) -> Array:
        """Predicted Dice of each slice along the last round's axis, (S,); NaN where nothing came."""
        if not self._rounds:
            return np.full(self.volume.shape[self.axis], np.nan, np.float32)
        return self._rounds[-1].quality.copy()

    def suggest_slice(self) -> int | None:
        """The slice most worth a look: lowest predicted Dice, nobody clicked there; None before round 1."""
        if not self._rounds:
            return None
        quality = self.quality
        quality[list(self._prompted_slices(self._rounds[-1].axis))] = np.nan
        return None if np.isnan(quality).all() else int(np.nanargmin(quality))

    # What the user does

    def click(self, index: Voxel, positive: bool = True, axis: int | None = None) -> Mask:
        """Say that the voxel `index` (i, j, k) belongs to the object, or not; returns the mask (h, w) there.

        `axis` is the one the user's slice is cut along. The click is pending until `propagate()`.
        PromptError when it lies outside, when nothing is there for a negative click to correct, or when
        clicks along another axis are pending.
        """
        click = Click(self._checked_index(index), bool(positive))
        axis = self._checked_axis(axis)
        if not positive and not self._pending and not self._mask.any():
            raise PromptError(
                f"click {click.index} is negative, but nothing is segmented;"
                f" give a positive click inside the object first"
            )
        slice_index = click.index[axis]
        clicks = [_in_plane(c, axis) for c in (*self.clicks, click) if c.index[axis] == slice_index]
        mask, lens = self._prompt_mask(axis, slice_index, clicks)
        self._pending = (*self._pending, Prompted(axis, click, mask, lens))
        self._undone = ()
        return mask.copy()

    def propagate(self) -> Round:
        """Carry the pending prompt masks through the volume: one round."""
        for _ in self.sweep():
            pass
        return self._rounds[-1]

    def sweep(self) -> Iterator[SliceMask]:
        """Run one round slice by slice; it counts as a round only once it is exhausted.

        Yields the prompted slices, then their neighbours outwards, one side after the other. When a mask
        outgrows the view, the view grows and slices come again: the last one of an index counts.
        """
        if not self._pending:
            raise PromptError("nothing to propagate: call click() on one slice first")
        pending, lens = self._pending, self._pending[-1].lens
        for growth in range(MAX_GROWTHS + 1):
            sweep = Sweep(self, pending, lens, may_grow=growth < MAX_GROWTHS)
            yield from sweep.run()
            if not sweep.outgrown:
                break
            lens = lens_at(self.volume, lens.axis, pending[-1].slice_index, lens.view.grown(GROWTH))
        if self._pending is not pending:
            raise PromptError("a click or undo came while the sweep ran; call propagate() again")
        self._commit(sweep.round(len(self._rounds)))
        self._pending, self._undone = (), ()

    def undo(self) -> None:
        """Take back the last click or, when none is pending, the last whole round."""
        if self._pending:
            self._undone = (*self._undone, self._pending[-1])
            self._pending = self._pending[:-1]
        elif self._rounds:
            self._undone = (*self._undone, self._rounds[-1])
            self._rounds[-1].change.apply(self._mask)
            self._rounds = self._rounds[:-1]

    def redo(self) -> None:
        """Bring back what the last `undo()` took; nothing to redo is fine."""
        if not self._undone:
            return
        last, self._undone = self._undone[-1], self._undone[:-1]
        if isinstance(last, Prompted):
            self._pending = (*self._pending, last)
        else:
            self._commit(last)

    # How

    def _commit(self, done: Round) -> None:
        done.change.apply(self._mask)
        self._rounds = (*self._rounds, done)

    def slices_through(self, lens: Lens) -> SliceCache:
        """The slices seen through a lens; those of the last lens are kept."""
        if self._slices is None or self._slices.lens is not lens:
            self._slices = SliceCache(self.volume, lens, self.model)
        return self._slices

    def _prompt_mask(self, axis: int, index: int, clicks: list[PlaneClick]) -> tuple[Mask, Lens]:
        """The interaction network's mask of a slice (h, w), and the lens it was seen through."""
        before = self.slice_mask(index, axis).astype(np.float32)
        lens = self._lens_for(axis, index, clicks)
        for growth in range(MAX_GROWTHS + 1):
            image = image_through(self.volume, lens, index)
            probability = prompt_probability(self.model, lens.view, image, clicks, lens.view.look(before)[0])
            if growth == MAX_GROWTHS or lens.view.is_whole or not lens.view.is_touched(probability > 0.5):
                break
            lens = lens_at(self.volume, axis, index, lens.view.grown(GROWTH))
        mask = lens.view.paste(probability) > 0.5
        return obey(mask, clicks, lens.view), lens

    def _lens_for(self, axis: int, index: int, clicks: list[PlaneClick]) -> Lens:
        """The lens in use when it shows the new click well, else a new one."""
        last = clicks[-1]
        lens = self._current_lens()
        if lens is not None and lens.axis == axis and lens.view.holds(last.row, last.column):
            return lens
        plane = plane_of(self.volume, axis)
        occupied = np.asarray(self.mask.any(axis))
        if not occupied.any():
            return lens_at(self.volume, axis, index, choose_view(self.model, self.volume, axis, index, last))
        occupied[last.row, last.column] = True
        view = view_around(plane, *bounds(occupied), ROOM, self.model.manifest.size)
        return lens_at(self.volume, axis, index, view)

    def _current_lens(self) -> Lens | None:
        if self._pending:
            return self._pending[-1].lens
        return self._rounds[-1].lens if self._rounds else None

    def _prompted_slices(self, axis: int) -> set[int]:
        """Slices along `axis` on which somebody clicked while sweeping along it."""
        done = {c.index[axis] for r in self._rounds if r.axis == axis for c in r.clicks}
        return done | {p.slice_index for p in self._pending if p.axis == axis}

    def _checked_index(self, index: Voxel) -> Voxel:
        try:
            i, j, k = (as_integer(n) for n in index)
        except (TypeError, ValueError):
            raise PromptError(f"click {index!r}: expected three whole numbers (i, j, k)") from None
        if not all(0 <= n < length for n, length in zip((i, j, k), self.volume.shape, strict=True)):
            raise PromptError(
                f"click {(i, j, k)} lies outside the volume of shape {self.volume.shape}:"
                f" indices are (i, j, k) and start at 0"
            )
        return i, j, k

    def _checked_axis(self, axis: int | None) -> int:
        if axis is None:
            return self.axis
        if axis not in (0, 1, 2):
            raise PromptError(f"axis {axis!r}: expected 0, 1 or 2, the position in (i, j, k)")
        if self._pending and axis != self._pending[-1].axis:
            raise PromptError(
                f"clicks along axis {self._pending[-1].axis} are pending; propagate or undo them before"
                f" clicking along axis {axis}"
            )
        return axis


class Sweep:
    """One attempt at a round, through one lens: both ways from every pending slice, fused on the way."""

    def __init__(self, session: Session, pending: tuple[Prompted, ...], lens: Lens, may_grow: bool) -> None:
        self.session = session
        self.lens = lens
        self.clicks = tuple(prompted.click for prompted in pending)
        self.prompts: dict[int, Mask] = {}  # of each prompted slice the last mask, the newest slice last
        for prompted in pending:
            self.prompts.pop(prompted.slice_index, None)
            self.prompts[prompted.slice_index] = prompted.mask
        self.may_grow = may_grow
        self.outgrown = False
        self.slices = session.slices_through(lens)
        self.masks: dict[int, Mask] = {}  # (h, w) after fusion
        self.kept: set[int] = set()  # slices that kept their previous mask
        self.quality: dict[int, float] = {}
        self.carried: dict[int, int] = {}  # slices from the prompt
        along = [done for done in session.rounds if done.axis == lens.axis]
        self.former = along[-1] if along else None  # the last round along this axis

    def run(self) -> Iterator[SliceMask]:
        """Prompted slices, then their sweeps; ends early, with `outgrown` set, when the view is too small."""
        for index, mask in self.prompts.items():
            yield self._settle(index, mask, carried=0)
        for start in reversed(self.prompts):  # the newest first
            for path in self._paths(start):
                for index, probability in self._carried(start, path):
                    if self._outgrows(probability):
                        self.outgrown = True
                        return
                    mask = self.lens.view.paste(probability) > 0.5
                    yield self._settle(index, mask, carried=abs(index - start))

    def round(self, number: int) -> Round:
        """The finished round; `number` counts from 0."""
        session, axis = self.session, self.lens.axis
        length = session.volume.shape[axis]
        former = self.former
        provenance = former.provenance.copy() if former else np.full(length, -1, np.int16)
        carried = former.carried.copy() if former else np.full(length, -1, np.int16)
        quality = former.quality.copy() if former else np.full(length, np.nan, np.float32)
        swept = np.zeros(length, bool)
        for index in self.masks:
            swept[index] = True
            quality[index] = self.quality[index]
            if index not in self.kept:
                provenance[index] = number
                carried[index] = self.carried[index]
        return Round(axis, self.clicks, self._change(), provenance, carried, quality, swept, self.lens)

    def _change(self) -> Change:
        """What the round flips in the session's mask, from the slices it went through."""
        axis, mask = self.lens.axis, self.session._mask
        low, high = min(self.masks), max(self.masks)
        block = np.zeros([high - low + 1 if a == axis else n for a, n in enumerate(mask.shape)], bool)
        for index, now in self.masks.items():
            _plane(block, axis, index - low)[...] = now ^ (_plane(mask, axis, index) > 0)
        return Change.of((low if axis == 0 else 0, low if axis == 1 else 0, low if axis == 2 else 0), block)

    def _paths(self, start: int) -> tuple[range, range]:
        """Slices above and below `start` up to the next anchor; half-way to one that is pending too."""
        length = self.session.volume.shape[self.lens.axis]
        anchors = self.session._prompted_slices(self.lens.axis)
        above = min((a for a in anchors if a > start), default=length)
        below = max((a for a in anchors if a < start), default=-1)
        if above in self.prompts:
            above = (start + above) // 2 + 1
        if below in self.prompts:
            below = (start + below) // 2
        return range(start + 1, above), range(start - 1, below, -1)

    def _carried(self, start: int, path: range) -> Iterator[tuple[int, Array]]:
        """One sweep; stops once the object has ended, here and in the round before."""
        anchor = Anchor(start, self.lens.view.look(self.prompts[start])[0])
        elements = [anchor_elements(self.session.model, self.slices, anchor), *self._other_anchors(start)]
        model, config = self.session.model, self.session.memory
        ended = 0
        for index, probability in sweep_one_way(model, self.slices, anchor, elements, path, config):
            yield index, probability
            empty = (
                not (probability > 0.5).any() and not _plane(self.session._mask, self.lens.axis, index).any()
            )
            ended = ended + 1 if empty else 0
            if ended >= PATIENCE:
                return

    def _other_anchors(self, start: int) -> list[Elements]:
        """Memory of the other prompted slices, the nearest first, as many as the bank will hold."""
        others = self.session._prompted_slices(self.lens.axis) - {start}
        nearest = sorted(others, key=lambda index: (abs(index - start), index))
        anchors = []
        for index in nearest[: self.session.memory.max_anchors - 1]:
            mask = self.session.slice_mask(index, self.lens.axis)
            anchor = Anchor(index, self.lens.view.look(mask)[0])
            anchors.append(anchor_elements(self.session.model, self.slices, anchor))
        return anchors

    def _settle(self, index: int, mask: Mask, carried: int) -> SliceMask:
        """Fuse a slice with the round before; clicks are law, and a prompted slice is never overruled."""
        session, axis, look = self.session, self.lens.axis, self.lens.view.look
        image = self.slices[index].image
        current = Candidate(look(mask)[0], carried)
        before = _plane(session._mask, axis, index) > 0
        if not (session.rounds and session.fusion) or carried == 0 or np.array_equal(before, mask):
            verdict = fuse(session.model, image, None, current)
        else:
            former = int(self.former.carried[index]) if self.former else -1
            verdict = fuse(session.model, image, Candidate(look(before)[0], former), current)
        if verdict.keeps_previous:
            self.kept.add(index)
            mask = before
        self.quality[index], self.carried[index] = verdict.quality, carried
        clicks = [_in_plane(c, axis) for c in session.clicks if c.index[axis] == index]
        self.masks[index] = obey(mask, clicks, self.lens.view)
        return SliceMask(axis, index, self.masks[index])

    def _outgrows(self, probability: Array) -> bool:
        view = self.lens.view
        if not self.may_grow or view.is_whole:
            return False
        mask = probability > 0.5
        return view.is_touched(mask) and int(mask.sum()) > 0 and _border_count(mask) > TOUCHING * view.size


def _border_count(mask: Mask) -> int:
    """Mask pixels on the outermost line of the view."""
    return int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())


def _in_plane(click: Click, axis: int) -> PlaneClick:
    row, column = (n for a, n in enumerate(click.index) if a != axis)
    return PlaneClick(row, column, click.positive)


def _plane(array: NDArray[Number], axis: int, index: int) -> NDArray[Number]:
    """The slice `index` of a mask (I, J, K), a view."""
    plane: NDArray[Number] = array[(slice(None),) * axis + (index,)]
    return plane
