"""What the overview network is told of a cube: ten maps in [0, 1], the slice's hints (`hints.py`) in space.

| map | |
|---|---|
| image | in tone, zero outside the volume |
| mask | the object as it is known so far; may be empty |
| held, free | on the slices that were prompted: what is object there, and what is not |
| positive, negative | clicks |
| likeness | to the object on the prompted slices, by intensity |
| near, far | geodesic nearness to what is held, to what is free at a distance, clicks with them |
| away | geodesic nearness to negative clicks alone |

Everything takes batches B of cubes of N samples a side. Geodesics are run at half the size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.cube import SIZE
from limnet.hints import EDGE_COST, NUM_BINS, SIDE_COST

Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]

NUM_MAPS = 10
CLICK_REACH = 2.3  # squared distance in samples up to which a click's ball goes
RING = 5  # samples around what is held in which what is free tells how the surroundings look
GEODESIC_ROUNDS = 2  # of the six directions each
FAR = np.float32(30)  # exp(-30) is zero for every purpose here


class Prompts(NamedTuple):
    """What is known of a batch of cubes, each (B, N, N, N), 0 or 1."""

    held: Maps
    free: Maps
    positive: Maps
    negative: Maps

    @classmethod
    def none(cls, batch: int) -> Prompts:
        """Nothing yet; to be written into."""
        return cls(*(np.zeros((batch, SIZE, SIZE, SIZE), np.float32) for _ in range(4)))

    def tell_slice(self, number: int, axis: int, planes: range, mask: Mask) -> None:
        """The object on a prompted slice of cube `number`: its samples (N, N), and the planes it shows on."""
        for plane in planes:
            where = (number, *(plane if a == axis else slice(None) for a in range(3)))
            self.held[where] = mask
            self.free[where] = ~mask

    def tell_click(self, number: int, sample: tuple[int, int, int], positive: bool) -> None:
        """A click on one sample of cube `number`: a small ball."""
        grid = np.ogrid[:SIZE, :SIZE, :SIZE]
        distance = sum((axis - at) ** 2 for axis, at in zip(grid, sample, strict=True))
        (self.positive if positive else self.negative)[number][distance <= CLICK_REACH] = 1


def cube_maps(image: Maps, mask: Maps, prompts: Prompts) -> Maps:
    """All that the network is told: image and mask (B, N, N, N) in [0, 1], prompts -> (B, 10, N, N, N)."""
    held, free = halve(prompts.held), halve(prompts.free)
    positive, negative = halve(prompts.positive) > 0, halve(prompts.negative) > 0
    distant = (free > 0.4) & ~grown(held > 0.05, 2)
    seeds = np.stack([(held > 0.4) | positive, distant | negative, negative])
    nearness = geodesic_nearness(halve(image), seeds)  # (3, B, N/2, N/2, N/2)
    likeness = held_likeness(halve(image), held > 0.3, free > 0.5)
    return np.stack([image, mask, *prompts, double(likeness), *map(double, nearness)], axis=1)


def held_likeness(image: Maps, held: Mask, free: Mask) -> Maps:
    """P(object | intensity), from histograms of what is held and of what is free around it; (B, n, n, n)."""
    out = np.zeros_like(image)
    around = free & grown(held, RING)
    bins = np.minimum(image * NUM_BINS, NUM_BINS - 1).astype(np.int64)
    for number in np.flatnonzero(held.any((1, 2, 3))):
        here = bins[number]
        odds = _log_shares(here[held[number]]) - _log_shares(here[around[number]])
        out[number] = (1 / (1 + np.exp(-np.clip(odds, -8, 8))))[here]
    return out


def geodesic_nearness(image: Maps, seeds: Mask) -> Maps:
    """exp(-geodesic distance) to the seeds: (B, n, n, n), (..., B, n, n, n) -> (..., B, n, n, n).

    As `hints.geodesic_nearness`, in space; 0 without seeds.
    """
    step = np.float32(SIDE_COST / image.shape[-1])
    distance = np.where(seeds, np.float32(0), FAR)
    costs = []
    for axis in (-3, -2, -1):
        change = np.abs(np.diff(image, axis=axis)) * np.float32(EDGE_COST) + step
        first = np.zeros_like(change.take([0], axis))
        costs.append(np.concatenate([first, np.cumsum(change, axis)], axis))
    for _ in range(GEODESIC_ROUNDS):
        for axis, cost in zip((-3, -2, -1), costs, strict=True):
            up = np.minimum.accumulate(distance - cost, axis) + cost
            down = np.flip(np.minimum.accumulate(np.flip(up + cost, axis), axis), axis)
            distance = down - cost
    nearness: Maps = np.exp(-np.minimum(distance, FAR)) * seeds.any((-3, -2, -1), keepdims=True)
    return nearness


def grown(mask: Mask, steps: int) -> Mask:
    """All that lies within so many steps over faces of a mask (..., n, n, n)."""
    out = mask.copy()
    for _ in range(steps):
        last, out = out, out.copy()
        for axis in (-3, -2, -1):
            for here, there in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
                after = (...,) + (slice(None),) * (-1 - axis)
                out[(after[0], here, *after[1:])] |= last[(after[0], there, *after[1:])]
    return out


def halve(maps: Maps) -> Maps:
    """Mean of 2 x 2 x 2 samples: (B, N, N, N) -> (B, N/2, N/2, N/2)."""
    n = maps.shape[-1] // 2
    mean: Maps = maps.reshape(-1, n, 2, n, 2, n, 2).mean((2, 4, 6), dtype=np.float32)
    return mean


def double(maps: Maps) -> Maps:
    """Each sample repeated 2 x 2 x 2: (..., n, n, n) -> (..., 2n, 2n, 2n)."""
    return maps.repeat(2, axis=-3).repeat(2, axis=-2).repeat(2, axis=-1)


def _log_shares(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of the smoothed share of each bin, (NUM_BINS,); of nothing, all are alike."""
    counts = np.pad(np.bincount(bins, minlength=NUM_BINS).astype(float), 1)
    smooth = (counts[:-2] + counts[1:-1] + counts[2:]) / 3 + 4 / NUM_BINS
    logs: NDArray[np.float64] = np.log(smooth / smooth.sum())
    return logs
