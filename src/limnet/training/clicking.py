"""Clicks and imperfect masks made while training, from the truth of a slice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]


class SliceClick(NamedTuple):
    """A click inside a view."""

    row: int
    column: int
    positive: bool


def error_click(truth: Mask, mask: Mask, rng: np.random.Generator, central: float = 0.5) -> SliceClick | None:
    """A click on the largest error region of a slice: (H, W) twice -> click; None without errors.

    With probability `central` at the region's middle, else anywhere inside, the middle favoured.
    Missed regions give positive clicks. Iterative clicks as in RITM (arXiv:2102.06583).
    """
    components, count = ndimage.label(truth ^ mask)
    if count == 0:
        return None
    sizes = np.bincount(components.ravel())
    largest = int(np.argmax(sizes[1:])) + 1
    box = ndimage.find_objects(components)[largest - 1]
    depth = ndimage.distance_transform_edt(np.pad(components[box] == largest, 1))[1:-1, 1:-1]
    if rng.random() < central:
        flat = int(np.argmax(depth))
    else:
        weight = depth.ravel() / depth.sum()
        flat = int(rng.choice(depth.size, p=weight))
    row, column = np.unravel_index(flat, depth.shape)
    row, column = int(row) + box[0].start, int(column) + box[1].start
    return SliceClick(row, column, bool(truth[row, column]))


def perturb(truth: Mask, rng: np.random.Generator) -> Mask:
    """A plausible wrong mask: grown, shrunk, shifted, with a piece bitten off or a piece too many; (H, W)."""
    mask = truth.copy()
    extent = max(2.0, float(np.sqrt(truth.sum())))
    if rng.random() < 0.6:
        shift = rng.normal(0, 0.06 * extent, 2).round().astype(int)
        mask = np.roll(mask, tuple(shift), (0, 1))
    if rng.random() < 0.6:
        edge = ndimage.gaussian_filter(rng.standard_normal(mask.shape), extent * 0.12)
        spread = float(edge.std()) or 1.0
        distance = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
        mask = distance + (edge / spread + rng.normal(0, 0.5)) * 0.08 * extent > 0
    if rng.random() < 0.4 and mask.any():
        rows, columns = np.nonzero(mask)
        pick = int(rng.integers(len(rows)))
        grid = np.indices(mask.shape)
        near = np.hypot(grid[0] - rows[pick], grid[1] - columns[pick]) < extent * rng.uniform(0.1, 0.5)
        mask = mask & ~near if rng.random() < 0.5 else mask | near
    return mask


def leak(image: NDArray[np.float32], mask: Mask, rng: np.random.Generator) -> Mask:
    """The mask with what looks like it and touches it, within a random reach: (3, H, W), (H, W) -> (H, W).

    Sweeps fail so: they run over into a neighbour of the same grey.
    """
    if not mask.any():
        return mask
    grey = image[0]
    level, tolerance = float(np.median(grey[mask])), float(rng.uniform(0.04, 0.15))
    alike = ndimage.binary_opening(np.abs(grey - level) < tolerance) | mask
    components, _ = ndimage.label(alike)
    touching = np.isin(components, np.unique(components[mask]))
    rows, columns = np.nonzero(mask)
    pick = int(rng.integers(len(rows)))
    grid = np.indices(mask.shape)
    reach = max(4.0, float(np.sqrt(mask.sum()))) * rng.uniform(0.4, 2.0)
    near = np.hypot(grid[0] - rows[pick], grid[1] - columns[pick]) < reach
    result: Mask = mask | (touching & near)
    return result
