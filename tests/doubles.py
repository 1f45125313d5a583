"""Stand-ins for the networks that follow rules a reader can check by hand, and small volumes for them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.model import Carried, Elements, Judgement, LimNet, Manifest, Reference, SliceFeatures
from limnet.prompt import Voxel
from limnet.session import Session
from limnet.volume import Volume

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIZE = 32  # pixels of a fake's view


class FakeLimNet(LimNet):
    """The object is what is bright: a click takes the bright region under it, a mask those it meets.

    `preference` is what it says of every pair of masks; `previous_quality` and `quality` likewise.
    """

    identity = "0.0.0-fake"

    def __init__(
        self, preference: float = 0.0, previous_quality: float = 0.9, quality: float = 0.6, size: int = SIZE
    ) -> None:
        self.manifest = Manifest("fake", size, 0.5, key_dim=2, value_dim=3, sensory_dim=1, sha256={})
        self.judgement = Judgement(preference, previous_quality, quality)
        self.num_queries = 0
        self.memory_lengths: list[int] = []  # of every step of a sweep

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        found = _touched(image[0] > 0.5, clicks[0] > 0)
        return ((found | (previous > 0.5)) & ~(clicks[1] > 0)).astype(np.float32)

    def query(self, image: Array) -> SliceFeatures:
        self.num_queries += 1
        side = image.shape[-1] // 16
        key = np.full((2, side, side), image.mean(), np.float32)
        return SliceFeatures(key, np.ones((1, side, side), np.float32), np.full_like(key, 0.5), key)

    def value(self, image: Array, probability: Array, f16: Array) -> Array:
        return np.full((3, *f16.shape[1:]), probability.mean(), np.float32)

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
        self.memory_lengths.append(memory.key.shape[1])
        carried = self.carried_mask(image, probability)
        return Carried(carried, sensory, np.ones(memory.key.shape[1], np.float32))

    def carried_mask(self, image: Array, probability: Array) -> Array:
        return _touched(image[0] > 0.5, probability > 0.5).astype(np.float32)

    def potentiate(self, candidates: Elements, prototypes: NDArray[np.intp]) -> Elements:
        return Elements(*(array[:, prototypes] for array in candidates))

    def judge(
        self, image: Array, previous: Array, current: Array, nearness: Array, reference: Reference
    ) -> Judgement:
        return self.judgement


class CopyLimNet(FakeLimNet):
    """Every slice gets its neighbour's mask."""

    def carried_mask(self, image: Array, probability: Array) -> Array:
        return probability


class WilfulLimNet(FakeLimNet):
    """Blobs and judgements that follow from the input alone, whatever clicks and image mean."""

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        return _blobs(image, previous, clicks)

    def carried_mask(self, image: Array, probability: Array) -> Array:
        return _blobs(image, probability)

    def judge(
        self, image: Array, previous: Array, current: Array, nearness: Array, reference: Reference
    ) -> Judgement:
        return Judgement(*(float(n) for n in _rng(image, previous, current).random(3)))


def _touched(bright: Mask, seeds: Mask) -> Mask:
    """The connected regions of `bright` that hold a seed."""
    regions, _ = ndimage.label(bright)
    return bright & np.isin(regions, np.unique(regions[seeds & bright]))


def _rng(*arrays: Array) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in arrays])


def _blobs(*arrays: Array) -> Array:
    noise = ndimage.gaussian_filter(_rng(*arrays).standard_normal(arrays[0].shape[-2:]), 3)
    return (noise > 0.6 * noise.std()).astype(np.float32)


def volume_of(array: NDArray[np.generic], spacing: Sequence[float] = (1, 1, 1)) -> Volume:
    """A volume whose voxel axes are the world's."""
    return Volume(array, np.diag([*map(float, spacing), 1.0]))


def box_volume(
    low: Voxel = (8, 8, 4),
    high: Voxel = (16, 16, 12),
    shape: Voxel = (24, 24, 16),
    spacing: Sequence[float] = (1, 1, 2),
) -> Volume:
    """A bright box, voxels low .. high - 1, in the dark. By default slices lie along the last axis."""
    array = np.zeros(shape, np.int16)
    array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 100
    return volume_of(array, spacing)


def replayed(session: Session, model: LimNet) -> Session:
    """A new session of the same volume given the same clicks, round by round."""
    again = Session(
        session.volume,
        model,
        fusion=session.fusion,
        crossing=session.crossing,
        overview=session.overview,
        memory=session.memory,
    )
    for done in session.rounds:
        for click in done.clicks:
            again.click(click.index, click.positive, done.axis)
        again.propagate()
    for click in session.pending:
        again.click(click.index, click.positive, session.axis)
    return again


@lru_cache(maxsize=1)
def exported_folder() -> Path:
    """Randomly initialised networks, exported once per test run for views of 64 x 64. Needs torch."""
    import torch

    from limnet.networks.export import export_networks

    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="limnet-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    export_networks(*random_networks(), folder, version="test", size=64, threshold=0.5)
    return folder


@lru_cache(maxsize=1)
def random_networks():  # type: ignore[no-untyped-def]  # the types need torch, which is optional here
    """The three networks behind `exported_folder`, in evaluation mode."""
    import torch

    from limnet.networks.fusion import FusionNetwork
    from limnet.networks.interaction import InteractionNetwork
    from limnet.networks.memory import MemoryNetwork, MemoryNetworkConfig

    torch.manual_seed(0)
    memory = MemoryNetworkConfig(top_k=10)  # a view of 64 x 64 has 16 positions
    networks = InteractionNetwork(), MemoryNetwork(memory), FusionNetwork()
    for network in networks:
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after training: the export folds them away
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                torch.nn.init.uniform_(module.weight, 0.8, 1.2)
                torch.nn.init.normal_(module.bias, 0, 0.1)
        network.eval()
    return networks
