"""Cubes: what the overview network is trained on, cut around an object of a case as `limnet.cube` cuts them.

Letters: N samples along every axis of a cube, always `cube.SIZE`. A cube is a box of a case, which may be
turned; the sample axes are its edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limnet.cube import FEWEST_SLICES, FEWEST_VOXELS, MOST_STRETCH, SIZE
from limnet.errors import ConfigError
from limnet.tone import Tone
from limnet.training.cases import TrainingCase
from limnet.training.clips import made_up_intensities, neighbours, texture, vary

Rng = np.random.Generator
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]

SHORTEST = 5  # slices along every axis of a case that cubes are cut from
EVEN = 2.0  # largest over smallest spacing up to which a grid has no thick slices
ALONG_THICKNESS = 0.9  # share of cubes of thick slices that are prompted on those; others along any axis
ANGLE = 0.25  # standard deviation of what a rotation adds to each axis, of its length


@dataclass(frozen=True, kw_only=True)
class CubeConfig:
    """How cubes are cut and varied. Probabilities are per cube."""

    min_zoom: float = 1.15  # side of the cube over the object's extent
    max_zoom: float = 2.9
    stretch: float = 0.18  # standard deviation of the logarithm by which each side differs from that
    overflow: float = 0.08  # share of cubes that are smaller than their object
    off_centre: float = 0.35  # standard deviation of where the object lies, of the room that it has
    synthetic: float = 0.15  # made-up intensities although the case has an image
    union: float = 0.1  # the target is a union of two neighbouring labels
    rotated: float = 0.5  # share of the cubes of even grids that are turned by small angles as well
    min_samples: int = 40  # of the target in the cube

    def __post_init__(self) -> None:
        if not 1 < self.min_zoom <= self.max_zoom:
            raise ConfigError(
                f"zooms must satisfy 1 < min_zoom <= max_zoom, got {self.min_zoom}, {self.max_zoom}"
            )


class CubeSample(NamedTuple):
    """A cube around one object."""

    image: Image  # (N, N, N), in [0, 1], zero outside the volume
    truth: Mask  # (N, N, N)
    axis: int  # along which its slices are prompted
    thickness: float  # of a slice along that axis, in sample planes; below 1 they lie between planes


def sample_cube(case: TrainingCase, config: CubeConfig, rng: Rng) -> CubeSample | None:
    """Cut one random cube from a case; None when it has few slices or the object is not visible enough."""
    if min(case.labels.shape) < SHORTEST:
        return None
    labels, low, high = _target(case, config, rng)
    spacing = np.array(case.spacing)
    middle, side = _box(low, high, spacing, config, rng)
    order = rng.permutation(3)  # sample axis b runs along the case's axis order[b]
    turn = np.eye(3)[:, order] * rng.choice([-1, 1], 3)
    is_even = bool(spacing.max() < EVEN * spacing.min())
    if is_even and rng.random() < config.rotated:
        turn = _rotation(rng) @ turn
    sampling = Sampling.of(middle, side, turn, case.labels.shape)
    block = case.labels[sampling.block]
    member = np.isin(block, labels) if len(labels) > 1 else block == labels[0]
    truth = (sampling.look(member) > 0.5) & sampling.inside
    if truth.sum() < config.min_samples:
        return None
    image = vary(_image(case, labels, sampling, config, rng)[:, None], rng)[:, 0]
    image = Tone.of(image[sampling.inside])(image) * sampling.inside
    thick = int(np.argmax(spacing[order]))
    axis = thick if not is_even and rng.random() < ALONG_THICKNESS else int(rng.integers(3))
    return CubeSample(image, truth, axis, float(SIZE / side[order[axis]]))


def stack_cubes(cubes: Sequence[CubeSample]) -> tuple[Tensor, Tensor]:
    """Cubes -> image (B, N, N, N), and truth, axis and thickness (B, 3, N, N, N), all float32.

    Axis and thickness are the same in every sample.
    """
    known = np.empty((len(cubes), 3, SIZE, SIZE, SIZE), np.float32)
    for row, cube in zip(known, cubes, strict=True):
        row[0], row[1], row[2] = cube.truth, cube.axis, cube.thickness
    return torch.from_numpy(np.stack([cube.image for cube in cubes])), torch.from_numpy(known)


def cubes_of(image: Tensor, known: Tensor) -> list[CubeSample]:
    """The cubes of a batch of `stack_cubes`; ConfigError for cubes of another size."""
    if image.shape[1:] != (SIZE, SIZE, SIZE):
        raise ConfigError(f"a cube has {SIZE} samples along every axis, got {tuple(image.shape[1:])}")
    return [
        CubeSample(one, truth > 0.5, int(axis[0, 0, 0]), float(thickness[0, 0, 0]))
        for one, (truth, axis, thickness) in zip(image.numpy(), known.numpy(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class Sampling:
    """How the samples of a cube are made of a block of a case."""

    block: tuple[slice, slice, slice]  # of the case, with all that any sample needs
    factors: tuple[int, int, int]  # voxels along each axis that are averaged first, where samples lie apart
    grid: Tensor  # (1, N, N, N, 3), where the samples lie in the averaged block: grid_sample's coordinates
    inside: Mask  # (N, N, N), which samples lie in the volume

    @classmethod
    def of(cls, middle: Numbers, side: Numbers, turn: Numbers, shape: tuple[int, ...]) -> Sampling:
        """Of a box around `middle`, in voxels; `turn` (3, 3) takes directions of the cube to the case's.

        The sides are along the case's axes, before it is turned.
        """
        steps = (2 * np.arange(SIZE) + 1) / SIZE - 1  # in [-1, 1]
        units = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
        points = middle + units @ turn.T * side / 2  # (N, N, N, 3), voxels
        factors = np.maximum(1, np.floor(side / SIZE)).astype(int)
        low, high = points.min((0, 1, 2)) - factors, points.max((0, 1, 2)) + factors
        first = np.clip(np.floor(low).astype(int), 0, np.array(shape) - 1)
        last = np.clip(np.ceil(high).astype(int), first + 1, shape)
        factors = np.minimum(factors, last - first)  # of a few slices in a long box, there are no more
        averaged = -(-(last - first) // factors) * factors  # the last mean may be of fewer voxels
        unit = 2 * (points - first) / averaged - 1
        grid = torch.from_numpy(unit[..., ::-1].astype(np.float32))[None]  # the last axis first
        inside: Mask = np.logical_and.reduce((points >= 0) & (points < shape), axis=-1)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return cls((i, j, k), (int(factors[0]), int(factors[1]), int(factors[2])), grid, inside)

    def look(self, block: NDArray[np.generic]) -> Image:
        """A block (i, j, k) -> its samples (N, N, N); beyond the volume its edge goes on."""
        voxels = torch.from_numpy(block.astype(np.float32))[None, None]
        means = F.avg_pool3d(voxels, self.factors, ceil_mode=True) if max(self.factors) > 1 else voxels
        samples = F.grid_sample(means, self.grid, padding_mode="border", align_corners=False)
        return samples[0, 0].numpy()


def _target(case: TrainingCase, config: CubeConfig, rng: Rng) -> tuple[list[int], Numbers, Numbers]:
    """The label drawn and, now and then, a neighbour's; bounds in voxels, the high ones left out."""
    target = case.objects[rng.integers(len(case.objects))]
    chosen, others = [target], neighbours(case, target) if rng.random() < config.union else []
    if others:
        chosen.append(others[rng.integers(len(others))])
    low = np.min([[side.start for side in each.box] for each in chosen], axis=0).astype(float)
    high = np.max([[side.stop for side in each.box] for each in chosen], axis=0).astype(float)
    return [each.label for each in chosen], low, high


def _box(
    low: Numbers, high: Numbers, spacing: Numbers, config: CubeConfig, rng: Rng
) -> tuple[Numbers, Numbers]:
    """Middle and sides in voxels of a random box around an object's bounds, limited as in `Cube.around`."""
    extent_mm = (high - low) * spacing
    zoom = config.min_zoom * (config.max_zoom / config.min_zoom) ** rng.random()
    if rng.random() < config.overflow:
        zoom = rng.uniform(0.6, 1.0)
    side_mm = extent_mm * zoom * np.exp(rng.normal(0, config.stretch, 3))
    side_mm = np.maximum(side_mm, side_mm.max() / MOST_STRETCH)
    side_mm = np.maximum(side_mm, np.maximum(FEWEST_SLICES * spacing, FEWEST_VOXELS * spacing.min()))
    room_mm = np.maximum(side_mm - extent_mm, 0.1 * side_mm) / 2
    shift_mm = np.clip(rng.normal(0, config.off_centre, 3), -0.8, 0.8) * room_mm
    return (low + high) / 2 + shift_mm / spacing, side_mm / spacing


def _rotation(rng: Rng) -> Numbers:
    """A rotation by small angles around all axes, (3, 3)."""
    turn: Numbers = np.linalg.qr(np.eye(3) + rng.normal(0, ANGLE, (3, 3)))[0]
    return turn * np.sign(np.diag(turn))


def _image(case: TrainingCase, labels: list[int], sampling: Sampling, config: CubeConfig, rng: Rng) -> Image:
    """The cube's intensities, colours averaged: the case's own, or made up from its labels -> (N, N, N)."""
    if case.image is None or rng.random() < config.synthetic:
        means, textures = made_up_intensities(labels, rng)
        block = case.labels[sampling.block]
        flat, rough = sampling.look(means[block]), sampling.look(textures[block])
        return flat + rough * texture(flat.shape, rng)
    pixels = case.image[sampling.block]  # (i, j, k[, 3])
    return sampling.look(pixels.mean(-1, dtype=np.float32) if pixels.ndim == 4 else pixels)
