"""The label map of several objects: whose each voxel is, kept up to date where something changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.fusion import Round
from limnet.history import History, Prompted, num_shared
from limnet.prompt import Voxel, voxel_of

Labels = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.bool_]
Box = tuple[Voxel, Voxel]  # first voxel, and the one after the last


@dataclass(frozen=True, eq=False)
class Layer:
    """An object as the label map sees it."""

    id: int  # at least 1
    locked: bool
    history: History
    age: Callable[[Prompted | Round], int]  # the larger, the newer


class Seen(NamedTuple):
    """What of a layer the map already holds."""

    locked: bool
    rounds: tuple[Round, ...]
    pending: tuple[Prompted, ...]


class LabelMap:
    """Labels (I, J, K) of the layers last given to `update`."""

    def __init__(self, shape: Voxel) -> None:
        self.shape = shape
        self._labels: Labels = np.zeros(shape, np.uint8)
        self._seen: dict[int, Seen] = {}
        self._newest = True

    def update(self, layers: Sequence[Layer], newest: bool) -> Labels:
        """The labels of `layers`; a copy.

        Where several claim a voxel, locked ones come before others, then the one whose prompt or round
        claimed it last, or with `newest` off first.
        """
        now = {it.id: Seen(it.locked, it.history.rounds, it.history.pending) for it in layers}
        boxes = self._changed(now, newest)
        if max(now, default=0) > 255:
            self._labels = self._labels.astype(np.uint16, copy=False)
        for low, high in boxes:
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            self._labels[box] = labels_in((low, high), layers, newest, self._labels.dtype)
        self._seen, self._newest = now, newest
        return self._labels.copy()

    def _changed(self, now: dict[int, Seen], newest: bool) -> list[Box]:
        """Boxes outside of which all is as it was."""
        boxes: list[Box] = []
        nothing = Seen(False, (), ())
        for number in self._seen.keys() | now.keys():
            old, new = self._seen.get(number, nothing), now.get(number, nothing)
            whole = old.locked != new.locked or newest != self._newest
            boxes += self._between(nothing if whole else old, new)
            boxes += self._between(old, nothing) if whole else []
        if len(boxes) > 1:
            around = voxel_of(np.min([b[0] for b in boxes], 0)), voxel_of(np.max([b[1] for b in boxes], 0))
            if _size(around) <= sum(map(_size, boxes)):
                return [around]
        return boxes

    def _between(self, old: Seen, new: Seen) -> list[Box]:
        """Boxes that hold all that differs between two states of a layer."""
        shared = num_shared(old.rounds, new.rounds)
        boxes = [done.change.box for done in (*old.rounds[shared:], *new.rounds[shared:])]
        shared = num_shared(old.pending, new.pending)
        boxes += [self._slice_box(given) for given in (*old.pending[shared:], *new.pending[shared:])]
        return [box for box in boxes if _size(box)]

    def _slice_box(self, given: Prompted) -> Box:
        low, high = [0, 0, 0], list(self.shape)
        low[given.axis], high[given.axis] = given.slice_index, given.slice_index + 1
        return voxel_of(low), voxel_of(high)


def labels_in(box: Box, layers: Sequence[Layer], newest: bool, dtype: np.dtype) -> Labels:
    """The labels of a box, from the layers' masks."""
    low, high = box
    shape = tuple(b - a for a, b in zip(low, high, strict=True))
    labels, claims = np.zeros(shape, dtype), np.zeros(shape, np.uint16)
    parts = [(layer, layer.history.part(low, high) > 0) for layer in layers]
    for layer, part in parts:
        labels[part] = layer.id
        claims += part
    places = np.nonzero(claims > 1)
    if places[0].size:
        voxels = np.stack(places, axis=1) + low  # (N, 3)
        best = np.full(len(voxels), -1, np.int64)
        for layer, part in parts:
            age = claim_ages(layer, voxels)  # (N,)
            rank = (age if newest else RANKS - age) + 2 * RANKS * layer.locked
            wins = part[places] & (rank > best)
            best[wins] = rank[wins]
            labels[tuple(along[wins] for along in places)] = layer.id
    return labels


RANKS = 2**40  # more than there will be prompts and rounds


def claim_ages(layer: Layer, voxels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The age of the prompt or round by which each of the voxels (N, 3) became the layer's, (N,).

    0 where it is not the layer's.
    """
    held, ages = np.zeros(len(voxels), bool), np.zeros(len(voxels), np.int64)
    for done in layer.history.rounds:
        flipped = done.change.flips(voxels)
        held ^= flipped
        ages[flipped] = layer.age(done)
    for given in layer.history.pending:
        here = np.flatnonzero(voxels[:, given.axis] == given.slice_index)
        rows, columns = np.delete(voxels[here], given.axis, axis=1).T
        now = given.mask[rows, columns]
        ages[here[now & ~held[here]]] = layer.age(given)
        held[here] = now
    return ages * held


def _size(box: Box) -> int:
    return int(np.prod(np.subtract(box[1], box[0])))
