"""The law: what prompts decree about voxels, whatever networks say; later prompts overrule earlier ones.

Points (clicks and the voxels of scribbles) hold on every slice they lie on, whatever its axis. Areas rule
the slice they were drawn on, and the lines in which slices of other axes cross it:

| prompt | decrees | until a later prompt of its slice |
|---|---|---|
| positive box | nothing outside it, or outside all of several that do not overlap | is positive outside |
| negative box, negative lasso | nothing inside | is positive inside |
| painted slice | the whole slice | says otherwise of one of its voxels |

A positive lasso decrees nothing: it lifts what was decreed inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.interaction import PlaneClick, obey
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, Scribble, fill, in_plane, slice_index, trace
from limnet.view import View

Mask = NDArray[np.bool_]
Rule = NDArray[np.int8]  # of a voxel: 1 object, -1 background, 0 whatever the networks say


@dataclass(frozen=True)
class Placed:
    """A prompt, and the axis along which its slice is cut."""

    axis: int
    prompt: Prompt

    @property
    def index(self) -> int:
        """Of its slice along the axis."""
        return slice_index(self.prompt, self.axis)


class Decree(NamedTuple):
    """What the areas of one slice decree."""

    rule: Rule  # (h, w)
    number: NDArray[np.int32]  # (h, w), of the prompt whose rule it is


def area_of(prompt: Box | Lasso, axis: int, shape: tuple[int, int]) -> Mask:
    """What a box or a lasso holds of its slice (h, w)."""
    corners = [in_plane(corner, axis) for corner in prompt.corners]
    if isinstance(prompt, Lasso):
        return fill(corners, shape)
    area = np.zeros(shape, bool)
    (top, left), (bottom, right) = corners
    area[top : bottom + 1, left : right + 1] = True
    return area


def points_of(placed: Placed) -> list[PlaneClick]:
    """The voxels of a click or scribble in its own plane, in drawing order; none of other prompts."""
    axis, prompt = placed.axis, placed.prompt
    if isinstance(prompt, Click):
        return [PlaneClick.of(prompt, axis)]
    if isinstance(prompt, Scribble):
        traced = trace([in_plane(point, axis) for point in prompt.points])
        return [PlaneClick(row, column, prompt.positive) for row, column in traced]
    return []


class Law:
    """What `prompts`, in the order in which they were given, decree in a volume of `shape`."""

    def __init__(self, prompts: Sequence[Placed], shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._prompts = tuple(prompts)
        self._points = [
            (number, click) for number, placed in enumerate(prompts) for click in clicks_of(placed)
        ]
        self._slices: dict[int, dict[int, list[tuple[int, Click]]]] = {}  # the points of each, by axis
        self._standing: dict[tuple[int, int], list[PlaneClick]] = {}  # what `points_on` found
        self._decrees: dict[tuple[int, int], Decree] = {}
        areas = {(p.axis, p.index) for p in prompts if not isinstance(p.prompt, Click | Scribble)}
        self._areas: dict[tuple[int, int], list[int]] = {
            area: [] for area in areas
        }  # numbers of their prompts
        for number, placed in enumerate(prompts):
            if (placed.axis, placed.index) in areas:
                self._areas[placed.axis, placed.index].append(number)

    def points_on(self, axis: int, index: int) -> list[PlaneClick]:
        """The points of a slice that no later area overruled, in order."""
        if axis not in self._slices:
            self._slices[axis] = {}
            for number, click in self._points:
                self._slices[axis].setdefault(click.index[axis], []).append((number, click))
        if (axis, index) not in self._standing:
            here = self._slices[axis].get(index, [])
            self._standing[axis, index] = [PlaneClick.of(c, axis) for n, c in here if self._stands(n, c)]
        return self._standing[axis, index]

    def enforce(self, mask: Mask, axis: int, index: int, view: View) -> Mask:
        """The mask (h, w) of a slice as the law wants it: a new array.

        Around a point that the mask did not follow, the voxels within one pixel of the view follow too.
        """
        points = self.points_on(axis, index)
        rule = self._rule_on(axis, index)
        if rule is None:
            return obey(mask, points, view)
        out = _ruled(obey(_ruled(mask, rule), points, view), rule)
        for point in points:
            out[point.row, point.column] = point.positive
        return out

    def _rule_on(self, axis: int, index: int) -> Rule | None:
        """What areas decree on a slice (h, w): its own, over those of slices that cross it; None: nothing."""
        rule = None
        for across, position in self._areas:
            if across != axis:
                line = _line(self._decree(across, position).rule, across, axis, index)
                if line.any():
                    rule = np.zeros(self._plane_shape(axis), np.int8) if rule is None else rule
                    target = np.moveaxis(rule, across - (across > axis), 0)[position]
                    target[line != 0] = line[line != 0]
        if (axis, index) in self._areas:
            own = self._decree(axis, index).rule
            rule = own if rule is None else np.where(own != 0, own, rule)
        return rule

    def _stands(self, number: int, click: Click) -> bool:
        """Whether no later area says the opposite of a point."""
        for axis, index in self._areas:
            if click.index[axis] == index:
                decree, place = self._decree(axis, index), in_plane(click.index, axis)
                wanted = 1 if click.positive else -1
                if decree.rule[place] == -wanted and decree.number[place] > number:
                    return False
        return True

    def _decree(self, axis: int, index: int) -> Decree:
        if (axis, index) not in self._decrees:
            numbers = self._areas[axis, index]
            here = [(number, self._prompts[number]) for number in numbers]
            self._decrees[axis, index] = _decree(here, self._plane_shape(axis))
        return self._decrees[axis, index]

    def _plane_shape(self, axis: int) -> tuple[int, int]:
        return in_plane(self.shape, axis)


def _decree(prompts: Sequence[tuple[int, Placed]], shape: tuple[int, int]) -> Decree:
    """What the prompts of one slice decree, with their numbers, in order."""
    rule, owner = np.zeros(shape, np.int8), np.full(shape, -1, np.int32)
    boxes: dict[int, Mask] = {}  # positive ones that hold

    def lift(number: int) -> None:
        rule[owner == number] = 0

    for number, placed in prompts:
        axis, prompt = placed.axis, placed.prompt
        if isinstance(prompt, Painted):
            rule[...], owner[...] = np.where(prompt.mask, 1, -1), number
            boxes.clear()
        elif isinstance(prompt, Click | Scribble):
            points = points_of(placed)
            rows, columns = [p.row for p in points], [p.column for p in points]
            against = rule[rows, columns] == (-1 if prompt.positive else 1)
            for contradicted in np.unique(owner[rows, columns][against]):
                lift(contradicted)
                if contradicted in boxes:
                    boxes.clear()
        else:
            area = area_of(prompt, axis, shape)
            rule[area], owner[area] = (0 if prompt.positive else -1), number
            if isinstance(prompt, Box) and prompt.positive:
                for former in list(boxes):
                    lift(former)
                    if (boxes[former] & area).any():
                        del boxes[former]
                boxes[number] = area
                outside = ~np.logical_or.reduce(list(boxes.values()))
                rule[outside], owner[outside] = -1, number
    return Decree(rule, owner)


@lru_cache(maxsize=1024)
def clicks_of(placed: Placed) -> tuple[Click, ...]:
    """The voxels of a click or scribble, in drawing order; none of other prompts."""
    axis, index, prompt = placed.axis, placed.index, placed.prompt
    if isinstance(prompt, Click):
        return (prompt,)
    clicks = []
    for point in points_of(placed):
        voxel = [point.row, point.column]
        voxel.insert(axis, index)
        i, j, k = voxel
        clicks.append(Click((i, j, k), point.positive))
    return tuple(clicks)


def _line(rule: Rule, across: int, axis: int, index: int) -> Rule:
    """The line that the slice `index` along `axis` shares with a slice along `across`, whose rule it is."""
    line: Rule = np.take(rule, index, axis - (axis > across))
    return line


def _ruled(mask: Mask, rule: Rule) -> Mask:
    ruled: Mask = (mask & (rule >= 0)) | (rule > 0)
    return ruled
