"""Masks of slices as closed polygons, and polygons as masks.

A contour runs midway between the centres of pixels inside and outside, cutting corners, as marching squares
at level 1/2 does. It is never more than half a pixel from the edge of the mask, and filling it by pixel
centres (even-odd) gives back the mask exactly. Pixels that touch only at a corner are apart. A hole is joined
to its outline by a channel of no width (keyhole), so that one polygon is one region whatever a reader thinks
of holes.
Points are (row, column), pixel centres at whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Polygon = NDArray[np.float64]  # (N, 2)
Corner = tuple[int, int]

MOST_CROSSINGS = 1 << 22  # of edges and rows, computed at once


def contours_of(mask: Mask) -> list[Polygon]:
    """The closed outlines (N, 2) of a mask (h, w), holes joined to them; none of an empty mask."""
    loops = _loops(mask)
    outlines = [loop for loop in loops if _area(loop) > 0]
    holes = [loop for loop in loops if _area(loop) < 0]
    if not holes:
        return [_straightened(outline) for outline in outlines]
    owned: list[list[Polygon]] = [[] for _ in outlines]
    for hole in holes:
        inside = [n for n, outline in enumerate(outlines) if _contains(outline, hole[0])]
        owned[min(inside, key=lambda n: _area(outlines[n]))].append(hole)
    return [_straightened(_with_holes(outline, own)) for outline, own in zip(outlines, owned, strict=True)]


def filled(polygons: Iterable[Polygon], shape: tuple[int, int]) -> Mask:
    """The pixels (h, w) whose centres lie inside an odd number of polygons."""
    height, width = shape
    turns = np.zeros(height * (width + 1), np.int64)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        first = np.clip(np.ceil(np.minimum(start[:, 0], end[:, 0])), 0, height).astype(np.int64)
        last = np.clip(np.ceil(np.maximum(start[:, 0], end[:, 0])), 0, height).astype(np.int64)
        counts = last - first  # rows each edge crosses
        stops = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum() + 1, MOST_CROSSINGS), "right")
        for a, b in zip(stops, [*stops[1:], len(counts)], strict=True):
            some = np.repeat(np.arange(a, b), counts[a:b])  # (M,) an edge per crossing
            if not some.size:
                continue
            before = np.repeat(np.cumsum(counts[a:b]) - counts[a:b], counts[a:b])
            rows = first[some] + np.arange(some.size) - before
            slope = (end[some, 1] - start[some, 1]) / (end[some, 0] - start[some, 0])
            columns = start[some, 1] + (rows - start[some, 0]) * slope
            columns = np.clip(np.ceil(columns), 0, width).astype(np.int64)
            turns += np.bincount(rows * (width + 1) + columns, minlength=turns.size)
    return (np.cumsum(turns.reshape(height, width + 1), axis=1)[:, :width] & 1).astype(bool)


def _loops(mask: Mask) -> list[Polygon]:
    """Outlines and holes as midpoints of pixel edges, the mask always to the right of the way."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    sides = (  # (no neighbour there, start corner, way): top, right, bottom, left of a pixel
        (inside & ~padded[:-2, 1:-1], (0, 0), (0, 1)),
        (inside & ~padded[1:-1, 2:], (0, 1), (1, 0)),
        (inside & ~padded[2:, 1:-1], (1, 1), (0, -1)),
        (inside & ~padded[1:-1, :-2], (1, 0), (-1, 0)),
    )
    ways: dict[Corner, list[Corner]] = {}
    for edges, (down, across), side in sides:
        for row, column in np.argwhere(edges).tolist():
            ways.setdefault((row + down, column + across), []).append(side)
    loops = []
    while ways:
        corner = start = next(iter(ways))
        way = ways[corner][0]
        points: list[tuple[float, float]] = []
        while True:
            _leave(ways, corner, way)
            points.append((corner[0] + way[0] / 2 - 0.5, corner[1] + way[1] / 2 - 0.5))
            corner = (corner[0] + way[0], corner[1] + way[1])
            onward, right = ways.get(corner, []), (way[1], -way[0])
            if right in onward:  # at a corner that two pixels share, stay with the same pixel
                way = right
            elif onward and corner != start:
                way = onward[0]
            else:
                break  # the first edge, used up, would come next
        loops.append(np.array(points))
    return loops


def _leave(ways: dict[Corner, list[Corner]], corner: Corner, way: Corner) -> None:
    """Use up one edge."""
    ways[corner].remove(way)
    if not ways[corner]:
        del ways[corner]


def _area(loop: Polygon) -> float:
    """Positive round an outline, negative round a hole."""
    rows, columns = loop.T
    return float(np.sum(columns * np.roll(rows, -1) - np.roll(columns, -1) * rows)) / 2


def _contains(polygon: Polygon, point: NDArray[np.float64]) -> bool:
    """Whether a point off the outline lies inside."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    crossed = (start[:, 0] <= point[0]) != (end[:, 0] <= point[0])
    a, b = start[crossed], end[crossed]
    columns = a[:, 1] + (point[0] - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
    return bool(np.count_nonzero(columns > point[1]) % 2)


def _with_holes(outline: Polygon, holes: list[Polygon]) -> Polygon:
    """One polygon; each hole is reached from its topmost point along its row to the right.

    Topmost first: what such a row meets can only be the outline or a hole already joined. The row lies
    between pixel centres.
    """
    for hole in sorted(holes, key=lambda h: (h[:, 0].min(), -h[h[:, 0] == h[:, 0].min(), 1].max())):
        top = np.flatnonzero(hole[:, 0] == hole[:, 0].min())
        at = int(top[np.argmax(hole[top, 1])])
        row, column = hole[at]
        edge, meeting = _first_meeting(outline, row, column)
        way = np.roll(hole, -at, axis=0)
        bridge = np.array([[row, meeting]])
        outline = np.concatenate([outline[: edge + 1], bridge, way, way[:1], bridge, outline[edge + 1 :]])
    return outline


def _first_meeting(polygon: Polygon, row: float, column: float) -> tuple[int, float]:
    """(edge, column) where a row first meets a polygon to the right of `column`."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    touched = np.flatnonzero((low <= row) & (high >= row))
    a, b = start[touched], end[touched]
    rise = b[:, 0] - a[:, 0]
    share = np.where(rise == 0, 0, (row - a[:, 0]) / np.where(rise == 0, 1, rise))
    columns = a[:, 1] + share * (b[:, 1] - a[:, 1])
    columns = np.where(columns > column, columns, np.inf)
    best = int(np.argmin(columns))
    return int(touched[best]), float(columns[best])


def _straightened(polygon: Polygon) -> Polygon:
    """Without the points in the middle of straight runs."""
    before = polygon - np.roll(polygon, 1, axis=0)
    after = np.roll(polygon, -1, axis=0) - polygon
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    back = (before * after).sum(1) <= 0  # the end of a channel
    kept = polygon[(turn != 0) | back]
    return kept if len(kept) >= 3 else polygon
