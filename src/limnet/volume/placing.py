"""A label map of one grid on the grid of another, when both share their voxels: no voxel is resampled.

Grids share their voxels when axes may be swapped or flipped and the first voxel lies elsewhere, but every
voxel centre of one is a voxel centre of the other: a scan and its conversion, a mask cropped to its object.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError
from limnet.volume.geometry import Affine, spacing_of, to_index
from limnet.volume.structure import Structure
from limnet.volume.volume import Volume

AXIS_TOLERANCE = 0.01  # of a voxel edge: how far axes of equal grids may differ
PLACE_TOLERANCE = 0.1  # of a voxel: how far off the first voxel may lie


def placed(labels: NDArray[Any], affine: Affine, like: Volume, where: str) -> NDArray[Any]:
    """`labels` (I', J', K') of `affine`, on the grid of `like` (I, J, K), 0 where they say nothing.

    GeometryError when the grids do not share their voxels or a label lies outside.
    """
    if labels.shape == like.shape and np.array_equal(affine, like.affine):
        return labels
    steps = np.linalg.inv(like.affine[:3, :3]) @ affine[:3, :3]  # columns: a step of ours, in voxels of like
    whole = np.rint(steps)
    off = np.abs(steps - whole).max(axis=0) * np.array(labels.shape)  # drift at the far end of each axis
    if not np.array_equal(np.sort(np.abs(whole), axis=0), [[0, 0, 0], [0, 0, 0], [1, 1, 1]]) or (
        np.linalg.matrix_rank(whole) < 3 or np.abs(steps - whole).max() > AXIS_TOLERANCE or off.max() > 0.5
    ):
        raise GeometryError(f"{where}: {_difference(affine, like)}; resample it to that grid first")
    start = to_index(like.affine, affine[:3, 3])
    if np.abs(start - np.rint(start)).max() > PLACE_TOLERANCE:
        raise GeometryError(
            f"{where}: its voxels lie between those of {like.source} (first voxel at index"
            f" {', '.join(f'{n:.2f}' for n in start)}); resample it to that grid first"
        )
    found = np.argwhere(labels)  # (N, 3)
    places = found @ whole.T.astype(np.int64) + np.rint(start).astype(np.int64)  # (N, 3)
    if ((places < 0) | (places >= like.shape)).any():
        raise GeometryError(
            f"{where}: reaches outside {like.source} of shape {like.shape}; it belongs to another scan"
        )
    out = np.zeros(like.shape, labels.dtype)
    out[tuple(places.T)] = labels[tuple(found.T)]
    return out


def moved(structure: Structure, volume: Volume, like: Volume) -> Structure:
    """A structure of one volume on the grid of another that shares its voxels; GeometryError otherwise."""
    mask = placed(structure.mask, volume.affine, like, volume.source)
    return Structure.of(structure.name, mask, structure.colour, structure.anatomy)


def _difference(affine: Affine, like: Volume) -> str:
    one, two = (" x ".join(f"{edge:.4g}" for edge in spacing_of(a)) for a in (affine, like.affine))
    if np.allclose(sorted(spacing_of(affine)), sorted(like.spacing), rtol=0.01):
        return f"turned or sheared against the grid of {like.source}"
    return f"voxels of {one} mm, {like.source} has {two} mm"
