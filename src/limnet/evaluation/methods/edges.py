"""Where a region's intensities change: what classical methods take for boundaries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.evaluation.methods.region import Region


def edge_strength(region: Region, sigma_mm: float = 0.0) -> NDArray[np.float32]:
    """Length of the intensity gradient per mm, (i, j, k), over all axes and channels together.

    Intensities lie in [0, 1]; `sigma_mm` smooths them first. An axis of one voxel has no gradient.
    """
    squared = np.zeros(region.seeds.shape, np.float32)
    for channel in np.moveaxis(region.values, -1, 0):
        smooth = channel
        if sigma_mm > 0:
            smooth = ndimage.gaussian_filter(channel, [sigma_mm / edge for edge in region.spacing_mm])
        for axis, edge_mm in enumerate(region.spacing_mm):
            if smooth.shape[axis] > 1:
                squared += np.gradient(smooth, edge_mm, axis=axis) ** 2
    strength: NDArray[np.float32] = np.sqrt(squared)
    return strength
