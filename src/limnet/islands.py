"""Islands: what a negative prompt cuts off from every prompted slice goes with it (decisions/0030).

```
            prompted    ✕ negative                     prompted
   object ██████|███████ ▓▓▓▓▓▓▓▓ leak    ─►    ██████|███████
```
A slice that a negative click empties, or a neck that it cuts, parts a leak from the object. What lies beyond
has no prompt that speaks for it, and nobody wants to click on every piece of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.crossing import Found
from limnet.fusion import Round
from limnet.law import Placed
from limnet.lens import slice_of
from limnet.prompt import Voxel, in_plane, voxel_of
from limnet.sweep import Task

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


class Anchor(NamedTuple):
    """A prompted slice, as a plane of a block."""

    axis: int
    position: int


def without_islands(
    done: Round, task: Task, extent: tuple[Voxel, Voxel] | None, prompts: Iterable[Placed]
) -> dict[int, Mask]:
    """The slices (h, w), by index along the round's axis, that lose an island.

    Only in rounds that only take away, with fusion. `extent` is what the mask filled before, `prompts` are
    all of the session, this round's too. A mask that was given holds what nobody prompted: after one nothing
    is lost.
    """
    if not task.fusion or task.sign >= 0 or not all(former.prompts for former in task.rounds):
        return {}
    found = Found.of(task.mask, extent, done.change)
    if found is None:
        return {}
    axis, slices = done.axis, dict[int, Mask]()
    (top, left), (bottom, right) = (in_plane(corner, axis) for corner in found.box)
    for position, island in islands(found.mask, axis, _anchors(found, prompts)).items():
        index = found.low[axis] + position
        slices[index] = found.slice_at(axis, index, voxel_of(task.mask.shape))
        slices[index][top:bottom, left:right] &= ~island
    return slices


def _anchors(found: Found, prompts: Iterable[Placed]) -> list[Anchor]:
    """The prompted slices that meet the object's box."""
    anchors = {Anchor(placed.axis, placed.index - found.low[placed.axis]) for placed in prompts}
    return sorted(anchor for anchor in anchors if 0 <= anchor.position < found.mask.shape[anchor.axis])


def islands(block: Mask, axis: int, anchors: Sequence[Anchor]) -> dict[int, Mask]:
    """The voxels of a block (i, j, k) from which no path of faces leads to an anchor.

    By position along `axis`, each as a mask (h, w) of what is cut off there. Nothing, when no anchor holds
    anything: then nothing is known. Slices are labelled one at a time, so memory is that of a few of them.
    """
    from scipy.sparse import coo_array  # slow to import; a first round never comes here
    from scipy.sparse.csgraph import connected_components

    edges, num_nodes = [np.zeros((2, 0), np.int64)], 1  # node 0 is whatever is anchored
    former: Labels | None = None
    for position, nodes in _pieces(block, axis):
        num_nodes = max(num_nodes, int(nodes.max()) + 1)
        anchored = _anchored(nodes, axis, position, anchors)
        edges.append(np.stack([np.zeros_like(anchored), anchored]))
        if former is not None:
            both = (former > 0) & (nodes > 0)
            met = np.stack([former[both], nodes[both]]).astype(np.int64)
            is_new = np.append(True, (met[:, 1:] != met[:, :-1]).any(0))[: met.shape[1]]
            edges.append(met[:, is_new])  # once per run of pixels: sorting them all takes ten times as long
        former = nodes
    ends = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(ends.shape[1], bool), (ends[0], ends[1])), shape=(num_nodes, num_nodes))
    whole = connected_components(graph, directed=False)[1]  # (nodes,)
    is_cut_off = whole != whole[0]
    if not (ends[0] == 0).any() or not is_cut_off.any():
        return {}
    found = {position: is_cut_off[nodes] for position, nodes in _pieces(block, axis)}
    return {position: mask for position, mask in found.items() if mask.any()}


def _pieces(block: Mask, axis: int) -> Iterator[tuple[int, Labels]]:
    """The pieces of every slice (h, w), numbered through all slices from 1; 0 is background."""
    from scipy import ndimage

    count = 0
    for position in range(block.shape[axis]):
        labels, number = ndimage.label(slice_of(block, axis, position))
        yield position, np.where(labels > 0, labels + count, 0)
        count += number


def _anchored(nodes: Labels, axis: int, position: int, anchors: Sequence[Anchor]) -> NDArray[np.int64]:
    """The pieces of a slice (h, w) that an anchor holds."""
    held = [np.zeros(1, np.int64)]  # background, left out below
    for anchor in anchors:
        if anchor.axis != axis:
            row_or_column = anchor.axis - (anchor.axis > axis)
            held.append(np.unique(nodes.take([anchor.position], row_or_column)))
        elif anchor.position == position:
            held.append(np.unique(nodes))
    return np.unique(np.concatenate(held))[1:]
