"""A session around any classical method that grows a segmentation from seeds.

Every round starts afresh from all clicks of the session, in a box that reaches `START_MM` beyond the positive
ones; when what is found comes near the box's side the box grows and the method runs again. So the mask is a
function of volume and clicks alone. Beyond the last box there is no object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limnet.errors import PromptError, VolumeError
from limnet.evaluation.methods.library import Library
from limnet.evaluation.methods.region import BACKGROUND, OBJECT, UNKNOWN, Region, region_around
from limnet.prompt import Click, Voxel
from limnet.volume import Volume

START_MM = 40.0  # mean Dice of `geodesic` as in `classical`: 0.61; from 25 mm 0.50, from 70 mm 0.57
GROWTH = 1.6  # of the reach, from one box to the next

Segment = Callable[[Region], NDArray[np.float32]]
"""A region -> a score (i, j, k), positive inside the object."""


@dataclass(frozen=True)
class Baseline:
    """A classical method and what it may use."""

    segment: Segment
    max_voxels: int  # of the working grid: bounds time and memory
    seed_mm: float  # radius of the ball that a click becomes
    library: Library | None = None  # that the method cannot do without


class SeededSession:
    """A session whose rounds are made by a `Baseline`."""

    def __init__(self, volume: Volume, baseline: Baseline) -> None:
        if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
            raise VolumeError(f"{volume.source}: holds NaN or infinite voxels; read it with read_volume()")
        self.volume = volume
        self.baseline = baseline
        self._clicks: tuple[Click, ...] = ()
        self._mask = np.zeros(volume.shape, bool)

    @property
    def axis(self) -> int:
        """The volume's sweep axis."""
        return self.volume.sweep_axis

    @property
    def mask(self) -> NDArray[np.bool_]:
        """What the last round found, (I, J, K); a copy."""
        return self._mask.copy()

    def click(self, index: Voxel, *, positive: bool = True) -> None:
        """Take a click; PromptError when it lies outside the volume."""
        if not all(0 <= at < length for at, length in zip(index, self.volume.shape, strict=True)):
            raise PromptError(
                f"click {index} lies outside the volume of shape {self.volume.shape}:"
                f" indices are (i, j, k) and start at 0"
            )
        self._clicks = (*self._clicks, Click(index, positive))

    def propagate(self) -> None:
        """Segment the volume anew from all clicks; PromptError when none is positive."""
        if not any(click.positive for click in self._clicks):
            raise PromptError("nothing to segment: click() inside the object first")
        mask = np.zeros(self.volume.shape, bool)
        region, score = self._found()
        region.paste(score, mask)
        for click in self._clicks:  # their voxels may be smaller than those of the working grid
            mask[click.index] = click.positive
        self._mask = mask

    def _found(self) -> tuple[Region, NDArray[np.float32]]:
        """The first box that holds what is found in it, with its score."""
        reach_mm = START_MM
        while True:
            region = region_around(
                self.volume,
                self._clicks,
                reach_mm=reach_mm,
                max_voxels=self.baseline.max_voxels,
                seed_mm=self.baseline.seed_mm,
            )
            score = _score(region, self.baseline.segment)
            if region.is_whole or not region.is_reached(score):
                return region, score
            reach_mm *= GROWTH


def _score(region: Region, segment: Segment) -> NDArray[np.float32]:
    """The method's score, or the plain answer where there is nothing to decide."""
    seeds = region.seeds
    if not (seeds == BACKGROUND).any() or not (seeds == UNKNOWN).any():
        return np.where(seeds == BACKGROUND, -1, 1).astype(np.float32)
    if not (seeds == OBJECT).any():  # all positive clicks share their working voxels with newer negative ones
        return np.full(seeds.shape, -1, np.float32)
    return segment(region)
