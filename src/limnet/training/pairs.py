"""Pairs of rounds for the fusion network: recorded from the real Session, and made up beside them.

A batch is images (B, 2, 3, 128, 128), the slice and its reference, and maps (B, 6, 128, 128): the masks
truth, previous, current and the reference's, and the nearness of previous and current to their prompts,
the same in every pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from limnet.fusion import nearness, shrink
from limnet.model import FUSION_SIZE
from limnet.training.cases import TrainingCase
from limnet.training.clicking import perturb
from limnet.training.pair import HELD_OUT_PAIRS, PAIRS, Pair, read_pairs, varied
from limnet.training.recipe import Recipe
from limnet.training.stream import ClipStream, CubeStream, is_held_out


def batch_stream(
    recipe: Recipe, cases: Sequence[TrainingCase], folder: Path, seed: int
) -> IterableDataset[tuple[Tensor, Tensor]]:
    """What a recipe's network is trained on: clips, pairs of rounds for fusion, cubes for the overview."""
    if recipe.network == "overview":
        return CubeStream(recipe, cases, seed)
    if recipe.network != "fusion":
        return ClipStream(recipe, cases, seed)
    held_out = bool(cases) and all(is_held_out(case, recipe.data) for case in cases)
    return PairStream(recipe, cases, seed, folder / (HELD_OUT_PAIRS if held_out else PAIRS))


class PairStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of pairs without end: some recorded, some made up."""

    def __init__(self, recipe: Recipe, cases: Sequence[TrainingCase], seed: int, path: Path) -> None:
        self.recipe = recipe
        self.cases = cases
        self.seed = seed
        self.path = path

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng = np.random.default_rng(self.seed)
        recorded: Sequence[Pair] = read_pairs(self.path) if self.path.exists() else ()
        batch = self.recipe.batch
        num_made_up = round(batch * self.recipe.pairs.made_up) if recorded else batch
        clips = ClipStream(replace(self.recipe, batch=max(2, num_made_up)), self.cases, self.seed)
        for images, truths in clips:
            drawn = zip(images.numpy(), truths.numpy() > 0.5, strict=True)
            pairs = [_made_up(image, truth, rng) for image, truth in drawn]
            chosen = rng.integers(len(recorded), size=batch - len(pairs)).tolist() if recorded else []
            yield _stack(pairs + [varied(recorded[index], rng) for index in chosen])


def _made_up(image: NDArray[np.float32], truth: NDArray[np.bool_], rng: np.random.Generator) -> Pair:
    """Two wrong masks of slice 0 of a clip (S, 3, H, W): perturbed, a neighbour's, or empty.

    The reference is another slice of the clip, one with the object if there is any.
    """
    masks = [truth[0]]
    for _ in range(2):
        kind = rng.random()
        if kind < 0.15:
            masks.append(np.zeros_like(truth[0]))
        elif kind < 0.4 and len(truth) > 1:
            masks.append(truth[rng.integers(1, len(truth))])
        else:
            masks.append(perturb(truth[0], rng))
    others = range(1, len(truth))
    there = int(rng.choice([index for index in others if truth[index].any()] or others))
    images = np.stack([shrink(image[0]), shrink(image[there])])
    small = np.stack([shrink(mask.astype(np.float32)) > 0.5 for mask in (*masks, truth[there])])
    near = nearness(rng.integers(1, 30, 2))  # tells nothing
    return Pair((images * 255).astype(np.uint8), small, near)


def _stack(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    images = np.stack([pair.images for pair in pairs]).astype(np.float32) / 255
    masks = np.stack([pair.masks for pair in pairs]).astype(np.float32)
    near = np.stack([pair.nearness for pair in pairs])[:, :, None, None]
    maps = np.concatenate([masks, np.broadcast_to(near, (len(pairs), 2, FUSION_SIZE, FUSION_SIZE))], axis=1)
    return torch.from_numpy(images), torch.from_numpy(maps.astype(np.float32))
