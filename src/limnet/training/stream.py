"""Endless streams of clips or cubes from all sources, made in a process beside the training."""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from limnet.training.bank import Bank
from limnet.training.cases import TrainingCase, case_of
from limnet.training.clips import Clip, sample_clip
from limnet.training.cubes import sample_cube, stack_cubes
from limnet.training.recipe import DataConfig, Recipe
from limnet.training.shapes import ShapeFactory
from limnet.training.supervoxels import SUPERVOXELS, supervoxel_case

Rng = np.random.Generator
C = TypeVar("C")  # settings
T = TypeVar("T")  # what is cut from a case by them

SHAPES = "random shapes"
MAX_TRIES = 200  # draws of one clip or cube before giving up on the data
SUFFIX = re.compile(r"_(ph\d+|t\d+|frame\d+|CT|PET|MR\w*|T1\w*|T2\w*|FLAIR)$", re.IGNORECASE)


def patient(name: str) -> str:
    """The patient a case belongs to: its name without time point, phase and modality.

    >>> patient("SC-HF-I-01_ph07"), patient("STS_001_CT"), patient("hippocampus_001")
    ('SC-HF-I-01', 'STS_001', 'hippocampus_001')
    """
    return SUFFIX.sub("", name)


def is_held_out(case: TrainingCase, data: DataConfig) -> bool:
    """Whether a case serves validation; patients stay on one side."""
    return zlib.crc32(patient(case.name).encode()) % data.validate_every == 0


@dataclass(frozen=True)
class Mixture:
    """Cases by set, and how often each set is drawn."""

    cases: dict[str, list[TrainingCase]]
    weights: dict[str, float]

    @classmethod
    def of(cls, cases: Sequence[TrainingCase], data: DataConfig) -> Mixture:
        """Group cases by set and look up the weights; images without labels have nothing to draw."""
        groups: dict[str, list[TrainingCase]] = {}
        for case in cases:
            if case.objects:
                groups.setdefault(case.group, []).append(case)
        weights = {group: data.weights.get(group, data.default_weight) for group in groups}
        return cls(groups, weights)

    def draw(self, sample: Callable[[TrainingCase, C, Rng], T | None], config: C, rng: Rng) -> T:
        """A clip or a cube, as `sample` cuts it: first a set is drawn by weight, then a case.

        Where nothing is visible, `sample` gives None, and all is drawn anew.
        """
        names = list(self.cases)
        shares = np.array([self.weights[name] for name in names])
        for _ in range(MAX_TRIES):
            group = self.cases[names[rng.choice(len(names), p=shares / shares.sum())]]
            found = sample(group[rng.integers(len(group))], config, rng)
            if found is not None:
                return found
        raise RuntimeError(f"no visible object in {MAX_TRIES} draws from {names}")


class CaseStream(IterableDataset[tuple[Tensor, Tensor]], ABC):
    """Batches of what is cut from cases, without end.

    They are cut on the processor. Random-shape volumes are made there too, unless `make_ahead` has made
    them elsewhere.
    """

    def __init__(self, recipe: Recipe, cases: Sequence[TrainingCase], seed: int) -> None:
        self.recipe = recipe
        self.cases = cases
        self.seed = seed
        self._ahead: list[TrainingCase] = []

    def make_ahead(self, device: str) -> None:
        """Fill the bank of random-shape volumes on `device` before any process that makes batches starts.

        Those processes cannot use a GPU that this one uses; they replace what is made here as they go.
        """
        rng = np.random.default_rng((self.seed, 1 << 20))  # of no worker
        factory = ShapeFactory(self.recipe.shapes, self.seed * 1000 + 999, device)
        wanted = self.recipe.data.bank if self.recipe.data.shapes > 0 else 0
        self._ahead = [shape_case(factory, rng) for _ in range(wanted)]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        number = worker.id if worker else 0
        if worker is not None:  # beside the training, which keeps its threads
            torch.set_num_threads(1)
        rng = np.random.default_rng((self.seed, number))
        factory = ShapeFactory(self.recipe.shapes, seed=self.seed * 1000 + number)
        mixture = Mixture.of(self.cases, self.recipe.data)
        banks = self._banks(factory, rng)
        for name, (bank, weight) in banks.items():
            mixture.cases[name] = bank.cases
            mixture.weights[name] = weight
        for step in range(1 << 62):
            for bank, _ in banks.values():
                bank.refresh(step)
            yield self.batch(mixture, rng)

    @abstractmethod
    def batch(self, mixture: Mixture, rng: Rng) -> tuple[Tensor, Tensor]:
        """One batch of a mixture of cases."""

    def _banks(self, factory: ShapeFactory, rng: Rng) -> dict[str, tuple[Bank, float]]:
        """The sources that are made while training, and their weights."""
        data, banks = self.recipe.data, {}
        images = [case for case in self.cases if case.image is not None]
        if data.shapes > 0:
            banks[SHAPES] = (Bank(lambda: shape_case(factory, rng), data.bank, rng), data.shapes)
            banks[SHAPES][0].cases.extend(self._ahead)
        if data.supervoxels > 0 and images:
            banks[SUPERVOXELS] = (
                Bank(lambda: supervoxel_case(images, rng), data.supervoxel_bank, rng),
                data.supervoxels,
            )
        return banks


class ClipStream(CaseStream):
    """Batches of clips (B, S, 3, H, W) and truth (B, S, H, W)."""

    def batch(self, mixture: Mixture, rng: Rng) -> tuple[Tensor, Tensor]:
        """As many clips as the recipe says."""
        clip, batch = self.recipe.clip, self.recipe.batch
        return stack_clips([mixture.draw(sample_clip, clip, rng) for _ in range(batch)])


class CubeStream(CaseStream):
    """Batches of cubes (B, N, N, N) and what is known of them (B, 3, N, N, N); see `stack_cubes`."""

    def batch(self, mixture: Mixture, rng: Rng) -> tuple[Tensor, Tensor]:
        """As many cubes as the recipe says."""
        cube, batch = self.recipe.cube, self.recipe.batch
        return stack_cubes([mixture.draw(sample_cube, cube, rng) for _ in range(batch)])


def shape_case(factory: ShapeFactory, rng: Rng) -> TrainingCase:
    """A random-shape volume as a case: (size, size, depth) with thin or thick slices."""
    labels = factory.labels().cpu().numpy().transpose(1, 2, 0)
    thickness = float(rng.choice([1.0, 1.0, 1.0, 1.4, 2.0]))
    keep = int(rng.choice([1, 1, 2, 4]))
    return case_of("shapes", SHAPES, None, labels[..., ::keep], (1.0, 1.0, keep * thickness))


def stack_clips(clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """Clips -> image (B, S, 3, H, W), truth (B, S, H, W), float32."""
    images = torch.from_numpy(np.stack([clip.image for clip in clips]))
    return images, torch.from_numpy(np.stack([clip.truth for clip in clips]))


def loader(stream: IterableDataset[tuple[Tensor, Tensor]], workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches made by `workers` processes ahead of time; 0 makes them in this process."""
    ahead = 6 if workers else None
    return DataLoader(stream, batch_size=None, num_workers=workers, prefetch_factor=ahead)
