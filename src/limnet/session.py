"""A session: one volume, one object, its prompts and rounds. It tells the method's story.

    prompt ─► prompt mask ─► sweep both ways from it ─► fuse with the round before ─► a new round

Its state is a history (`history.py`): the rounds that are done and the prompts that are pending, each with
all it changed; undo and redo move along them. The same prompts give the same mask bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limnet.answer import ROOM, Neighbour, Question, answer, nearest
from limnet.checked import checked_points, checked_voxel, flat_axes
from limnet.crossing import Crossings, crosses
from limnet.errors import GeometryError, PromptError, VolumeError
from limnet.fusion import Change, Round
from limnet.history import Deed, Gone, History, Prompted, Redone, Undone
from limnet.interaction import GROWTH, MAX_GROWTHS, bounds
from limnet.islands import without_islands
from limnet.law import Law, Placed
from limnet.lens import Lens, SliceCache, lens_at, plane_of, slice_of
from limnet.memory import BankConfig, SliceMask
from limnet.model import LimNet, load_model
from limnet.overview import Overview
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, Scribble, Voxel, sign_of, voxel_of
from limnet.sweep import Sweep, Task, revise
from limnet.view import view_around, whole_view
from limnet.volume import Volume
from limnet.volume.intensity import is_finite

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Recorder(Protocol):
    """Who must know of every change before it is made; an error raised here prevents it."""

    def ready(self) -> None:
        """Asked before the work of a change begins."""

    def record(self, deed: Deed) -> None:
        """Told of a change that is about to be made."""


class Session:
    """Interactive segmentation of one object of one volume."""

    def __init__(
        self,
        volume: Volume,
        model: LimNet | None = None,
        threads: int | None = None,
        *,
        fusion: bool = True,
        crossing: bool = True,
        overview: bool = True,
        memory: BankConfig | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """`model` defaults to the shipped networks, run with `threads` CPU threads each.

        With `fusion` off every round simply replaces the former one on the slices it went through. With
        `crossing` off it goes along one axis alone: a third of the work, and less sure (`limnet.crossing`).
        With `overview` off nobody looks at the whole object at the end (`limnet.overview`); older weights
        never do.
        """
        if volume.array.dtype.kind == "f" and not is_finite(volume.array):
            raise VolumeError(
                f"{volume.source}: holds NaN or infinite voxels; read it with read_volume(), which takes them"
                f" for background, or replace them with numpy.nan_to_num"
            )
        self.volume = volume
        self.model = model or load_model(threads=threads)
        self.fusion = fusion
        self.crossing = crossing
        self.overview = overview
        self.memory = memory or BankConfig()
        self.history = History(volume.shape)
        self._recorder = recorder
        self._slices: SliceCache | None = None

    # What is known

    @property
    def axis(self) -> int:
        """The sweep axis: of the pending prompts, else of the last round, else the volume's."""
        if self.history.pending:
            return self.history.pending[-1].axis
        return self.rounds[-1].axis if self.rounds else self.volume.sweep_axis

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The object, 0 or 1, in the volume's shape: all rounds and pending prompt masks; a copy."""
        return self.history.part((0, 0, 0), self.volume.shape)

    def slice_mask(self, index: int, axis: int | None = None) -> Mask:
        """The mask of one slice (h, w), pending prompt masks included; cheaper than `mask`."""
        axis = self.axis if axis is None else axis
        if axis not in (0, 1, 2) or not 0 <= index < self.volume.shape[axis]:
            raise PromptError(f"no slice {index} along axis {axis} in a volume of shape {self.volume.shape}")
        low, high = [0, 0, 0], list(self.volume.shape)
        low[axis], high[axis] = index, index + 1
        return slice_of(self.history.part(voxel_of(low), voxel_of(high)), axis, 0).astype(bool)

    @property
    def rounds(self) -> tuple[Round, ...]:
        """All rounds that are done and not undone, oldest first."""
        return self.history.rounds

    @property
    def undone_rounds(self) -> tuple[Round, ...]:
        """Rounds that `redo()` would bring back, the next one first."""
        return tuple(done for done in reversed(self.history.undone) if isinstance(done, Round))

    @property
    def pending(self) -> tuple[Prompt, ...]:
        """Prompts that wait for `propagate()`."""
        return tuple(prompted.prompt for prompted in self.history.pending)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Every prompt, of the rounds and pending ones, in order."""
        return tuple(placed.prompt for placed in self.history.placed())

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Those of the prompts that are clicks, in order."""
        return tuple(prompt for prompt in self.prompts if isinstance(prompt, Click))

    @property
    def can_undo(self) -> bool:
        """Whether `undo()` would change anything."""
        return bool(self.history.pending or self.history.rounds)

    @property
    def can_redo(self) -> bool:
        """Whether `redo()` would change anything."""
        return bool(self.history.undone)

    @property
    def quality(self) -> Array:
        """Predicted Dice of each slice along the last round's axis, (S,); NaN where nothing came."""
        if not self.rounds:
            return np.full(self.volume.shape[self.axis], np.nan, np.float32)
        return self.rounds[-1].quality.copy()

    @property
    def nbytes(self) -> int:
        """Memory of the mask and of slices kept for later rounds; the volume is not counted."""
        return self.history.mask.nbytes + (self._slices.nbytes if self._slices is not None else 0)

    def suggest_slice(self) -> int | None:
        """The slice most worth a look: lowest predicted Dice, nobody prompted there; None before round 1."""
        if not self.rounds:
            return None
        quality, axis = self.quality, self.rounds[-1].axis
        quality[sorted(self.history.prompted_along(axis))] = np.nan
        return None if np.isnan(quality).all() else int(np.nanargmin(quality))

    # What the user says

    def click(self, index: Voxel, positive: bool = True, axis: int | None = None) -> Mask:
        """Say that the voxel `index` (i, j, k) belongs to the object, or not; returns the mask (h, w) there.

        `axis` is the one the user's slice is cut along. The click is pending until `propagate()`.
        PromptError when it lies outside, when nothing is there for a negative click to correct, or when
        prompts along another axis are pending.
        """
        click = Click(checked_voxel(index, self.volume.shape, "click"), bool(positive))
        return self._give(click, self._checked_axis(axis))

    def box(self, low: Voxel, high: Voxel, positive: bool = True, axis: int | None = None) -> Mask:
        """Say that of its slice the object has nothing outside the box `low` to `high`, or nothing inside.

        Both corners are inclusive. Returns the mask (h, w) there; pending until `propagate()`. `axis` is the
        one along which the box is flat; PromptError as for `click()`, and when it is not flat.
        """
        ends = np.sort([checked_voxel(c, self.volume.shape, "box corner") for c in (low, high)], axis=0)
        box = Box(voxel_of(ends[0]), voxel_of(ends[1]), bool(positive))
        return self._give(box, self._flat_axis(box.corners, "box", axis))

    def scribble(self, points: Sequence[Voxel], positive: bool = True, axis: int | None = None) -> Mask:
        """Say that every voxel on the line through `points` belongs to the object, or not.

        `points` are voxels of one slice in drawing order. Returns the mask (h, w) there; pending until
        `propagate()`. PromptError as for `click()`, and when the points do not share a slice.
        """
        scribble = Scribble(checked_points(points, self.volume.shape, "scribble", 1), bool(positive))
        return self._give(scribble, self._flat_axis(scribble.points, "scribble", axis))

    def lasso(self, points: Sequence[Voxel], positive: bool = True, axis: int | None = None) -> Mask:
        """Say that the object lies inside the closed outline through `points`, or that none of it does.

        `points` are voxels of one slice in drawing order, at least three. Returns the mask (h, w) there;
        pending until `propagate()`. PromptError as for `scribble()`.
        """
        lasso = Lasso(checked_points(points, self.volume.shape, "lasso", 3), bool(positive))
        return self._give(lasso, self._flat_axis(lasso.points, "lasso", axis))

    def paint(self, mask: NDArray[Any], index: int, axis: int | None = None) -> Mask:
        """Set the slice `index` to exactly `mask` (h, w), object where not 0; it is carried like a prompt's.

        Returns the mask; pending until `propagate()`. PromptError for a slice that does not exist, a mask of
        another shape than the slice's, or when prompts along another axis are pending.
        """
        axis = self._checked_axis(axis)
        wanted = plane_of(self.volume, axis).shape
        if np.shape(mask) != wanted:
            raise PromptError(
                f"painted mask of shape {np.shape(mask)}, the slice's is {wanted}; paint all of it"
            )
        if not 0 <= index < self.volume.shape[axis]:
            raise PromptError(f"no slice {index} along axis {axis} in a volume of shape {self.volume.shape}")
        return self._give(Painted.of(np.asarray(mask) != 0, axis, int(index)), axis)

    def start_from(self, mask: NDArray[Any]) -> Round:
        """Make a mask (I, J, K), object where not 0, a round of its own; it replaces what was there.

        GeometryError when it is not of the volume's shape, PromptError when prompts are pending.
        """
        if mask.shape != self.volume.shape:
            raise GeometryError(
                f"mask of shape {mask.shape}, the volume's is {self.volume.shape}; resample it to that grid"
            )
        if self.history.pending:
            raise PromptError("prompts are pending; propagate or undo them before starting from a mask")
        self._ready()
        wanted, axis, former = mask != 0, self.axis, self.history.mask > 0
        rest = tuple(a for a in range(3) if a != axis)
        given = (wanted | former).any(rest)  # (S,)
        nothing = np.full(len(given), -1, np.int16)
        done = Round(
            axis,
            (),
            Change.of((0, 0, 0), wanted ^ former),
            provenance=np.where(given, np.int16(len(self.rounds)), nothing),
            carried=nothing,
            quality=np.full(len(given), np.nan, np.float32),
            swept=given,
            lens=self._lens_over(wanted, axis),
        )
        self._do(done)
        return done

    # What comes of it

    def propagate(self) -> Round:
        """Carry the pending prompt masks through the volume: one round."""
        for _ in self.sweep():
            pass
        return self.rounds[-1]

    def sweep(self) -> Iterator[SliceMask]:
        """Run one round slice by slice; it counts as a round only once it is exhausted.

        Yields the prompted slices, then their neighbours outwards, the nearest first, by turns on both sides.
        When a mask outgrows the view, the view grows and slices come again: the last one of an index counts.
        Between two slices nothing runs. Closed before its end, it has changed nothing. A prompt or an undo
        that comes while it runs abandons it: it raises PromptError when the next slice is asked for, and
        all that is pending waits for the next sweep.
        """
        if not self.history.pending:
            raise PromptError("nothing to propagate: call click() on one slice first")
        self._ready()
        seconds: list[float] = []
        done = yield from self._timed(self._steps(), seconds)
        self._do(replace(done, seconds=sum(seconds)))

    def _steps(self) -> Generator[SliceMask, None, Round]:
        """The slices of one round, and the round."""
        lens, task, index = self.history.pending[-1].lens, self._task(), self.history.pending[-1].slice_index
        for growth in range(MAX_GROWTHS + 1):
            sweep = Sweep(self.model, task, self._slices_through(lens), growth < MAX_GROWTHS)
            yield from sweep.run()
            if not sweep.outgrown:
                break
            lens = lens_at(self.volume, lens.axis, index, lens.view.grown(GROWTH))
        done = sweep.round()
        extent, former = self.history.extent(), self.history.done()
        given = [Placed(prompted.axis, prompted.prompt) for prompted in self.history.pending]
        shows_across = crosses(self.volume, lens.axis)
        if self.crossing and shows_across:
            crossings = Crossings(self.model, self.volume, task, done, extent)
            yield from crossings.run(former, given)
            done = crossings.round
        if self.overview and self.model.has_overview and not self.volume.is_rgb:
            overview = Overview(self.model, self.volume, task, done, extent)
            yield from overview.run([*former, *given])
            done = overview.round
        if not shows_across:
            return done
        slices = without_islands(done, task, extent, [*former, *given])
        for number, mask in slices.items():
            yield SliceMask(lens.axis, number, mask)
        return revise(done, task, slices) if slices else done

    def _timed(
        self, slices: Generator[SliceMask, None, Round], seconds: list[float]
    ) -> Generator[SliceMask, None, Round]:
        """The same, as long as the same prompts are pending; notes how long each slice took to come."""
        pending = self.history.pending
        while True:
            started = time.perf_counter()
            try:
                found = next(slices)
            except StopIteration as end:
                done: Round = end.value
                return done
            finally:
                seconds.append(time.perf_counter() - started)
            yield found
            if self.history.pending is not pending:
                raise PromptError("a prompt or undo came while the sweep ran; call propagate() again")

    def undo(self) -> None:
        """Take back the last prompt or, when none is pending, the last whole round."""
        if self.can_undo:
            self._do(Undone())

    def redo(self) -> None:
        """Bring back what the last `undo()` took; nothing to redo is fine."""
        if self.can_redo:
            self._do(Redone())

    def go_to_round(self, num_rounds: int) -> None:
        """Undo or redo until that many rounds are done, 0 for none, and nothing is pending.

        PromptError when there are not so many, the undone ones included.
        """
        known = len(self.rounds) + len(self.undone_rounds)
        if not 0 <= num_rounds <= known:
            raise PromptError(f"round {num_rounds} does not exist: expected 0 (none) to {known}")
        if self.history.pending or num_rounds != len(self.rounds):
            self._do(Gone(num_rounds))

    # How

    def _ready(self) -> None:
        if self._recorder is not None:
            self._recorder.ready()

    def _do(self, deed: Deed) -> None:
        """Make one change: recorded first, so that what could not be recorded has not happened."""
        if self._recorder is not None:
            self._recorder.record(deed)
        self.history.apply(deed)

    def _give(self, prompt: Prompt, axis: int) -> Mask:
        """Add a prompt on a slice along `axis`; its prompt mask (h, w)."""
        positive = isinstance(prompt, Painted) or prompt.positive
        if not positive and self.history.extent() is None:
            place = prompt.corners[0] if not isinstance(prompt, Painted) else prompt.index
            raise PromptError(
                f"{type(prompt).__name__.lower()} {place} is negative, but nothing is segmented;"
                f" give a positive click inside the object first"
            )
        self._ready()
        placed = Placed(axis, prompt)
        lens = self._current_lens()
        question = Question(
            volume=self.volume,
            axis=axis,
            index=placed.index,
            prompt=prompt,
            before=self.slice_mask(placed.index, axis),
            law=Law([*self.history.placed(), placed], self.volume.shape),
            lens=lens if lens is not None and lens.axis == axis else None,
            occupied=lambda: self.history.occupied(axis),
            neighbour=self._neighbour(placed.index, axis),
        )
        mask, lens = answer(self.model, question)
        self._do(Prompted(axis, prompt, mask, lens))
        return mask.copy()

    def _neighbour(self, index: int, axis: int) -> Neighbour | None:
        """The nearest other prompted slice along an axis that holds the object."""
        prompted = self.history.prompted_along(axis) | {p.slice_index for p in self.history.pending}
        return nearest(prompted, index, partial(self.slice_mask, axis=axis))

    def forget_slices(self) -> None:
        """Let go of what is kept of slices; the next sweep encodes them again. Changes no mask."""
        self._slices = None

    def _slices_through(self, lens: Lens) -> SliceCache:
        """The slices seen through a lens; those of the last lens are kept."""
        if self._slices is None or self._slices.lens is not lens:
            self._slices = SliceCache(self.volume, lens, self.model)
        return self._slices

    def _task(self) -> Task:
        """What the pending prompts ask for."""
        masks: dict[int, Mask] = {}
        for prompted in self.history.pending:  # the last mask of a slice counts, and makes it the newest
            masks.pop(prompted.slice_index, None)
            masks[prompted.slice_index] = prompted.mask
        return Task(
            mask=self.history.mask,
            rounds=self.rounds,
            given=self.pending,
            law=Law(self.history.placed(), self.volume.shape),
            prompts=masks,
            anchors=frozenset(self.history.prompted_along(self.axis) | masks.keys()),
            carried=self.history.carried_along(self.axis),
            fusion=self.fusion,
            memory=self.memory,
            sign=sign_of(self.pending) if self.rounds else 0,
        )

    def _current_lens(self) -> Lens | None:
        """The lens last in use, unless it was made for other networks, or for a slice without object."""
        lens = self.history.last_lens()
        return lens if lens is not None and lens.view.size == self.model.manifest.size else None

    def _lens_over(self, mask: Mask, axis: int) -> Lens:
        """A lens that shows all of a mask (I, J, K)."""
        plane, size, flat = plane_of(self.volume, axis), self.model.manifest.size, np.asarray(mask.any(axis))
        view = view_around(plane, *bounds(flat), ROOM, size) if flat.any() else whole_view(plane, size)
        held = np.flatnonzero(mask.any(tuple(a for a in range(3) if a != axis)))
        middle = int(held[len(held) // 2]) if held.size else mask.shape[axis] // 2
        return lens_at(self.volume, axis, middle, view)

    def _flat_axis(self, corners: Sequence[Voxel], what: str, axis: int | None) -> int:
        """The axis of the slice that holds all of a prompt."""
        flat = flat_axes(corners)
        if axis is None and flat and self.axis not in flat:
            axis = flat[0]
        axis = self._checked_axis(axis)
        if axis not in flat:
            raise PromptError(
                f"{what} does not lie in one slice along axis {axis}; draw it on a single slice"
            )
        return axis

    def _checked_axis(self, axis: int | None) -> int:
        if axis is None:
            return self.axis
        if axis not in (0, 1, 2):
            raise PromptError(f"axis {axis!r}: expected 0, 1 or 2, the position in (i, j, k)")
        if self.history.pending and axis != self.axis:
            raise PromptError(
                f"prompts along axis {self.axis} are pending; propagate or undo them before"
                f" prompting along axis {axis}"
            )
        return axis
