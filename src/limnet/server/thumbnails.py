"""A small picture of a round: its prompt slice, the way radiologists hold it, with the mask's outline."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.fusion import Change
from limnet.lens import slice_of
from limnet.server.record import Facts
from limnet.server.views import centre_slice
from limnet.session import Session
from limnet.volume import Volume

LONGER_SIDE = 160  # pixels


def thumbnail(session: Session, number: int, facts: Facts, colour: str) -> bytes:
    """PNG of the state after round `number`, counted from 1, undone rounds among them."""
    rounds = (*session.rounds, *session.undone_rounds)
    done = rounds[number - 1]
    axis, index = done.axis, centre_slice(done)
    mask = slice_after([r.change for r in rounds[:number]], session.volume.shape, axis, index)
    shown = shades(session.volume.slice_at(axis, index), facts.low, facts.high)  # (h, w, 3)
    planes = [held(plane, session.volume, axis) for plane in (shown, mask)]
    return _png(planes[0], planes[1], session.volume, axis, colour)


def slice_after(
    changes: list[Change], shape: tuple[int, int, int], axis: int, index: int
) -> NDArray[np.uint8]:
    """The mask (h, w) of one slice once these changes were made, from nothing on."""
    height, width = (n for a, n in enumerate(shape) if a != axis)
    mask = np.zeros((height, width), np.uint8)
    for change in changes:
        low, high = change.box
        if not change.data or not low[axis] <= index < high[axis]:
            continue
        block = np.zeros(change.shape, np.uint8)
        Change((0, 0, 0), change.shape, change.data).apply(block)
        rows, columns = (slice(low[a], high[a]) for a in range(3) if a != axis)
        mask[rows, columns] ^= slice_of(block, axis, index - low[axis])
    return mask


def shades(plane: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """A slice (h, w) or (h, w, 3) as colours (h, w, 3): black at `low`, white at `high`; RGB as it is."""
    if plane.ndim == 3:
        return plane.astype(np.uint8)
    scaled = (plane.astype(np.float32) - low) / max(high - low, 1e-12)
    grey = (scaled.clip(0, 1) * 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def held(plane: NDArray[np.uint8], volume: Volume, axis: int) -> NDArray[np.uint8]:
    """A slice (h, w, ...) turned: up is superior or anterior, the patient's right or front is on the left."""
    codes = [code for a, code in enumerate(volume.orientation) if a != axis]
    if _is_upright(codes[1], codes[0]):
        plane, codes = plane.swapaxes(0, 1), codes[::-1]
    if codes[0] in "SA":  # rows grow downwards in a picture
        plane = plane[::-1]
    if codes[1] in "RA":
        plane = plane[:, ::-1]
    return plane


def _is_upright(code: str, other: str) -> bool:
    """Whether the axis of `code` stands and that of `other` lies."""
    return code in "SI" or (code in "AP" and other in "LR")


def _png(shown: NDArray[np.uint8], mask: NDArray[np.uint8], volume: Volume, axis: int, colour: str) -> bytes:
    from PIL import Image

    edges = volume.in_plane_spacing(axis)
    turned = held(np.empty((2, 3), np.uint8), volume, axis).shape[0] == 3
    down, across = edges[::-1] if turned else edges
    height_mm, width_mm = shown.shape[0] * down, shown.shape[1] * across
    scale = LONGER_SIDE / max(height_mm, width_mm)
    size = (max(1, round(width_mm * scale)), max(1, round(height_mm * scale)))
    picture = Image.fromarray(np.ascontiguousarray(shown)).resize(size, Image.Resampling.BILINEAR)
    inside = Image.fromarray(np.ascontiguousarray(mask * 255)).resize(size, Image.Resampling.BILINEAR)
    region = np.asarray(inside) > 127
    pixels = np.array(picture)
    pixels[region & ~ndimage.binary_erosion(region)] = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
