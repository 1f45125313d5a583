"""The lens: through which view and in which tone slices are seen; and slices seen once, then kept.

What is kept costs a later round no encoding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from limnet.model import LimNet, SliceFeatures
from limnet.tone import Tone
from limnet.view import Plane, View
from limnet.volume import Volume

Array = NDArray[np.float32]
Number = TypeVar("Number", np.bool_, np.uint8)

MAX_BYTES = 192 * 2**20  # kept per lens; the slices not used for longest are forgotten first
TONE_OFFSETS = (-4, -2, 0, 2, 4)  # slices around the prompt by which the tone is fitted


@dataclass(frozen=True, eq=False)
class Lens:
    """How the slices of one axis are seen: through which window, in which tone."""

    axis: int
    view: View
    tone: Tone


def plane_of(volume: Volume, axis: int) -> Plane:
    """The pixel grid of the slices along `axis`."""
    height, width = (n for a, n in enumerate(volume.shape) if a != axis)
    return Plane((height, width), volume.in_plane_spacing(axis))


def slice_of(array: NDArray[Number], axis: int, index: int) -> NDArray[Number]:
    """The slice `index` of a mask (I, J, K), a view of it."""
    plane: NDArray[Number] = array[(slice(None),) * axis + (index,)]
    return plane


def lens_at(volume: Volume, axis: int, index: int, view: View) -> Lens:
    """A lens through `view` whose tone suits the slices around `index`."""
    last = volume.shape[axis] - 1
    indices = sorted({min(max(index + offset, 0), last) for offset in TONE_OFFSETS})
    values = [view.look(volume.slice_at(axis, i))[:, view.inside] for i in indices]
    return Lens(axis, view, Tone.of(np.concatenate([v.ravel() for v in values])))


def image_through(volume: Volume, lens: Lens, index: int) -> Array:
    """A slice as the networks see it: (3, H, W) in [0, 1], zero outside the plane; grey is repeated."""
    image = lens.tone(lens.view.look(volume.slice_at(lens.axis, index))) * lens.view.inside
    return np.repeat(image, 3, axis=0) if len(image) == 1 else image


class Seen(NamedTuple):
    """A slice through a lens."""

    image: Array  # (3, H, W), in [0, 1]
    features: SliceFeatures
    colours: int  # 1 when grey, 3 when the channels differ


class Encoded(NamedTuple):
    """A slice as it is kept, in half precision."""

    image: NDArray[np.float16]  # (1 or 3, H, W)
    features: tuple[NDArray[np.float16], ...]  # of SliceFeatures

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        return self.image.nbytes + sum(array.nbytes for array in self.features)


class SliceCache:
    """Slices seen and encoded through one lens, in at most MAX_BYTES. Features are kept in half precision.

    Several threads may ask at once; a slice that two of them miss at the same time is encoded twice.
    """

    def __init__(self, volume: Volume, lens: Lens, model: LimNet) -> None:
        self.volume = volume
        self.lens = lens
        self.model = model
        self._kept: OrderedDict[int, Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()  # guards what is kept and its size, never the encoding

    def __getitem__(self, index: int) -> Seen:
        encoded = self.prepare(index)
        features = SliceFeatures(*(array.astype(np.float32) for array in encoded.features))
        return Seen(_widened(encoded), features, colours=len(encoded.image))

    def image(self, index: int) -> Array:
        """A slice without its features, (3, H, W) in [0, 1]."""
        return _widened(self.prepare(index))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Memory that the kept slices take."""
        return self._bytes

    def prepare(self, index: int) -> Encoded:
        """Encode a slice unless it is kept; what is asked for next can so be made ready on another thread."""
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        encoded = self._encode(index)
        with self._lock:
            if index not in self._kept:
                self._kept[index] = encoded
                self._bytes += encoded.nbytes
            while self._bytes > MAX_BYTES and len(self._kept) > 2:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.nbytes
        return encoded

    def _encode(self, index: int) -> Encoded:
        image = image_through(self.volume, self.lens, index)
        features = tuple(_half(array) for array in self.model.query(image))
        shown = image if self.volume.is_rgb else image[:1]
        return Encoded(shown.astype(np.float16), features)


def _widened(encoded: Encoded) -> Array:
    wide = encoded.image.astype(np.float32)  # (1 or 3, H, W)
    return np.repeat(wide, 3, axis=0) if len(wide) == 1 else wide


def _half(array: Array) -> NDArray[np.float16]:
    """Half precision, saturating: an infinite feature would make every mask NaN."""
    largest = np.finfo(np.float16).max
    return np.clip(array, -largest, largest).astype(np.float16)
