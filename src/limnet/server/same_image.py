"""The annotation in which a user has an image already, whatever program opened or sent it.

Viewers send the voxels of a file and differ in what else they say: everything (ITK-SNAP), spacing alone
(nnInteractive's clients) or nothing (older Slicer plugins); some send floats where the file holds integers.
Voxels that are equal in value and order are one image unless what was said of its grid contradicts that, so
that work goes on where another program began it, with the directions that the best of them knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from limnet.errors import LimNetError
from limnet.journal.facts import voxels_sha256
from limnet.server.record import Facts
from limnet.server.room import Room
from limnet.volume import Volume
from limnet.volume.geometry import grid_difference

Said = Literal["nothing", "spacing", "place"]  # of the image's grid

SAME_SPACING = 1e-3  # relative; headers hold float32 or rounded text


def reopen_same(room: Room, user: str, volume: Volume, said: Said, but: str = "") -> str | None:
    """The id of the user's annotation of this image, opened again if need be; None when there is none.

    Of several the one opened last, never `but`. One whose file has changed or is gone is passed over.
    """
    for volume_id in _same(room, user, volume, said):
        if volume_id == but:
            continue
        was_closed = room.workspace.find(user, volume_id).record.is_closed
        try:
            room.workspace.reopen(user, volume_id)
        except LimNetError:  # its file is not what it was; whoever opens it is told
            if was_closed:
                room.workspace.close(user, volume_id)
            continue
        return volume_id
    return None


def _same(room: Room, user: str, volume: Volume, said: Said) -> Iterator[str]:
    digests: dict[str, str] = {}  # by type of voxel
    for slot in room.workspace.list(user):
        facts = slot.record.facts
        if facts.is_rgb != volume.is_rgb or not _may_be(facts, volume, said):
            continue
        if facts.dtype not in digests:
            digests[facts.dtype] = _digest_as(volume, facts.dtype)
        if digests[facts.dtype] == slot.record.sha256:
            yield slot.record.id


def _may_be(facts: Facts, volume: Volume, said: Said) -> bool:
    """Whether the grid is not another one, as far as it was said."""
    if facts.shape != volume.shape:
        return False
    if said == "place":
        return grid_difference(np.array(facts.affine), volume.affine, facts.shape) is None
    return said == "nothing" or np.allclose(facts.spacing_mm, volume.spacing, rtol=SAME_SPACING, atol=0)


def _digest_as(volume: Volume, dtype: str) -> str:
    """Checksum of the voxels as another type; "" when that type cannot hold their values."""
    array = volume.array
    if array.dtype.name == dtype:
        return voxels_sha256(volume)
    wanted = np.dtype(dtype)
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if array.min() < limits.min or array.max() > limits.max:
            return ""
    with np.errstate(over="ignore"):
        other = array.astype(wanted)
    return voxels_sha256(volume.with_array(other)) if np.array_equal(other, array) else ""
