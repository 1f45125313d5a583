"""What several tests share: networks that only know bright from dark, and a volume with one bright ball."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

import limnet
from limnet.model import Carried, Elements, Judgement, Manifest, SliceFeatures

Array = NDArray[np.float32]

CENTRE = (20, 16, 6)  # of the ball, in voxels


class BrightNetworks:
    """In the place of LimNet: the object is whatever is bright, on every slice, whatever was clicked."""

    identity = "0.0.0-bright"
    manifest = Manifest("0.0.0", 64, 0.5, key_dim=4, value_dim=4, sensory_dim=2, sha256={})

    def interaction(self, image: Array, previous: Array, clicks: Array, hints: Array) -> Array:
        return _bright(image)

    def query(self, image: Array) -> SliceFeatures:
        small = image.shape[1] // 16
        key = np.zeros((4, small, small), np.float32)
        return SliceFeatures(key, key[:1] + 1, key, np.zeros((112, small, small), np.float32))

    def value(self, image: Array, probability: Array, f16: Array) -> Array:
        return np.zeros((4, *f16.shape[1:]), np.float32)

    def carry(
        self,
        image: Array,
        features: SliceFeatures,
        neighbour: Array,
        probability: Array,
        hints: Array,
        memory: Elements,
        sensory: Array,
    ) -> Carried:
        return Carried(_bright(image), sensory, np.zeros(memory.key.shape[1], np.float32))

    def potentiate(self, candidates: Elements, prototypes: NDArray[np.intp]) -> Elements:
        return Elements(*(array[:, prototypes] for array in candidates))

    def judge(self, image: Array, previous: Array, current: Array) -> Judgement:
        return Judgement(preference=0.0, previous_quality=0.5, quality=0.9)


def _bright(image: Array) -> Array:
    return np.where(image.mean(0) > 0.5, np.float32(0.95), np.float32(0.05))


@dataclass(frozen=True)
class Ball:
    """A bright ball in the dark, as files."""

    volume: Path
    truth: Path
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


@pytest.fixture
def bright_networks(monkeypatch: pytest.MonkeyPatch) -> BrightNetworks:
    """Sessions run on BrightNetworks wherever nobody names other weights."""
    networks = BrightNetworks()
    real: Callable[..., Any] = limnet.load_model

    def load_model(path: Path | None = None, threads: int | None = None) -> Any:
        return networks if path is None else real(path, threads)

    monkeypatch.setattr(limnet, "load_model", load_model)
    return networks


@pytest.fixture
def ball(tmp_path: Path) -> Ball:
    """40 x 32 x 12 voxels of 1 x 1 x 3 mm, the ball of radius 9 mm in their middle."""
    affine = np.array([[-1.0, 0, 0, 30], [0, 1.0, 0, -20], [0, 0, 3.0, 100], [0, 0, 0, 1]])
    grid = np.indices((40, 32, 12)) - np.array(CENTRE).reshape(3, 1, 1, 1)
    mask = ((grid * np.array([1, 1, 3]).reshape(3, 1, 1, 1)) ** 2).sum(0) <= 9**2
    noise = np.random.default_rng(0).integers(0, 100, mask.shape)
    volume, truth = tmp_path / "ball.nii.gz", tmp_path / "truth.nii.gz"
    nibabel.save(nibabel.Nifti1Image((noise + 900 * mask).astype(np.int16), affine), volume)
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), affine), truth)
    return Ball(volume, truth, mask, affine)
