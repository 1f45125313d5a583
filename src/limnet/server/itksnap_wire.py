"""What goes over the wire to ITK-SNAP: float volumes with their place, masks of the whole volume.

ITK-SNAP counts voxels as ITK does, (x, y, z) = our (i, j, k), x fastest in memory, and world in mm, LPS.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from limnet.compat.order import turned, volume_of
from limnet.server.nni_talk import Prediction, Talk
from limnet.server.nni_wire import BadRequest, Body
from limnet.server.packed import gunzip_exactly
from limnet.server.refusals import TooLarge
from limnet.server.same_image import Said
from limnet.volume import Volume
from limnet.volume.geometry import affine_from_axes, swap_lps

VOXEL = np.dtype("<f4")  # of everything that ITK-SNAP sends
SOURCE = "image from ITK-SNAP"
MOST_CHANNELS = 64
EFFORT = 1  # of gzip: masks shrink a hundredfold at once, and every further level costs time


@dataclass(frozen=True)
class Placed:
    """What ITK-SNAP says of a volume, checked."""

    shape: tuple[int, int, int]  # (nx, ny, nz)
    num_channels: int
    spacing: tuple[float, ...] | None  # mm; None when it was not said
    origin: tuple[float, ...] | None  # mm, LPS
    direction: tuple[float, ...] | None  # nine cosines, by rows: world axis, then voxel axis

    @property
    def said(self) -> Said:
        """How much of the grid was told: scripts send dimensions alone."""
        if self.spacing is None:
            return "nothing"
        return "spacing" if self.origin is None or self.direction is None else "place"

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index -> world, RAS+."""
        cosines = np.eye(3) if self.direction is None else np.reshape(self.direction, (3, 3))
        edges = (cosines * np.array(self.spacing or (1.0, 1.0, 1.0))).T  # a row per voxel axis
        return swap_lps(affine_from_axes(edges, self.origin or (0.0, 0.0, 0.0)))


def read_placed(text: object, max_voxels: int) -> Placed:
    """The part `metadata` of an upload. BadRequest when it is unusable, TooLarge beyond the limit."""
    try:
        table = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise BadRequest("metadata: expected a JSON object with 'dimensions': [nx, ny, nz]")
    shape = table.get("dimensions")
    if (
        not isinstance(shape, list)
        or len(shape) != 3
        or not all(type(n) is int and 0 < n < 2**31 for n in shape)
    ):
        raise BadRequest(f"metadata: dimensions {shape!r:.80}, expected three lengths of 1 or more")
    if math.prod(shape) > max_voxels:
        raise TooLarge(f"image of {' x '.join(map(str, shape))}: at most {max_voxels} voxels are taken")
    channels = table.get("components_per_pixel", 1)
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        raise BadRequest(f"metadata: components_per_pixel {channels!r:.40}, expected 1 to {MOST_CHANNELS}")
    kind = table.get("component_type", "float32")
    if kind != "float32":
        raise BadRequest(f"metadata: component_type {kind!r:.40}, expected 'float32'")
    nx, ny, nz = shape
    return Placed(
        (nx, ny, nz),
        channels,
        _numbers(table, "spacing", 3),
        _numbers(table, "origin", 3),
        _numbers(table, "direction", 9),
    )


def read_image(stream: IO[bytes], placed: Placed) -> Volume:
    """An uploaded image as a volume in its place. BadArray, VolumeError, GeometryError when it is none."""
    array = _voxels(stream, placed, "image")
    volume, _ = volume_of(array, source=SOURCE)
    if volume.array.dtype == np.float32:
        volume = volume.with_array(_whole(volume.array))
    return replace(volume, affine=placed.affine)


def read_drawing(stream: IO[bytes], placed: Placed) -> NDArray[np.bool_]:
    """An uploaded scribble or lasso (k, j, i): where it is not 0."""
    drawn: NDArray[np.bool_] = _voxels(stream, placed, "drawing")[0] != 0
    return drawn


def reply(prediction: Prediction, talk: Talk) -> Body:
    """The mask of the whole volume, 0 and 1, x fastest."""
    patch = prediction.patch
    mask = np.zeros(talk.shape, np.uint8) if patch is None else patch.block
    packed = gzip.compress(turned(mask).tobytes(), EFFORT)
    return {"status": "success", "result": base64.b64encode(packed).decode()}


def _voxels(stream: IO[bytes], placed: Placed, what: str) -> NDArray[np.float32]:
    """(C, k, j, i)."""
    nx, ny, nz = placed.shape
    wanted = math.prod(placed.shape) * placed.num_channels * VOXEL.itemsize
    flat = gunzip_exactly(stream, wanted, what).view(VOXEL).astype(np.float32, copy=False)
    return np.moveaxis(flat.reshape(nz, ny, nx, placed.num_channels), -1, 0)


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """Floats as the smallest integers that hold them exactly, as the file had them; else as they are."""
    low, high = float(array.min()), float(array.max())
    for kind in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max and max(-low, high) <= 2**24:
            whole = array.astype(kind)
            return whole if np.array_equal(whole, array) else array
    return array


def _numbers(table: Body, name: str, count: int) -> tuple[float, ...] | None:
    value = table.get(name)
    if value is None:
        return None
    is_list = isinstance(value, list) and len(value) == count
    if not is_list or not all(type(n) in (int, float) and abs(n) < 1e12 for n in value):
        raise BadRequest(f"metadata: {name} {value!r:.80}, expected {count} finite numbers")
    return tuple(map(float, value))
