"""The overview: what a network that sees the whole object at once, coarsely, says of a round.

A sweep sees two slices at a time, and so do those across. In a cube around what they came to, a network in
three dimensions is told of the image, the object so far, the prompted slices and the clicks. Where it is
sure, the round's masks follow it; elsewhere they stay what the sweeps made of them (decisions/0031).

```
the round's masks ─► cube around them ─► overview network ─► P(object) ─┬─ sure: follow ─────► masks
                                                                        └─ unsure: stay ─────►
```
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from limnet.crossing import Found
from limnet.cube import Cube
from limnet.cube_maps import Prompts, cube_maps
from limnet.fusion import Round, expected_dice, tempered
from limnet.law import Placed, clicks_of
from limnet.lens import slice_of
from limnet.memory import SliceMask
from limnet.model import LimNet
from limnet.prompt import Voxel, in_plane
from limnet.sweep import Task, revise
from limnet.tone import Tone
from limnet.volume import Volume

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

FIRST_SURE = 0.6  # P(object) above which a voxel becomes object in the first round; below one minus it none
SURE = 0.85  # in later rounds, which correct a mask that somebody has looked at


class Overview:
    """A round after a look at the whole object."""

    def __init__(
        self, model: LimNet, volume: Volume, task: Task, done: Round, extent: tuple[Voxel, Voxel] | None
    ) -> None:
        """`done` is the round so far, `extent` what the mask filled before it."""
        self.model = model
        self.volume = volume
        self.task = task
        self.found = Found.of(task.mask, extent, done.change)
        self.round = done

    def run(self, prompts: Sequence[Placed]) -> Iterator[SliceMask]:
        """The slices that change; `round` then is the result. `prompts` are all of the session."""
        if self.found is None:
            return
        cube = self._cube(self.found, prompts)
        probability = self._probability(self.found, cube, prompts)
        slices, expected = self._followed(self.found, cube, probability)
        yield from (SliceMask(self.round.axis, index, mask) for index, mask in slices.items())
        quality = tempered(self.round.quality, expected)
        self.round = replace(revise(self.round, self.task, slices), quality=quality)

    def _cube(self, found: Found, prompts: Iterable[Placed]) -> Cube:
        """Around the object and all clicks."""
        firsts, ends = zip(*(found.ends(axis) for axis in range(3)), strict=True)
        points = [click.index for placed in prompts for click in clicks_of(placed)]
        low = np.array([firsts, *points]).min(0)
        high = np.array([ends, *(np.add(point, 1) for point in points)]).max(0)
        return Cube.around(low, high, self.volume.spacing, self.volume.shape)

    def _probability(self, found: Found, cube: Cube, prompts: Iterable[Placed]) -> Array:
        """P(object) of every sample, (N, N, N)."""
        image = cube.look(self.volume.array)
        image = Tone.of(image[cube.inside])(image) * cube.inside
        mask = cube.look(found.mask, found.low)
        maps = cube_maps(image[None], mask[None], self._told(found, cube, prompts))
        return self.model.overview(maps[0])

    def _told(self, found: Found, cube: Cube, prompts: Iterable[Placed]) -> Prompts:
        """The prompted slices as they are now, and the clicks."""
        told = Prompts.none(1)
        for placed in prompts:
            planes = cube.planes_of(placed.axis, placed.index)
            mask = found.slice_at(placed.axis, placed.index, self.volume.shape)
            told.tell_slice(0, placed.axis, planes, cube.look_at_slice(mask, placed.axis) > 0.5)
        for placed in prompts:
            for click in clicks_of(placed):
                told.tell_click(0, cube.sample_of(click.index), click.positive)
        return told

    def _followed(self, found: Found, cube: Cube, probability: Array) -> tuple[dict[int, Mask], Array]:
        """The slices (h, w) that change, by index along the round's axis; prompted slices stay.

        And the Dice that it expects of all other slices then, (S,), NaN beyond the cube and of empty ones.
        """
        axis, slices = self.round.axis, dict[int, Mask]()
        expected = np.full(self.volume.shape[axis], np.nan, np.float32)
        (top, left), (bottom, right) = (in_plane(corner, axis) for corner in cube.box)
        for index in range(cube.box[0][axis], cube.box[1][axis]):
            if index in self.task.anchors:
                continue
            before = found.slice_at(axis, index, self.volume.shape)
            sure = cube.slice_at(probability, axis, index)
            after = before.copy()
            part = after[top:bottom, left:right]  # of `after`
            was = slice_of(self.task.mask, axis, index)[top:bottom, left:right] > 0
            part[...] = self._follow(part, sure, was)
            after = self.task.law.enforce(after, axis, index, self.round.lens.view)
            if after.any():
                expected[index] = expected_dice(after[top:bottom, left:right], sure)
            if not np.array_equal(before, after):
                slices[index] = after
        return slices, expected

    def _follow(self, mask: Mask, sure: Array, was: Mask) -> Mask:
        """A part of a slice after the overview; `was` is what it held before the round, all (h, w).

        Prompts that only take away add nothing to what was there, those that only add take nothing away
        from it (decisions/0027); what the round's own sweeps did may be undone.
        """
        least = SURE if self.task.rounds else FIRST_SURE
        followed: Mask = (mask & (sure >= 1 - least)) | (sure > least)
        sign = self.task.sign if self.task.fusion else 0
        if sign < 0:
            return followed & (mask | was)
        return followed | (mask & was) if sign > 0 else followed
