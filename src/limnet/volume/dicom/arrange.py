"""From planes with places to one grid: their order, the affine, what is missing and what comes twice.

Depth is a plane's position along the slice normal, in mm. Slices count from the smallest depth on, as ITK
counts them. A gantry tilt moves slices sideways from one to the next: the affine then has a shear, and holds
exactly what the files say.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, LimNetWarning
from limnet.volume.dicom.instance import PHASE_WORDS, Plane, cross
from limnet.volume.geometry import Affine, swap_lps

SAME_PLACE_MM = 1e-3  # depths closer than this are one position
UNEVEN = 0.1  # of the spacing: how far a slice may lie from its place; files often round to 0.1 mm
TIME_WORDS = ("TriggerTime", "NominalCardiacTriggerDelayTime")
MOST_SLICES = 100_000  # a grid with more, gaps included, is not filled
NAMED = 5  # positions named in a message


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Which plane is which slice, and where the grid lies."""

    planes: tuple[Plane | None, ...]  # by k; None: no file has this slice
    affine: Affine  # voxel index to mm, RAS+
    is_placed: bool  # False: no file says where the patient was; k is the order of the files or frames


def split_phases(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Images that share positions, parted by what tells them apart (echo, time, b-value ...).

    As many parts as there are images at one position; one when nothing tells them apart.
    """
    places = _by_place(planes)
    most = max(map(len, places), default=1)
    if most == 1:
        return [list(planes)]
    words = [n for n in range(len(PHASE_WORDS)) if len({plane.phase[n] for plane in planes}) > 1]
    for chosen in (*((n,) for n in words), *combinations(words, 2)):
        parts: dict[tuple[str, ...], list[Plane]] = {}
        for plane in planes:
            parts.setdefault(tuple(plane.phase[n] for n in chosen), []).append(plane)
        if len(parts) == most and all(len(_by_place(part)) == len(part) for part in parts.values()):
            return list(parts.values())
    return _beats(places, most) or [list(planes)]


def _beats(places: Sequence[Sequence[Plane]], most: int) -> list[list[Plane]]:
    """The n-th image in time of every position: the times of a beating heart differ from slice to slice.

    Nothing when positions have not equally many images, or two of one time.
    """
    for word in TIME_WORDS:
        n = PHASE_WORDS.index(word)
        try:
            times = [{float(plane.phase[n]): plane for plane in place} for place in places]
        except ValueError:  # not said
            continue
        if all(len(place) == len(time) == most for place, time in zip(places, times, strict=True)):
            rows = [[time[t] for t in sorted(time)] for time in times]
            return [list(beat) for beat in zip(*rows, strict=True)]
    return []


def arrange(planes: Sequence[Plane], where: str, *, allow_gaps: bool = False) -> Arrangement:
    """Order planes of one size and orientation and find their affine.

    GeometryError when a position comes twice, slices are missing (unless `allow_gaps`) or unevenly spaced.
    """
    placed = [plane for plane in planes if plane.position is not None]
    if not placed:
        return _film(planes, where)
    if len(placed) < len(planes):
        raise GeometryError(
            f"{where}: {len(planes) - len(placed)} of {len(planes)} images have no position; take them out"
        )
    axes = np.array(planes[0].axes, np.float64).reshape(2, 3)  # rows: along a row, along a column
    normal = _normal(axes, where)
    positions = np.array([plane.position for plane in planes], np.float64)  # (S, 3)
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    depths, positions = depths[order], positions[order]
    _refuse_repeats(depths, where)
    indices = _indices(depths, where, allow_gaps=allow_gaps)
    step = normal * (planes[0].thickness or 1.0)
    if len(planes) > 1:
        step = (positions[-1] - positions[0]) / indices[-1]
        _refuse_strays(positions, indices, step, float(np.diff(depths).min()), where)
    spacing = planes[0].spacing or (1.0, 1.0)
    if planes[0].spacing is None:
        warnings.warn(f"{where}: no pixel spacing; pixels are taken as 1 mm", LimNetWarning, stacklevel=3)
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * spacing[1]
    affine[:3, 1] = axes[1] * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    slices: list[Plane | None] = [None] * (int(indices[-1]) + 1)
    for n, k in zip(order, indices, strict=True):
        slices[int(k)] = planes[int(n)]
    return Arrangement(tuple(slices), swap_lps(affine), True)


def _film(planes: Sequence[Plane], where: str) -> Arrangement:
    """Images without a place: in the order of the files and their frames, 1 mm apart."""
    order = sorted(planes, key=lambda plane: (plane.number, plane.path.name, plane.frame))
    spacing = order[0].spacing or (1.0, 1.0)
    edges = "edges of 1 mm" if order[0].spacing is None else "slices 1 mm apart"
    warnings.warn(
        f"{where}: no position in the patient (a film or a single picture); taken with {edges}, columns to"
        f" left and rows to posterior",
        LimNetWarning,
        stacklevel=4,
    )
    return Arrangement(tuple(order), np.diag([-spacing[1], -spacing[0], 1.0, 1.0]), False)


def _normal(axes: NDArray[np.float64], where: str) -> NDArray[np.float64]:
    """The slice normal; makes nothing up when rows and columns are not perpendicular unit vectors."""
    lengths = np.linalg.norm(axes, axis=1)
    if not np.allclose(lengths, 1, atol=1e-2) or abs(float(axes[0] @ axes[1])) > 1e-2:
        raise GeometryError(
            f"{where}: image orientation is not two perpendicular unit vectors (lengths {lengths[0]:.3g} and"
            f" {lengths[1]:.3g}); repair the files' geometry"
        )
    normal = np.cross(axes[0], axes[1])
    normal /= np.linalg.norm(normal)
    unit: NDArray[np.float64] = np.asarray(normal, np.float64)
    return unit


def _depths(planes: Sequence[Plane]) -> NDArray[np.float64]:
    axes = planes[0].axes or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    depths: NDArray[np.float64] = np.array([plane.position for plane in planes]) @ np.array(cross(axes))
    return depths


def _by_place(planes: Sequence[Plane]) -> list[list[Plane]]:
    """The planes of each position; planes without one are all apart."""
    if any(plane.position is None for plane in planes):
        return [[plane] for plane in planes]
    depths = _depths(planes)
    order = np.argsort(depths, kind="stable")
    ends = np.flatnonzero(np.diff(depths[order]) >= SAME_PLACE_MM) + 1
    return [[planes[int(n)] for n in place] for place in np.split(order, ends)]


def _refuse_repeats(depths: NDArray[np.float64], where: str) -> None:
    same = np.flatnonzero(np.diff(depths) < SAME_PLACE_MM)
    if same.size:
        raise GeometryError(
            f"{where}: more than one image at {_named(depths[same])} along the slice normal; keep one file"
            f" per position, or one time, echo or copy of the series"
        )


def _indices(depths: NDArray[np.float64], where: str, *, allow_gaps: bool) -> NDArray[np.int64]:
    """k of each slice, 0 first; numbers left out are missing slices."""
    if len(depths) == 1:
        return np.zeros(1, np.int64)
    steps = np.diff(depths)
    usual = float(np.median(steps))
    if min(steps) < usual * (1 - 2 * UNEVEN):  # a median inside a gap-ridden series, or crowded slices
        usual = float(steps.min())
    counts = np.rint(steps / usual).astype(np.int64)
    uneven = np.flatnonzero(np.abs(steps - counts * usual) > 2 * UNEVEN * usual)
    if uneven.size:
        n = int(uneven[0])
        raise GeometryError(
            f"{where}: unevenly spaced slices: {steps[n]:.4g} mm after the slice at {depths[n]:.2f} mm,"
            f" elsewhere {usual:.4g} mm; resample the series to even spacing first"
        )
    indices = np.concatenate([[0], np.cumsum(counts)])
    num_missing = int(indices[-1]) + 1 - len(depths)
    if num_missing:
        missing = [
            depths[n] + usual * m
            for n in np.flatnonzero(counts > 1)
            for m in range(1, min(counts[n], NAMED + 2))
        ]
        word = "slice is" if num_missing == 1 else "slices are"
        words = (
            f"{where}: {num_missing} {word} missing, at {_named(missing, num_missing)} along the slice normal"
        )
        if not allow_gaps:
            raise GeometryError(
                f"{words}; copy the series again, or accept empty slices there with --allow-gaps"
            )
        if indices[-1] >= MOST_SLICES:
            raise GeometryError(f"{words}; too many to fill: split the series first")
        warnings.warn(f"{words}; they are filled with background", LimNetWarning, stacklevel=4)
    return indices


def _refuse_strays(
    positions: NDArray[np.float64],
    indices: NDArray[np.int64],
    step: NDArray[np.float64],
    spacing: float,
    where: str,
) -> None:
    """Every slice must lie where the affine puts it."""
    away = np.linalg.norm(positions - (positions[0] + indices[:, None] * step), axis=1)
    worst = int(np.argmax(away))
    if away[worst] > max(UNEVEN * spacing, 0.1):
        raise GeometryError(
            f"{where}: slice {indices[worst]} lies {away[worst]:.3g} mm away from the straight, even row of"
            f" the others; resample the series to even spacing first"
        )


def _named(depths: NDArray[np.float64] | Sequence[float], count: int | None = None) -> str:
    """Some positions in words."""
    count = len(depths) if count is None else count
    words = ", ".join(f"{depth:.2f}" for depth in list(depths)[:NAMED])
    return f"{words} mm" if count <= NAMED else f"{words} ... mm ({count} positions)"
