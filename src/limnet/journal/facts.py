"""What a journal knows of its volume: enough to tell it from any other."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from limnet.volume import Volume

_known: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()

CLOSE = 1e-4  # mm: affines that differ by less are one; files round them differently


@dataclass(frozen=True)
class VolumeFacts:
    """Where a volume came from, its grid, and a checksum of its voxels."""

    source: str
    shape: tuple[int, int, int]
    dtype: str  # numpy's name, such as "int16"
    affine: tuple[tuple[float, ...], ...]  # 4 rows of 4
    sha256: str

    @classmethod
    def of(cls, volume: Volume) -> VolumeFacts:
        """Of a volume; reads every voxel once."""
        affine = tuple(tuple(float(n) for n in row) for row in volume.affine)
        return cls(str(volume.source), volume.shape, volume.array.dtype.name, affine, voxels_sha256(volume))

    @classmethod
    def from_table(cls, table: dict[str, Any]) -> VolumeFacts:
        """From what `json` read."""
        i, j, k = table["shape"]
        affine = tuple(tuple(row) for row in table["affine"])
        return cls(table["source"], (i, j, k), table["dtype"], affine, table["sha256"])

    def differs(self, volume: Volume) -> str:
        """In what another volume differs, in words; empty when it is the same."""
        if volume.shape != self.shape:
            return f"shape {volume.shape} instead of {self.shape}"
        if not np.allclose(volume.affine, self.affine, rtol=0, atol=CLOSE):
            return "another affine"
        if volume.array.dtype.name != self.dtype:
            return f"voxels of type {volume.array.dtype.name} instead of {self.dtype}"
        return "" if voxels_sha256(volume) == self.sha256 else "other voxels"


def voxels_sha256(volume: Volume) -> str:
    """SHA-256 of the voxels, little-endian, in the order of NIfTI files (i runs fastest), in hexadecimal.

    Found once per volume, whose voxels are never written to.
    """
    if volume not in _known:
        _known[volume] = _voxels_sha256(volume)
    return _known[volume]


def _voxels_sha256(volume: Volume) -> str:
    digest = hashlib.sha256()
    for k in range(volume.shape[2]):
        plane = np.asarray(volume.array[:, :, k])  # (I, J) or (I, J, 3)
        plane = plane.astype(plane.dtype.newbyteorder("<"), copy=False)
        digest.update(np.ascontiguousarray(plane.T).data)
    return digest.hexdigest()
