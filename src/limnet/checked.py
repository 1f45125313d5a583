"""What a caller says of voxels, checked: whole numbers, inside the volume, in one slice if they must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index as as_integer

from limnet.errors import PromptError
from limnet.prompt import Voxel


def checked_voxel(index: Voxel, shape: Voxel, what: str) -> Voxel:
    """`index` as three whole numbers (i, j, k) inside `shape`; PromptError, which calls it `what`."""
    try:
        i, j, k = (as_integer(n) for n in index)
    except (TypeError, ValueError):
        raise PromptError(f"{what} {index!r}: expected three whole numbers (i, j, k)") from None
    if not all(0 <= n < length for n, length in zip((i, j, k), shape, strict=True)):
        raise PromptError(
            f"{what} {(i, j, k)} lies outside the volume of shape {shape}:"
            f" indices are (i, j, k) and start at 0"
        )
    return i, j, k


def checked_points(points: Iterable[Voxel], shape: Voxel, what: str, fewest: int) -> tuple[Voxel, ...]:
    """At least `fewest` voxels, each as `checked_voxel` wants it."""
    found = tuple(checked_voxel(point, shape, f"{what} point") for point in points)
    if len(found) < fewest:
        raise PromptError(f"{what} of {len(found)} points: expected at least {fewest}")
    return found


def flat_axes(corners: Sequence[Voxel]) -> list[int]:
    """The axes along which all voxels lie in one slice.

    >>> flat_axes([(1, 2, 5), (3, 2, 5)])
    [1, 2]
    """
    return [axis for axis in range(3) if len({corner[axis] for corner in corners}) == 1]
