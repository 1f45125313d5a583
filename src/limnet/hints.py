"""Hint features: what a click or a neighbour's mask suggests about the pixels of a slice.

Three maps in [0, 1] beside the raw clicks (DeepIGeoS, arXiv:1707.00652; MIDeepSeg, arXiv:2104.12166):
likeness in intensity, and geodesic nearness to the object's and to the background's seeds. They are
computed at half the view's size. Everything here takes batches: B, C channels (1 grey, 3 colour), H, W.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from limnet.filters import box_maximum, box_mean

Maps = NDArray[np.float32]
Mask = NDArray[np.bool_]

CLICK_RADIUS = 1 / 40  # of the view's side
EDGE_COST = 4.0  # geodesic cost of crossing the whole range of intensities
SIDE_COST = 2.0  # geodesic cost of crossing the whole view over an even region
GEODESIC_ROUNDS = 3  # of the four directions each
LIKENESS_SPREAD = 0.08  # intensity difference at which likeness falls to exp(-1/2)
NUM_BINS = 32  # of the histograms inside and outside a mask
CORE_BOX = 5  # half-size pixels; averaging box by which a mask's core is found
RING_BOX = 9  # half-size pixels; a pixel this far around a mask may still be object


def halve(images: NDArray[np.float32]) -> Maps:
    """Mean of 2 x 2 pixels: (..., H, W) -> (..., H/2, W/2); H and W must be even."""
    rows = images[..., ::2, :] + images[..., 1::2, :]
    mean: Maps = (rows[..., ::2] + rows[..., 1::2]) * np.float32(0.25)
    return mean


def double(maps: Maps) -> Maps:
    """Each pixel repeated 2 x 2: (..., H, W) -> (..., 2H, 2W)."""
    return maps.repeat(2, axis=-2).repeat(2, axis=-1)


def click_maps(pixels: Sequence[tuple[float, float]], size: int) -> Maps:
    """Disks of radius size/40 around `pixels` (row, column) of a view of size x size -> (size, size)."""
    maps = np.zeros((size, size), np.float32)
    grid = np.arange(size, dtype=np.float32)
    for row, column in pixels:
        distance = (grid[:, None] - row) ** 2 + (grid[None, :] - column) ** 2
        maps[distance <= (size * CLICK_RADIUS) ** 2] = 1
    return maps


def geodesic_nearness(image: Maps, seeds: Mask) -> Maps:
    """exp(-geodesic distance) to the seeds: (B, C, H, W), (..., B, H, W) -> (..., B, H, W); 0 without seeds.

    A step costs SIDE_COST over the side plus EDGE_COST times the change of intensity. A pass over all
    rows at once is `running_minimum(d - C) + C` with C the running cost along the row.
    """
    across = _turned(image)  # passes run down the columns, where a step is one operation on whole rows
    down_cost, across_cost = _running_cost(image), _running_cost(across)  # (B, H, W), (B, W, H)
    far = np.float32(30)  # exp(-30) is zero for every purpose here
    distance = np.where(seeds, np.float32(0), far)  # (..., B, H, W)
    for _ in range(GEODESIC_ROUNDS):
        distance = _turned(_both_ways(_turned(distance), across_cost))
        distance = _both_ways(distance, down_cost)
    has_seeds = seeds.any((-1, -2), keepdims=True)
    nearness: Maps = np.exp(-np.minimum(distance, far)) * has_seeds
    return nearness


def running_minimum(values: Maps, *, upwards: bool = False) -> Maps:
    """`numpy.minimum.accumulate` along axis -2, from the first row down or from the last one up.

    Three times as fast: each pass doubles how far a row has looked, and is one operation on all rows.
    """
    reach, length = 1, values.shape[-2]
    while reach < length:
        out = np.empty_like(values)
        near, far = (
            (slice(None, -reach), slice(reach, None)) if upwards else (slice(reach, None), slice(-reach))
        )
        edge = slice(-reach, None) if upwards else slice(reach)
        out[..., edge, :] = values[..., edge, :]
        np.minimum(values[..., near, :], values[..., far, :], out=out[..., near, :])
        values, reach = out, 2 * reach
    return values


def _both_ways(distance: Maps, cost: Maps) -> Maps:
    """Distances (..., B, H, W) after a pass down and a pass up; `cost` (B, H, W) runs down the columns."""
    down = running_minimum(distance - cost)
    down += cost
    down += cost
    up = running_minimum(down, upwards=True)
    up -= cost
    return up


def _running_cost(image: Maps) -> Maps:
    """Geodesic cost from the first row down to each: (B, C, H, W) -> (B, H, W). H is the side."""
    step = np.float32(SIDE_COST / image.shape[-2])
    change = np.sqrt(np.square(np.diff(image, axis=-2)).mean(1))  # (B, H-1, W)
    return np.concatenate([np.zeros_like(change[:, :1]), np.cumsum(change * EDGE_COST + step, -2)], axis=-2)


def _turned(maps: Maps) -> Maps:
    """(..., H, W) -> (..., W, H), laid out anew."""
    return np.ascontiguousarray(maps.swapaxes(-1, -2))


def click_likeness(image: Maps, positive: Mask) -> Maps:
    """Likeness to the intensities at positive seeds, the closest counts: (B, C, H, W) -> (B, H, W)."""
    smooth = box_mean(image, 3)
    likeness = np.zeros(positive.shape, np.float32)
    for one, pixels, values, target in zip(image, positive, smooth, likeness, strict=True):
        for reference in values[:, pixels].T[-8:]:  # (C,) of at most eight seeds: time stays bounded
            distance = np.square(one - reference[:, None, None]).mean(0)
            np.maximum(target, np.exp(distance / (-2 * LIKENESS_SPREAD**2)), out=target)
    return likeness


def by_colour(images: Maps, *others: NDArray[np.generic], hints: Callable[..., Maps]) -> Maps:
    """`hints` of a batch (B, 3, H, W) in two parts: grey images by one channel, which is three times faster.

    `others` are further arguments with the batch first; those of the images' shape are cut alike.
    """
    grey = (images[:, :1] == images).all((1, 2, 3))
    out = np.zeros_like(images)
    for chosen, channels in ((grey, 1), (~grey, 3)):
        if chosen.any():
            parts = (a[chosen, :channels] if a.ndim == 4 else a[chosen] for a in (images, *others))
            out[chosen] = hints(*parts)
    return out


def click_hints(image: Maps, positive: Mask, negative: Mask) -> Maps:
    """Hints of the interaction network: image (B, C, H, W), click centres (B, H, W) -> (B, 3, H, W)."""
    small = halve(image)
    seeds = np.stack([_halve_seeds(positive), _halve_seeds(negative)])  # (2, B, H/2, W/2)
    maps = [click_likeness(small, seeds[0]), *geodesic_nearness(small, seeds)]
    return double(np.stack(maps, axis=1))


def mask_likeness(image: Maps, neighbour: Maps, mask: Mask) -> Maps:
    """P(object | intensity) from histograms inside and around the neighbour's mask.

    (B, C, H, W) twice and (B, H, W) -> (B, H, W). Log odds are averaged over channels, so that grey
    repeated three times says what grey says once.
    """
    around = box_maximum(mask, 2 * RING_BOX + 1) & ~mask
    batch, channels = image.shape[:2]
    odds = np.zeros(mask.shape, np.float32)
    for channel in range(channels):
        bins = np.minimum(neighbour[:, channel] * NUM_BINS, NUM_BINS - 1).astype(np.int64)
        bins += NUM_BINS * np.arange(batch)[:, None, None]
        here = np.minimum(image[:, channel] * NUM_BINS, NUM_BINS - 1).astype(np.int64)
        here += NUM_BINS * np.arange(batch)[:, None, None]
        odds += (_log_histogram(bins, mask, batch) - _log_histogram(bins, around, batch))[here]
    likeness: Maps = (1 / (1 + np.exp(-np.clip(odds / channels, -8, 8)))).astype(np.float32)
    return likeness


def reference_maps(image: Maps, there: Maps, mask: Maps) -> Maps:
    """What another slice with its mask tells of this one: (B, C, H, W) twice, (B, H, W) -> (B, 3, H, W).

    Likeness to the object there, that slice in grey, its mask. All zero where the mask holds nothing.
    """
    inside = halve(mask) > 0.5
    likeness = double(mask_likeness(halve(image), halve(there), inside))
    maps: Maps = np.stack([likeness, there.mean(1), mask], axis=1)
    held = np.asarray(inside.any(axis=(1, 2)))[:, None, None, None]  # (B, 1, 1, 1)
    maps *= held
    return maps


def mask_hints(image: Maps, neighbour: Maps, mask: Maps) -> Maps:
    """Hints of the memory model: what the neighbour's mask (B, H, W) suggests here -> (B, 3, H, W).

    Seeds of the object are the mask's core, seeds of the background lie beyond a ring around it, as
    the boundary moves between slices.
    """
    small, beside = halve(image), halve(neighbour)
    inside = halve(mask) > 0.5
    blurred = box_mean(inside.astype(np.float32), CORE_BOX)
    core = inside & (blurred >= 0.9 * blurred.max((1, 2), keepdims=True))
    beyond = ~box_maximum(inside, RING_BOX)
    maps = [
        mask_likeness(small, beside, inside),
        *geodesic_nearness(small, np.stack([core, beyond])),
    ]
    return double(np.stack(maps, axis=1))


def _halve_seeds(seeds: Mask) -> Mask:
    """A half-size pixel is a seed when one of its four pixels is."""
    rows = seeds[..., ::2, :] | seeds[..., 1::2, :]
    any_of_four: Mask = rows[..., ::2] | rows[..., 1::2]
    return any_of_four


def _log_histogram(bins: NDArray[np.int64], mask: Mask, batch: int) -> Maps:
    """Log of the smoothed share of each bin inside the mask, (B * NUM_BINS,)."""
    counts = np.bincount(bins[mask], minlength=batch * NUM_BINS).reshape(batch, NUM_BINS)
    padded = np.pad(counts.astype(np.float64), ((0, 0), (1, 1)))
    smooth = ((padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3).astype(np.float32)
    shares = (smooth + 0.5) / (smooth.sum(1, keepdims=True) + 0.5 * NUM_BINS)
    logs: Maps = np.log(shares).ravel()
    return logs
