"""Stage 3: the best of the rounds, slice by slice (paper: Multi-Round Result Fusion); rounds as values."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.lens import Lens
from limnet.model import FUSION_SIZE, LimNet, Reference
from limnet.prompt import Click, Prompt

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


FAVOUR = 4.0  # log-odds per unit of nearness; chosen on held-out pairs, decisions/0014


class Verdict(NamedTuple):
    """Which of two masks a slice keeps, and how good it is thought to be."""

    keeps_previous: bool
    quality: float  # predicted Dice of the kept mask, in [0, 1]


@dataclass(frozen=True, eq=False)
class Change:
    """The voxels that differ between two masks, compressed, in the box that holds them all."""

    low: tuple[int, int, int]
    shape: tuple[int, int, int]
    data: bytes  # zlib of the packed bits

    @classmethod
    def of(cls, low: tuple[int, int, int], flipped: Mask) -> Change:
        """From a block of flipped voxels whose first voxel lies at `low`; its empty edges are cut off."""
        if not flipped.any():
            return cls.nothing()
        cut = []
        for axis in range(3):
            rest = tuple(a for a in range(3) if a != axis)
            where = np.flatnonzero(flipped.any(rest))
            cut.append(slice(int(where[0]), int(where[-1]) + 1))
        block = flipped[tuple(cut)]
        i, j, k = (a + c.start for a, c in zip(low, cut, strict=True))
        return cls((i, j, k), block.shape, zlib.compress(np.packbits(block).tobytes(), 1))

    @classmethod
    def nothing(cls) -> Change:
        """No voxel differs."""
        return cls((0, 0, 0), (0, 0, 0), b"")

    @property
    def box(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Its first voxel and the one after its last: (low, high), `high` left out."""
        i, j, k = (a + n for a, n in zip(self.low, self.shape, strict=True))
        return self.low, (i, j, k)

    def apply(self, mask: NDArray[np.uint8]) -> None:
        """Flip the voxels in a mask (I, J, K) of 0 and 1; applied twice, nothing has changed."""
        if not self.data:
            return
        box = tuple(slice(a, b) for a, b in zip(*self.box, strict=True))
        mask[box] ^= self.block()

    def flips(self, voxels: NDArray[np.integer]) -> Mask:
        """Whether each of the voxels (N, 3) is flipped: (N,)."""
        flipped = np.zeros(len(voxels), bool)
        if self.data:
            low, high = self.box
            inside = np.flatnonzero(((voxels >= low) & (voxels < high)).all(1))
            flipped[inside] = self.block()[tuple((voxels[inside] - low).T)]
        return flipped

    def block(self) -> NDArray[np.uint8]:
        """What the box holds: 1 where a voxel is flipped."""
        if not self.data:
            return np.zeros(self.shape, np.uint8)
        bits = np.frombuffer(zlib.decompress(self.data), np.uint8)
        return np.unpackbits(bits, count=int(np.prod(self.shape))).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Round:
    """One cycle: prompts, propagation, result. Immutable; undo and redo move along a tuple of these."""

    axis: int  # the sweep axis
    prompts: tuple[Prompt, ...]  # none when the round is a mask that was given
    change: Change  # against the mask before
    provenance: NDArray[np.int16]  # (S,) along the axis: the round each slice's mask is from, -1 none
    carried: NDArray[np.int16]  # (S,) slices between each mask and its prompt, -1 none
    quality: Array  # (S,) predicted Dice, NaN where nothing was propagated
    swept: NDArray[np.bool_]  # (S,) slices this round went through
    lens: Lens  # how the slices were seen; kept so that a replay sees the same
    seconds: float = 0.0  # that the networks took

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Those of the prompts that are clicks."""
        return tuple(prompt for prompt in self.prompts if isinstance(prompt, Click))


class Candidate(NamedTuple):
    """A mask of a slice that fusion may keep."""

    mask: Array  # (H, W), in the view, in [0, 1]
    carried: int  # slices between it and the prompt it was carried from; -1 nobody carried one here


def fuse(
    model: LimNet,
    image: Array,
    previous: Candidate | None,
    current: Candidate,
    reference: Reference,
    sign: int = 0,
) -> Verdict:
    """Judge a slice (3, H, W) by its masks; without a previous one only the quality is found.

    Of two masks that were carried here and hold something, the one from the nearer prompt is kept: there the
    network knows no better (decisions/0024). Where one holds nothing, has the object ended, or was it lost?
    What the prompts of the round say is believed first (decisions/0027): by their `sign`, 1 or -1, they add
    the object here or take it away. Else, as in the first round, the network is asked: the previous mask is
    kept when its preference, moved towards the nearer prompt, exceeds the threshold stored with the weights.
    """
    before = current if previous is None else previous
    now, near = shrink(current.mask), nearness(np.array([before.carried, current.carried]))
    judgement = model.judge(shrink(image), shrink(before.mask), now, near, reference)
    if previous is None:
        return Verdict(False, judgement.quality)
    if near[0] > 0 and previous.mask.any() and current.mask.any():
        keeps = bool(near[0] > near[1])
    elif sign != 0 and previous.mask.any() != current.mask.any():
        keeps = bool(previous.mask.any()) == (sign > 0)
    else:
        keeps = _favoured(judgement.preference, near) > model.manifest.threshold
    return Verdict(keeps, judgement.previous_quality if keeps else judgement.quality)


def expected_dice(mask: Mask, probability: Array) -> float:
    """The Dice that a mask would have, were each pixel object with its probability; of the same shape.

    Half-believed surroundings count against it as much as doubtful pixels inside. 0 of an empty mask.
    """
    total = int(mask.sum()) + float(probability.sum())
    return 2 * float(probability[mask].sum()) / total if total else 0.0


def tempered(quality: Array, other: Array) -> Array:
    """The geometric mean of the quality of slices and another judgement of them; (S,) each.

    Where either is NaN the quality is what it was.
    """
    both = ~(np.isnan(quality) | np.isnan(other))
    return np.where(both, np.sqrt(quality * other), quality).astype(np.float32)


def _favoured(preference: float, near: Array) -> float:
    """The preference, moved towards the mask from the nearer prompt; as it is where nobody carried one."""
    if near[0] == 0 or preference in (0, 1):
        return preference
    odds = preference / (1 - preference) * float(np.exp(FAVOUR * (near[0] - near[1])))
    return odds / (1 + odds)


def nearness(carried: NDArray[np.integer]) -> Array:
    """1 on a prompted slice, 1/2 ten slices away, 0 where nothing (-1) was carried; same shape.

    >>> nearness(np.array([0, 10, -1])).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.where(carried < 0, 0, 1 / (1 + np.maximum(carried, 0) / 10)).astype(np.float32)


def shrink(maps: Array) -> Array:
    """What the fusion network sees of a view: (..., H, W) -> (..., 128, 128).

    By averaging where the size is a multiple of 128, else by linear interpolation.
    """
    size = maps.shape[-1]
    factor, rest = divmod(size, FUSION_SIZE)
    if rest == 0:
        if factor == 1:
            return maps
        rows = np.sum([maps[..., n::factor, :] for n in range(factor)], axis=0)
        mean: Array = np.sum([rows[..., n::factor] for n in range(factor)], axis=0) / np.float32(factor**2)
        return mean
    positions = (np.arange(FUSION_SIZE) + 0.5) * size / FUSION_SIZE - 0.5
    low = np.clip(np.floor(positions).astype(int), 0, size - 2)
    share = np.clip(positions - low, 0, 1).astype(np.float32)
    rows = maps[..., low, :] * (1 - share)[:, None] + maps[..., low + 1, :] * share[:, None]
    both: Array = rows[..., low] * (1 - share) + rows[..., low + 1] * share
    return both
