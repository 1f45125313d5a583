"""What the core holds, as it goes over the wire."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from limnet.annotation import Object
from limnet.fusion import Round
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, slice_index, voxel_of
from limnet.server.formats import formats_of
from limnet.server.models import Intensity, ObjectOut, PromptOut, QualityOut, RoundOut, VolumeOut
from limnet.server.slots import Slot
from limnet.session import Session


def prompt_out(prompt: Prompt, axis: int) -> PromptOut:
    """A prompt on a slice along `axis`, in the form in which it was given."""
    out = partial(PromptOut, axis=axis, slice=slice_index(prompt, axis))
    if isinstance(prompt, Painted):
        return out(kind="painted", positive=True)
    if isinstance(prompt, Click):
        return out(kind="click", positive=prompt.positive, index=prompt.index)
    if isinstance(prompt, Box):
        return out(kind="box", positive=prompt.positive, low=prompt.low, high=prompt.high)
    points = list(prompt.points)
    if isinstance(prompt, Lasso):
        return out(kind="lasso", positive=prompt.positive, points=points)
    return out(kind="scribble", positive=prompt.positive, points=points)


def object_out(item: Object, *, sweeping: bool) -> ObjectOut:
    """An object and its measures."""
    session = item.session
    voxels, extent_mm = measures(session)
    return ObjectOut(
        id=item.id,
        name=item.name,
        colour=item.colour,
        locked=item.locked,
        visible=item.visible,
        num_rounds=len(session.rounds),
        num_prompts=len(session.prompts),
        pending=[prompt_out(prompt, session.axis) for prompt in session.pending],
        can_undo=session.can_undo,
        can_redo=session.can_redo,
        sweeping=sweeping,
        voxels=voxels,
        ml=voxels * abs(float(np.linalg.det(session.volume.affine[:3, :3]))) / 1000,
        diameters_mm=extent_mm,
    )


def measures(session: Session) -> tuple[int, tuple[float, float, float]]:
    """Number of voxels of the mask, and the extent in mm along i, j and k of the box that holds it."""
    extent = session.history.extent()
    if extent is None:
        return 0, (0.0, 0.0, 0.0)
    low, high = extent
    count = int(np.count_nonzero(session.history.part(low, high)))
    i, j, k = ((b - a) * edge for a, b, edge in zip(low, high, session.volume.spacing, strict=True))
    return count, (i, j, k)


def volume_out(slot: Slot, objects: list[ObjectOut] | None) -> VolumeOut:
    """A volume, with its objects when they are known."""
    record, facts = slot.record, slot.record.facts
    return VolumeOut(
        id=record.id,
        name=record.name,
        state="closed" if record.is_closed else "open",
        shape=facts.shape,
        spacing_mm=facts.spacing_mm,
        affine=[list(row) for row in facts.affine],
        dtype=facts.dtype,
        is_rgb=facts.is_rgb,
        sweep_axis=facts.sweep_axis,
        intensity=Intensity(minimum=facts.minimum, maximum=facts.maximum, low=facts.low, high=facts.high),
        path=record.path,
        opened=record.opened,
        formats=formats_of(slot),
        objects=objects,
    )


def round_out(done: Round, number: int, *, is_undone: bool) -> RoundOut:
    """A round, counted from 1."""
    swept = done.swept
    kept = swept & (done.provenance != number - 1)
    origins, counts = np.unique(done.provenance, return_counts=True)
    quality = done.quality[swept]
    low, high = done.change.box
    box = tuple(zip(low, high, strict=True)) if done.change.data else None
    return RoundOut(
        number=number,
        axis=done.axis,
        prompts=[prompt_out(prompt, done.axis) for prompt in done.prompts],
        num_slices=int(swept.sum()),
        num_kept=int(kept.sum()),
        seconds=done.seconds,
        mean_quality=number_or_none(float(np.nanmean(quality))) if np.isfinite(quality).any() else None,
        box=box,  # type: ignore[arg-type]
        provenance_counts={_counted(int(n)): int(c) for n, c in zip(origins, counts, strict=True)},
        is_undone=is_undone,
    )


def rounds_out(session: Session) -> list[RoundOut]:
    """All rounds, those that were undone last, as they would come again."""
    both = [(done, False) for done in session.rounds] + [(done, True) for done in session.undone_rounds]
    return [round_out(done, n, is_undone=undone) for n, (done, undone) in enumerate(both, start=1)]


def quality_out(session: Session) -> QualityOut:
    """The quality curve along the last round's axis."""
    axis = session.rounds[-1].axis if session.rounds else session.axis
    return QualityOut(
        axis=axis,
        quality=[number_or_none(float(q)) for q in session.quality],
        suggested=session.suggest_slice(),
        prompted=sorted(session.history.prompted_along(axis)),
    )


def number_or_none(number: float) -> float | None:
    """JSON knows no NaN.

    >>> [number_or_none(x) for x in (0.5, math.nan)]
    [0.5, None]
    """
    return number if math.isfinite(number) else None


def centre_slice(done: Round) -> int:
    """The slice that shows what a round did: where the last prompt was, else the middle of the change."""
    if done.prompts:
        return slice_index(done.prompts[-1], done.axis)
    low, high = (voxel_of(corner) for corner in done.change.box)
    return (low[done.axis] + max(low[done.axis], high[done.axis] - 1)) // 2


def _counted(provenance: int) -> int:
    """The round's number as users count, from 1; -1 where no round brought a mask."""
    return provenance + 1 if provenance >= 0 else -1
