"""A pair of rounds on one slice: what training keeps of sessions, and the file it is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PAIRS = "pairs.npz"
HELD_OUT_PAIRS = "pairs-held-out.npz"


class Pair(NamedTuple):
    """One slice before and after a round."""

    images: NDArray[np.uint8]  # (2, 3, 128, 128), 0 .. 255: the slice, its reference
    masks: NDArray[np.bool_]  # (4, 128, 128): truth, previous, current, the reference's
    nearness: NDArray[np.float32]  # (2,), of previous and current to their prompts


def read_pairs(path: Path) -> list[Pair]:
    """Read what `write_pairs` wrote."""
    with np.load(path) as file:
        masks = np.unpackbits(file["masks"], axis=-1).astype(bool)
        parts = zip(file["images"], masks, file["nearness"], strict=True)
        return [Pair(two, mask, near) for two, mask, near in parts]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Keep pairs in one compressed file."""
    images = np.stack([pair.images for pair in pairs])
    masks = np.packbits(np.stack([pair.masks for pair in pairs]), axis=-1)
    near = np.stack([pair.nearness for pair in pairs])
    np.savez_compressed(path, images=images, masks=masks, nearness=near)


def varied(pair: Pair, rng: np.random.Generator) -> Pair:
    """Turned, flipped, the two masks swapped at random."""
    order = [0, 1] if rng.random() < 0.5 else [1, 0]
    masks, near = pair.masks[[0, 1 + order[0], 1 + order[1], 3]], pair.nearness[order]
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5
    images, masks = np.rot90(pair.images, turns, (2, 3)), np.rot90(masks, turns, (1, 2))
    return Pair(images[..., ::-1], masks[..., ::-1], near) if mirrored else Pair(images, masks, near)
