"""A synthetic CT-like volume of any size, with an object whose slices and size are known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import limnet

NUM_TEXTURES = 16  # slices of noise that a volume is textured from


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A body (40 HU) in air with an object (110 HU) winding through some of its slices; 1 x 1 x 2.5 mm."""

    shape: tuple[int, int, int]  # (I, J, K)
    first: int  # slice of the object
    last: int  # slice after the object
    radius: float = 24.0  # of the object in a slice, in voxels; it swells and shrinks by a quarter

    @property
    def affine(self) -> NDArray[np.float64]:
        """Slices are cut across k."""
        return np.diag([1.0, 1.0, 2.5, 1.0])

    def place(self, share: float) -> tuple[int, int, int]:
        """A voxel inside the object, at a share from 0 (its first slice) to 1 (its last) of its way."""
        k = self.first + round(share * (self.last - 1 - self.first))
        i, j = self._centre(k)
        return int(i), int(j), k

    def array(self, seed: int = 0) -> NDArray[np.int16]:
        """The voxels, made slice by slice, i running fastest as in files."""
        plane = self.shape[:2]
        volume = np.empty(self.shape, np.int16, order="F")
        i, j = np.indices(plane, dtype=np.float32)
        middle, half = (plane[0] / 2, plane[1] / 2), (0.43 * plane[0], 0.33 * plane[1])
        body = ((i - middle[0]) / half[0]) ** 2 + ((j - middle[1]) / half[1]) ** 2 < 1
        random = np.random.default_rng(seed)
        noise = random.standard_normal((NUM_TEXTURES, *plane)).astype(np.float32)
        texture = 12 * noise + 120 * ndimage.gaussian_filter(noise, (2, 3, 3))  # alike from slice to slice
        background = ndimage.gaussian_filter(np.where(body, 40.0, -1000.0).astype(np.float32), 0.8)
        for k in range(self.shape[2]):
            clean = background
            if self.first <= k < self.last:
                row, column = self._centre(k)
                radius = self.radius * (1 + math.sin(k / 9) / 4)
                inside = ((i - row) ** 2 + (j - column) ** 2 < radius**2).astype(np.float32)
                clean = background + 70 * ndimage.gaussian_filter(inside, 0.8)
            volume[:, :, k] = clean + texture[k % NUM_TEXTURES]
        return volume

    def volume(self) -> limnet.Volume:
        """The voxels with their place."""
        return limnet.Volume(self.array(), self.affine, source="phantom")

    def _centre(self, k: int) -> tuple[float, float]:
        """Where the object's centre lies on slice k, away from the body's: (i, j)."""
        i, j = self.shape[0] / 2, self.shape[1] / 2
        return i - 8 + 15 * math.sin(k / 20), j - 3 + 12 * math.cos(k / 25)
