"""The truth of one case in memory: which voxels belong to an object.

A label map gives every voxel to one object at most; a file per object lets objects overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.volume import Volume, read_mask

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskFile:
    """Where the mask of one object lies; whatever is not 0 in it belongs to the object."""

    label: int
    path: Path


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels in one array; 0 is background."""

    array: NDArray[Any] = field(repr=False)  # (I, J, K) integers

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """Those that occur, rising, without 0."""
        return tuple(int(label) for label in np.unique(self.array) if label != 0)

    def mask_of(self, labels: Sequence[int]) -> Mask:
        """Voxels (I, J, K) that bear one of `labels`."""
        if len(labels) == 1:
            only: Mask = self.array == labels[0]
            return only
        union: Mask = np.isin(self.array, labels)
        return union


@dataclass(frozen=True, eq=False)
class MaskStack:
    """One file per object, each read when it is asked for."""

    like: Volume = field(repr=False)  # all masks must be on its grid
    files: tuple[MaskFile, ...] = field(repr=False)

    @property
    def labels(self) -> tuple[int, ...]:
        """Of the files there are, rising; their masks may be empty."""
        return tuple(sorted({file.label for file in self.files}))

    def mask_of(self, labels: Sequence[int]) -> Mask:
        """Voxels (I, J, K) that lie in a file of one of `labels`.

        VolumeError when a file cannot be read, GeometryError when its grid is not the volume's.
        """
        mask = np.zeros(self.like.shape, bool)
        for file in self.files:
            if file.label in labels:
                mask |= read_mask(file.path, like=self.like) != 0
        return mask


Truth = LabelMap | MaskStack
