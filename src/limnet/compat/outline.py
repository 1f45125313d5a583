"""Lines through a mask of one slice: one that visits every pixel, one that goes around it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Pixel = tuple[int, int]

AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))  # clockwise, rows downwards


def walk(piece: Mask) -> list[Pixel]:
    """A path through every pixel of a connected piece (h, w) and no other: the points where it turns.

    From pixel to touching pixel, straight on where it can, back the way it came at a dead end.

    >>> walk(np.array([[0, 1, 0], [1, 1, 1]], bool))
    [(0, 1), (1, 2), (1, 0)]
    """
    left = {(int(row), int(column)) for row, column in np.argwhere(piece)}
    trail = [min(left)]
    left.discard(trail[0])
    path, ahead = [trail[0]], 0
    while left and trail:
        row, column = trail[-1]
        for turn in (0, 1, -1, 2, -2, 3, -3, 4):
            direction = (ahead + turn) % 8
            pixel = (row + AROUND[direction][0], column + AROUND[direction][1])
            if pixel in left:
                left.discard(pixel)
                trail.append(pixel)
                path.append(pixel)
                ahead = direction
                break
        else:
            trail.pop()
            path += trail[-1:]
    return _turns(path)


def outline(piece: Mask) -> list[Pixel]:
    """The outer pixels of a connected piece (h, w) in order around it: the points where that line turns.

    Moore's neighbour tracing, clockwise, until the first step would be made again. Filled, it gives a piece
    without holes exactly.

    >>> outline(np.ones((3, 4), bool))
    [(0, 0), (0, 3), (2, 3), (2, 0)]
    """
    inside = np.pad(piece, 1)
    row, column = (int(n) for n in np.argwhere(inside)[0])  # nothing above it, nothing to its left
    start, came, first = (row, column), 5, None
    path = [start]
    here = start
    while True:
        for turn in range(8):
            direction = (came + turn) % 8
            pixel = (here[0] + AROUND[direction][0], here[1] + AROUND[direction][1])
            if inside[pixel]:
                break
        else:
            return [(row - 1, column - 1)]  # a single pixel
        if (here, direction) == first:
            break
        first = first or (here, direction)
        path.append(pixel)
        here, came = pixel, (direction + 6) % 8 if direction % 2 == 0 else (direction + 5) % 8
    corners = _turns(path)
    return [(r - 1, c - 1) for r, c in (corners[:-1] if corners[-1] == corners[0] else corners)]


def _turns(path: Iterable[Pixel]) -> list[Pixel]:
    """A path without the points between which it goes straight on."""
    kept: list[Pixel] = []
    for pixel in path:
        if len(kept) > 1 and _step(kept[-2], kept[-1]) == _step(kept[-1], pixel):
            kept.pop()
        kept.append(pixel)
    return kept


def _step(start: Pixel, end: Pixel) -> Pixel:
    """The direction of a straight line along a row, a column or a diagonal."""
    return int(np.sign(end[0] - start[0])), int(np.sign(end[1] - start[1]))
