"""Cubes with simulated prompts and masks: what the overview network meets in a session, made from truth.

A prompt is a click and, mostly, the object on the slice that it is on: the interaction network's mask there,
which is not always right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from limnet.cube import SIZE, planes_around
from limnet.cube_maps import Prompts, cube_maps
from limnet.prompt import Voxel
from limnet.training.clicking import error_click, leak, perturb
from limnet.training.cubes import CubeSample
from limnet.training.recipe import RoundsConfig

Rng = np.random.Generator
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
S = TypeVar("S", bound=np.generic)

LARGE_SLICES = 0.7  # share of first prompts on a slice that holds much of the object, others on any
CENTRAL = 0.7  # share of first clicks in the middle of the object on their slice
LEAKING, SHORTENED = 0.35, 0.3  # shares of given masks that leak, and that lost an end or go on there
FARTHEST = 11  # planes that a given mask goes on past the object's end


class PromptedCubes:
    """A batch of cubes with the masks so far and the prompts: at first one on each, and perhaps a mask."""

    def __init__(self, cubes: Sequence[CubeSample], config: RoundsConfig, rng: Rng) -> None:
        self.cubes = cubes
        self.config = config
        self.rng = rng
        self.image = np.stack([cube.image for cube in cubes])  # (B, N, N, N)
        self.truth = np.stack([cube.truth for cube in cubes])  # (B, N, N, N)
        self.masks = np.zeros_like(self.image)  # (B, N, N, N), 0 or 1
        self.prompts = Prompts.none(len(cubes))
        for number, cube in enumerate(cubes):
            self._prompt(number, self._first_click(cube))
            if rng.random() < config.given:
                self.masks[number] = wrong_object(cube, rng)

    def correct(self) -> None:
        """Each cube gets a prompt on its largest error, on the slice that shows most of it; if it has any."""
        for number, cube in enumerate(self.cubes):
            components, count = ndimage.label(cube.truth ^ (self.masks[number] > 0.5))
            if count == 0:
                continue
            largest = int(np.argmax(np.bincount(components.ravel())[1:])) + 1
            error = components == largest
            index = int(np.argmax(error.sum(_others(cube.axis))))
            self._prompt(number, self._click(error, cube.axis, index, central=1.0))

    def maps(self) -> Tensor:
        """What the network is told, (B, 10, N, N, N); see `limnet.cube_maps`."""
        return torch.from_numpy(cube_maps(self.image, self.masks, self.prompts))

    def _first_click(self, cube: CubeSample) -> Voxel:
        """A sample of the object."""
        area = cube.truth.sum(_others(cube.axis)).astype(float)  # (N,)
        weight = (area / area.max()) ** 3 if self.rng.random() < LARGE_SLICES else (area > 0).astype(float)
        index = int(self.rng.choice(SIZE, p=weight / weight.sum()))
        return self._click(cube.truth, cube.axis, index, CENTRAL)

    def _click(self, region: Mask, axis: int, index: int, central: float) -> Voxel:
        """A sample of a region (N, N, N) on one of its planes along an axis."""
        plane = _plane(region, axis, index)
        click = error_click(plane, np.zeros_like(plane), self.rng, central)
        assert click is not None  # the region meets the plane
        place = [click.row, click.column]
        place.insert(axis, index)
        return place[0], place[1], place[2]

    def _prompt(self, number: int, place: Voxel) -> None:
        """A click on a cube and, as a rule, the mask of its slice; now and then of both planes across."""
        cube, prompts = self.cubes[number], self.prompts
        positive = bool(cube.truth[place])
        prompts.tell_click(number, place, positive)
        if self.rng.random() < self.config.alone:
            return
        index = place[cube.axis]
        mask = self._prompt_mask(cube, cube.axis, index)
        prompts.tell_slice(number, cube.axis, planes_around(index, cube.thickness), mask)
        if not positive or self.rng.random() >= self.config.across:
            return
        for axis in _others(cube.axis):
            held, free = prompts.held[number].copy(), prompts.free[number].copy()
            mask = self._prompt_mask(cube, axis, place[axis])
            prompts.tell_slice(number, axis, range(place[axis], place[axis] + 1), mask)
            told = held + free > 0  # stays as it was
            prompts.held[number][told], prompts.free[number][told] = held[told], free[told]

    def _prompt_mask(self, cube: CubeSample, axis: int, index: int) -> Mask:
        """The object on a plane: its truth, perturbed or leaking now and then, (N, N)."""
        truth, image = _plane(cube.truth, axis, index), _plane(cube.image, axis, index)
        if not truth.any() or self.rng.random() < self.config.exact:
            return truth
        return wrong_slice(image, truth, self.rng)


def wrong_slice(image: Image, truth: Mask, rng: Rng) -> Mask:
    """What the interaction network may take for the object on a plane: (N, N) twice -> (N, N)."""
    mask = perturb(truth, rng) if rng.random() < 0.8 else truth
    if rng.random() < 0.3:
        mask = leak(image[None], mask, rng)
    if rng.random() < 0.2:  # far too large or too small
        extent = max(2.0, float(np.sqrt(truth.sum())))
        resized: Mask = _depth(mask) > extent * rng.uniform(-0.3, 0.2)
        mask = resized if resized.any() else mask
    return mask


def wrong_object(cube: CubeSample, rng: Rng) -> Mask:
    """What sweeps may leave of an object: its border waves; some leak, some end too early or too late."""
    extent = max(3.0, float(cube.truth.sum()) ** (1 / 3))
    knots = int(rng.integers(3, 7))
    coarse = torch.from_numpy(rng.standard_normal((1, 1, knots, knots, knots), np.float32))
    waves = F.interpolate(coarse, size=(SIZE, SIZE, SIZE), mode="trilinear", align_corners=True)[0, 0].numpy()
    waves *= rng.uniform(0.3, 1.2) / (float(waves.std()) + 1e-6)
    mask: Mask = _depth(cube.truth) + (waves + rng.normal(0, 0.5)) * 0.15 * extent > 0
    kind = rng.random()
    if kind < LEAKING:
        return mask | _leaked(cube, mask, extent * rng.uniform(0.5, 1.6), rng)
    return _shortened(cube, mask, rng) if kind < LEAKING + SHORTENED else mask


def _leaked(cube: CubeSample, mask: Mask, reach: float, rng: Rng) -> Mask:
    """What looks like the object, within reach of a random sample of it; (N, N, N)."""
    level, tolerance = np.median(cube.image[cube.truth]), rng.uniform(0.04, 0.15)
    alike = ndimage.binary_opening(np.abs(cube.image - level) < tolerance) | mask
    places = np.argwhere(cube.truth)
    start = places[rng.integers(len(places))]
    near = sum((line - at) ** 2 for line, at in zip(np.ogrid[:SIZE, :SIZE, :SIZE], start, strict=True))
    found: Mask = alike & (near < reach**2)
    return found


def _shortened(cube: CubeSample, mask: Mask, rng: Rng) -> Mask:
    """A mask (N, N, N) without all beyond a random plane; or with that plane's object past the last one."""
    planes = np.moveaxis(mask.copy(), cube.axis, 0)
    truth = np.moveaxis(cube.truth, cube.axis, 0)
    filled = np.flatnonzero(truth.any((1, 2)))
    first, last = int(filled[0]), int(filled[-1])
    if last - first < 2:
        return mask
    cut, upwards = int(rng.integers(first + 1, last)), rng.random() < 0.5
    if rng.random() < 0.5:
        planes[slice(cut, None) if upwards else slice(cut)] = False
    else:
        past = int(rng.integers(2, FARTHEST + 1))
        planes[slice(last, last + past) if upwards else slice(max(0, first - past), first)] |= truth[cut]
    return np.moveaxis(planes, 0, cube.axis)


def _depth(mask: Mask) -> NDArray[np.float64]:
    """How far each sample lies in a mask, negative outside."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return depth


def _plane(samples: NDArray[S], axis: int, index: int) -> NDArray[S]:
    """One plane of samples (N, N, N), (N, N); a view of it."""
    plane: NDArray[S] = np.moveaxis(samples, axis, 0)[index]
    return plane


def _others(axis: int) -> tuple[int, int]:
    """The two axes across one."""
    first, second = (a for a in range(3) if a != axis)
    return first, second
