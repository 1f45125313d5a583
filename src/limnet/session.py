"""A session: one volume, one object, its prompts and rounds. It tells the method's story.

    click ─► prompt mask ─► sweep both ways from it ─► fuse with the round before ─► a new round

State is two tuples, the rounds that are done and the clicks that are pending, each with all it
changed; undo and redo move along them. The same clicks give the same mask bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index as as_integer

import numpy as np
from numpy.typing import NDArray

from limnet.errors import PromptError, VolumeError
from limnet.fusion import Round
from limnet.interaction import (
    GROWTH,
    MAX_GROWTHS,
    PlaneClick,
    bounds,
    merge,
    obey,
    prompt_probability,
)
from limnet.lens import Lens, SliceCache, image_through, lens_at, plane_of, slice_of
from limnet.memory import BankConfig, SliceMask
from limnet.model import LimNet, load_model
from limnet.prompt import Click, Voxel
from limnet.sweep import Sweep, Task
from limnet.view import view_around
from limnet.volume import Volume
from limnet.zoom import choose_view

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

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
            slice_of(mask, prompted.axis, prompted.slice_index)[...] = prompted.mask
        return mask

    def slice_mask(self, index: int, axis: int | None = None) -> Mask:
        """The mask of one slice (h, w), pending prompt masks included; cheaper than `mask`."""
        axis = self.axis if axis is None else axis
        if axis not in (0, 1, 2) or not 0 <= index < self.volume.shape[axis]:
            raise PromptError(f"no slice {index} along axis {axis} in a volume of shape {self.volume.shape}")
        plane = slice_of(self._mask, axis, index).astype(bool)
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
        axis = self._rounds[-1].axis
        quality[
            [click.index[axis] for done in self._rounds if done.axis == axis for click in done.clicks]
        ] = np.nan
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
        clicks = [PlaneClick.of(c, axis) for c in (*self.clicks, click) if c.index[axis] == slice_index]
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
        pending, lens, task = self._pending, self._pending[-1].lens, self._task()
        for growth in range(MAX_GROWTHS + 1):
            sweep = Sweep(self.model, task, self._slices_through(lens), growth < MAX_GROWTHS)
            yield from sweep.run()
            if not sweep.outgrown:
                break
            lens = lens_at(self.volume, lens.axis, pending[-1].slice_index, lens.view.grown(GROWTH))
        if self._pending is not pending:
            raise PromptError("a click or undo came while the sweep ran; call propagate() again")
        self._commit(sweep.round())
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

    def _slices_through(self, lens: Lens) -> SliceCache:
        """The slices seen through a lens; those of the last lens are kept."""
        if self._slices is None or self._slices.lens is not lens:
            self._slices = SliceCache(self.volume, lens, self.model)
        return self._slices

    def _task(self) -> Task:
        """What the pending clicks ask for."""
        prompts: dict[int, Mask] = {}
        for prompted in self._pending:  # the last mask of a slice counts, and makes it the newest
            prompts.pop(prompted.slice_index, None)
            prompts[prompted.slice_index] = prompted.mask
        along = (done for done in self._rounds if done.axis == self.axis)
        former = {click.index[self.axis] for done in along for click in done.clicks}
        return Task(
            mask=self._mask,
            rounds=self._rounds,
            clicks=self.pending,
            former_clicks=tuple(click for done in self._rounds for click in done.clicks),
            prompts=prompts,
            anchors=frozenset(former | prompts.keys()),
            fusion=self.fusion,
            memory=self.memory,
        )

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
        proposed = lens.view.paste(probability) > 0.5
        return obey(merge(before > 0, proposed, clicks[-1]), clicks, lens.view), lens

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
