"""A structure: one object's mask on a volume's grid, with name, colour and meaning, as files keep it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limnet.errors import LimNetWarning, OutputError

Mask = NDArray[np.bool_]

COLOURS = (  # Paul Tol's "bright" scheme, told apart by people with any colour vision
    *("#ee6677", "#4477aa", "#ccbb44", "#228833", "#66ccee", "#aa3377"),
)


@dataclass(frozen=True, eq=False)
class Structure:
    """What one object is called, looks like, means, and where it is.

    Only the box around it is kept: a hundred structures of one scan fit into memory.
    """

    name: str
    shape: tuple[int, int, int]  # (I, J, K) of the volume
    low: tuple[int, int, int]  # first voxel of the box
    block: Mask  # the mask inside the box
    colour: str = COLOURS[0]  # "#rrggbb"
    anatomy: str = ""  # a name in dicom/anatomy.py; "" not said

    @classmethod
    def of(
        cls, name: str, mask: NDArray[np.generic], colour: str = COLOURS[0], anatomy: str = ""
    ) -> Structure:
        """From a mask (I, J, K): what is not 0 belongs to it."""
        i, j, k = mask.shape
        where = np.flatnonzero(mask)
        return cls.at(name, where, (i, j, k), colour, anatomy)

    @classmethod
    def at(
        cls,
        name: str,
        where: NDArray[np.int64],
        shape: tuple[int, int, int],
        colour: str = COLOURS[0],
        anatomy: str = "",
    ) -> Structure:
        """From the positions (N,) of its voxels in the flat volume, C order."""
        if not where.size:
            return cls(name, shape, (0, 0, 0), np.zeros((0, 0, 0), bool), colour, anatomy)
        axes = np.unravel_index(where, shape)
        low = tuple(int(axis.min()) for axis in axes)
        block = np.zeros([int(axis.max()) + 1 - a for axis, a in zip(axes, low, strict=True)], bool)
        block[tuple(axis - a for axis, a in zip(axes, low, strict=True))] = True
        return cls(name, shape, (low[0], low[1], low[2]), block, colour, anatomy)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the block lies in the volume."""
        i, j, k = (slice(a, a + n) for a, n in zip(self.low, self.block.shape, strict=True))
        return i, j, k

    @property
    def mask(self) -> Mask:
        """The whole mask (I, J, K)."""
        mask = np.zeros(self.shape, bool)
        mask[self.box] = self.block
        return mask

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise OutputError(f"colour {self.colour!r} of {self.name!r}: expected #rrggbb, such as #ee6677")
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red, green, blue


def colour_of(number: int) -> str:
    """The colour of the n-th structure, from 0, when nobody chose one."""
    return COLOURS[number % len(COLOURS)]


def hex_colour(rgb: Sequence[float]) -> str:
    """Red, green and blue, 0 to 255, as "#rrggbb".

    >>> hex_colour((230, 25, 75))
    '#e6194b'
    """
    return "#" + bytes(int(min(255, max(0, round(part)))) for part in rgb).hex()


def labels_of(structures: Sequence[Structure]) -> NDArray[np.uint16]:
    """One label map (I, J, K): 1 for the first structure, 2 for the second ...; 0 elsewhere.

    Where two overlap the later one has the voxel, with a LimNetWarning. OutputError without structures.
    """
    if not structures:
        raise OutputError("nothing to write: no structure; segment one first")
    labels = np.zeros(structures[0].shape, np.uint16)
    shared = 0
    for number, structure in enumerate(structures, start=1):
        part = labels[structure.box]
        shared += int(np.count_nonzero(part[structure.block]))
        part[structure.block] = number
    if shared:
        warnings.warn(
            f"{shared:,} voxels belong to several structures; a label map gives each to the last of them",
            LimNetWarning,
            stacklevel=3,
        )
    return labels


def do_overlap(structures: Sequence[Structure]) -> bool:
    """Whether any voxel belongs to two of them."""
    if not structures:
        return False
    seen = np.zeros(structures[0].shape, bool)
    for structure in structures:
        part = seen[structure.box]
        if (part & structure.block).any():
            return True
        part |= structure.block
    return False
