"""Propagation: a mask is carried from slice to slice, one way. A generator: draw, stream or stop at will."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from limnet.hints import mask_hints
from limnet.lens import Seen
from limnet.memory.bank import BankConfig, MemoryBank, elements_of
from limnet.model import Elements, LimNet

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SliceMask:
    """One slice of a propagation, on the volume's own grid."""

    axis: int
    index: int
    mask: Mask  # (h, w) voxels of the slice


class Slices(Protocol):
    """Slices through one view, by index along the sweep axis."""

    def __getitem__(self, index: int) -> Seen: ...


@dataclass(frozen=True)
class Anchor:
    """A prompted slice and its mask in the view."""

    index: int
    probability: Array  # (H, W)


def anchor_elements(model: LimNet, slices: Slices, anchor: Anchor) -> Elements:
    """Memory elements of a prompted slice."""
    seen = slices[anchor.index]
    return elements_of(seen.features, model.value(seen.image, anchor.probability, seen.features.f16))


def sweep_one_way(
    model: LimNet,
    slices: Slices,
    start: Anchor,
    anchors: Sequence[Elements],
    path: range,
    config: BankConfig,
) -> Iterator[tuple[int, Array]]:
    """Carry the mask of `start` along `path`, which begins beside it; yields (index, probability (H, W)).

    `anchors` are read permanently; the first is the start's own.
    """
    bank = MemoryBank(model, anchors, config)
    neighbour, probability = slices[start.index], start.probability
    sensory = np.zeros((model.manifest.sensory_dim, *neighbour.features.key.shape[1:]), np.float32)
    for step, index in enumerate(path, start=1):
        seen = slices[index]
        colours = seen.colours
        hints = mask_hints(seen.image[None, :colours], neighbour.image[None, :colours], probability[None])[0]
        carried = model.carry(
            seen.image, seen.features, neighbour.image, probability, hints, bank.elements, sensory
        )
        bank.record(carried.usage)
        neighbour, probability, sensory = seen, carried.probability, carried.sensory
        yield index, probability
        if step % config.write_every == 0:
            value = model.value(seen.image, probability, seen.features.f16)
            bank.write(elements_of(seen.features, value))
