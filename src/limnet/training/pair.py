"""A pair of rounds on one slice: what training keeps of sessions, and the file it is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

PAIRS = "pairs.npz"
HELD_OUT_PAIRS = "pairs-held-out.npz"


class Pair(NamedTuple):
    """One slice before and after a round."""

    images: NDArray[np.uint8]  # (2, 3, 128, 128), 0 .. 255: the slice, its reference
    masks: NDArray[np.bool_]  # (4, 128, 128): truth, previous, current, the reference's
    nearness: NDArray[np.float32]  # (2,), of previous and current to their prompts


class RecordedPairs(Sequence[Pair]):
    """Pairs as they lie in their file, masks packed and grey slices once: 40 KB each, not 160.

    Tens of thousands of them are held beside a training, in a process that makes batches of them as well.
    """

    def __init__(
        self, images: NDArray[np.uint8], masks: NDArray[np.uint8], near: NDArray[np.float32]
    ) -> None:
        """Images (N, 2, 1 or 3, 128, 128), packed masks (N, 4, 128, 16), nearness (N, 2)."""
        self._images, self._masks, self._near = images, masks, near

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> RecordedPairs: ...
    def __getitem__(self, index: int | slice) -> Pair | RecordedPairs:
        images, masks, near = self._images[index], self._masks[index], self._near[index]
        if isinstance(index, slice):
            return RecordedPairs(images, masks, near)
        images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
        return Pair(images, np.unpackbits(masks, axis=-1).astype(bool), near)


def read_pairs(path: Path) -> RecordedPairs:
    """Read what `write_pairs` wrote."""
    with np.load(path) as file:
        return RecordedPairs(file["images"], file["masks"], file["nearness"])


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Keep pairs in one compressed file; colour where any has some."""
    grey = all((pair.images[:, :1] == pair.images).all() for pair in pairs)
    images = np.stack([pair.images[:, : 1 if grey else 3] for pair in pairs])
    masks = np.packbits(np.stack([pair.masks for pair in pairs]), axis=-1)
    near = np.stack([pair.nearness for pair in pairs])
    np.savez_compressed(path, images=images, masks=masks, nearness=near)


def varied(pair: Pair, rng: np.random.Generator) -> Pair:
    """Turned, flipped, the two masks swapped at random; both slices in another tone, often with noise."""
    order = [0, 1] if rng.random() < 0.5 else [1, 0]
    masks, near = pair.masks[[0, 1 + order[0], 1 + order[1], 3]], pair.nearness[order]
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    images = np.rot90(_toned(pair.images, rng), turns, (2, 3))
    masks = np.rot90(masks, turns, (1, 2))
    return Pair(images[..., ::-1], masks[..., ::-1], near) if mirrored else Pair(images, masks, near)


def _toned(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another contrast curve, offset and gain for all; seldom a negative; half of them with noise."""
    levels = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.3))
    levels = 0.5 + (levels - 0.5) * np.exp(rng.normal(0, 0.15)) + rng.normal(0, 0.05)
    levels = 1 - levels if rng.random() < 0.1 else levels
    toned: NDArray[np.uint8] = (np.clip(levels, 0, 1) * 255).astype(np.uint8)[images]
    if rng.random() < 0.5:
        noise = rng.standard_normal(images.shape[2:], np.float32)
        noisy = toned + noise * np.float32(255 * rng.uniform(0, 0.05))
        toned = np.clip(noisy, 0, 255).astype(np.uint8)
    return toned
