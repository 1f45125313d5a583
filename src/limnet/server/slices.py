"""Masks as they go over the wire: runs (start, length, ...) over a slice flattened in C order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limnet.memory import SliceMask
from limnet.server.models import SliceOut, SweepSlice

Mask = NDArray[np.bool_]


def runs_of(mask: Mask) -> list[int]:
    """The runs of a mask (h, w).

    >>> runs_of(np.array([[0, 1, 1], [1, 0, 1]], bool))
    [1, 3, 5, 1]
    """
    flat = np.concatenate([[False], mask.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # starts and ends, in turn
    edges[1::2] -= edges[::2]
    runs: list[int] = edges.tolist()
    return runs


def mask_of(runs: list[int], shape: tuple[int, int]) -> Mask:
    """The mask (h, w) of runs: what a client does.

    >>> mask_of([1, 3, 5, 1], (2, 3)).astype(int).tolist()
    [[0, 1, 1], [1, 0, 1]]
    """
    flat = np.zeros(shape[0] * shape[1], bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = True
    return flat.reshape(shape)


def slice_out(slice_mask: SliceMask) -> SliceOut:
    """One slice, as it goes over the wire."""
    height, width = slice_mask.mask.shape
    return SliceOut(
        axis=slice_mask.axis, index=slice_mask.index, shape=(height, width), runs=runs_of(slice_mask.mask)
    )


def sweep_slice(slice_mask: SliceMask, done: int, expected: int) -> SweepSlice:
    """One slice of a sweep."""
    return SweepSlice(**slice_out(slice_mask).model_dump(), done=done, expected=expected)
