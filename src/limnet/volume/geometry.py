"""Where voxels lie: affines from voxel index (i, j, k) to world, in mm, RAS+.

RAS+: the first world axis grows to the patient's right, the second to anterior, the third to superior.
ITK's formats (NRRD, MetaImage) count left and posterior as positive instead: LPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from limnet.errors import GeometryError

Affine = NDArray[np.float64]
Shape = tuple[int, int, int]

SMALLEST_DETERMINANT = 1e-6  # of the three unit axes: 1 when orthogonal, 0 when they lie in one plane
EQUAL_SPACING = 0.01  # spacings closer than 1 % are the same
GRID_TOLERANCE = 0.01  # corners of equal grids lie within 1 % of the smallest spacing ...
GRID_TOLERANCE_MM = 1e-3  # ... or within this, whichever is larger: headers hold float32 or rounded text


def checked_affine(affine: ArrayLike, where: str = "affine") -> Affine:
    """A read-only float64 copy of `affine`, or a GeometryError that says what is wrong with it.

    Accepted: 4 x 4, finite, last row (0, 0, 0, 1), three voxel axes of non-zero length not in one plane.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise GeometryError(f"{where}: affine of shape {matrix.shape}, must be (4, 4)")
    if not np.isfinite(matrix).all():
        raise GeometryError(f"{where}: affine holds NaN or infinite numbers; repair the file's geometry")
    if not np.array_equal(matrix[3], (0, 0, 0, 1)):
        raise GeometryError(f"{where}: last row of the affine is {matrix[3].tolist()}, must be [0, 0, 0, 1]")
    with np.errstate(all="ignore"):
        lengths = spacing_of(matrix)
        determinant = abs(np.linalg.det(matrix[:3, :3] / np.array(lengths)))
    if not (min(lengths) > 0 and np.isfinite(lengths).all() and determinant > SMALLEST_DETERMINANT):
        spacing = " x ".join(f"{length:g}" for length in lengths)
        raise GeometryError(
            f"{where}: affine is singular (voxel axes {spacing} mm long, determinant {determinant:.3g} of the"
            f" unit axes); repair the file's geometry"
        )
    matrix.setflags(write=False)
    return matrix


def spacing_of(affine: Affine) -> tuple[float, float, float]:
    """Edge lengths of a voxel in mm, in the order (i, j, k)."""
    i, j, k = (float(length) for length in np.linalg.norm(affine[:3, :3], axis=0))
    return i, j, k


def orientation_of(affine: Affine) -> tuple[str, str, str]:
    """Anatomical direction in which i, j and k grow, each the nearest of R L A P S I.

    >>> orientation_of(np.diag([-1.0, -1.0, 2.0, 1.0]))
    ('L', 'P', 'S')
    """
    unit = affine[:3, :3] / np.array(spacing_of(affine))
    left, _, right = np.linalg.svd(unit)
    cosine = left @ right  # the rotation nearest to the axes: [world, voxel]
    codes = ["", "", ""]
    strength = np.abs(cosine)
    for _ in range(3):  # the clearest pair first, so that oblique axes never share a code
        world, voxel = (int(n) for n in np.unravel_index(np.argmax(strength), (3, 3)))
        codes[voxel] = ("LR", "PA", "IS")[world][int(cosine[world, voxel] > 0)]
        strength[world, :] = strength[:, voxel] = -1
    return codes[0], codes[1], codes[2]


def sweep_axis_of(shape: Shape, spacing: Sequence[float]) -> int:
    """The axis along which slices are cut when nobody says otherwise.

    The axis of length 1 when there is exactly one (a 2D image is its own slice); else the axis of largest
    spacing; the last one among those within 1 % of it.
    """
    flat = [axis for axis in range(3) if shape[axis] == 1]
    if len(flat) == 1:
        return flat[0]
    largest = max(spacing)
    return max(axis for axis in range(3) if spacing[axis] >= largest * (1 - EQUAL_SPACING))


def to_world(affine: Affine, index: ArrayLike) -> NDArray[np.float64]:
    """World position in mm, RAS+, of voxel indices (..., 3); fractions lie between voxel centres.

    >>> to_world(np.diag([2.0, 2.0, 5.0, 1.0]), (1, 0, 3))
    array([ 2.,  0., 15.])
    """
    return np.asarray(index, dtype=np.float64) @ affine[:3, :3].T + affine[:3, 3]


def to_index(affine: Affine, world: ArrayLike) -> NDArray[np.float64]:
    """Voxel index (..., 3), with fractions, of world positions (..., 3) in mm, RAS+."""
    offset = np.asarray(world, dtype=np.float64) - affine[:3, 3]
    return offset @ np.linalg.inv(affine[:3, :3]).T


def swap_lps(affine: Affine) -> Affine:
    """LPS affine to RAS, or back: the first two world axes change sign."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine + 0.0  # + 0.0 turns -0.0 into 0.0


def affine_from_axes(axes: ArrayLike, origin: ArrayLike) -> Affine:
    """Affine (4, 4) from voxel edges in mm and the first voxel's centre, all in one world system.

    `axes` is (2 or 3, 2 or 3): one row per array axis, one column per world axis; `origin` is (2 or 3,).
    A 2D image has no thickness: its third axis is 1 mm along the normal.
    """
    edges, start = np.asarray(axes, dtype=np.float64), np.asarray(origin, dtype=np.float64)
    affine = np.eye(4)
    rank, space = edges.shape
    affine[:space, :rank] = edges.T
    affine[:space, 3] = start
    if (rank, space) == (2, 3):
        with np.errstate(all="ignore"):
            normal = np.cross(edges[0], edges[1])
            affine[:3, 2] = normal / np.linalg.norm(normal)
    return affine


def grid_difference(affine: Affine, other: Affine, shape: Shape) -> str | None:
    """How two affines differ on a grid of `shape`, in words, or None when they are the same.

    Same means: every corner voxel of the grid lies in the same place, within 1 % of the smallest spacing
    or 0.001 mm, whichever is larger.
    """
    corners = np.array(list(product(*((0, length - 1) for length in shape))))  # (8, 3)
    apart = float(np.linalg.norm(to_world(affine, corners) - to_world(other, corners), axis=1).max())
    allowed = max(GRID_TOLERANCE_MM, GRID_TOLERANCE * min(spacing_of(affine)))
    rotated = np.abs(affine[:3, :3] - other[:3, :3]).max() > GRID_TOLERANCE * min(spacing_of(affine))
    if apart <= allowed and not rotated:
        return None
    if orientation_of(affine) != orientation_of(other):
        one, two = ("".join(orientation_of(a)) for a in (affine, other))
        return f"orientation {one} against {two}"
    if not np.allclose(spacing_of(affine), spacing_of(other), rtol=1e-3):
        one, two = (" x ".join(f"{edge:g}" for edge in spacing_of(a)) for a in (affine, other))
        return f"spacing {one} against {two} mm"
    return f"corners up to {apart:.4g} mm apart"
