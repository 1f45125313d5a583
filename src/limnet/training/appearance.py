"""Another appearance: what a small random network makes of an image, so that few scanners look like many.

Anatomy stays where it is; which tissue is bright, and how its texture looks, is drawn anew. Global intensity
non-linear augmentation (Ouyang et al., arXiv:2111.12525), one network for all of a clip, a cube or a volume. As
it seldom changes which of three tissues is brightest, half of the images first go through a curve with bends.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LAYERS = 4
CHANNELS = 2  # between two layers
BENT = 0.5  # share of images whose greys go through a curve first
BENDS = (3, 6)  # fewest and most points of that curve, evenly spaced, each of any grey
OUTLIERS = 0.005  # share of pixels at either end that may saturate

Rng = np.random.Generator
Image = NDArray[np.float32]


def another_appearance(image: Image, rng: Rng) -> Image:
    """An image (S, C, H, W) in [0, 1] through a random network, mixed with itself by a random share.

    Every slice and every channel goes through the same network. The result has the same shape and range; a
    flat image stays flat.
    """
    if rng.random() < BENT:
        image = _bent(image, rng)
    given = _standard(torch.from_numpy(image).flatten(0, 1)[:, None])  # (S * C, 1, H, W)
    made = given
    for layer in range(LAYERS):
        is_last = layer == LAYERS - 1
        made = _random_convolution(made, 1 if is_last else CHANNELS, rng)
        made = made if is_last else F.leaky_relu(made, 0.01)
    share = rng.random()
    mixed = (share * _standard(made) + (1 - share) * given).view(image.shape).numpy()
    low, high = np.quantile(mixed[..., ::2, ::2], (OUTLIERS, 1 - OUTLIERS))
    result: Image = np.clip((mixed - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    return result


def _bent(image: Image, rng: Rng) -> Image:
    """Greys through a curve of straight pieces that may rise and fall: tissues change their order."""
    greys = rng.random(rng.integers(BENDS[0], BENDS[1] + 1))
    bent: Image = np.interp(image, np.linspace(0, 1, len(greys)), greys).astype(np.float32)
    return bent


def _standard(image: Tensor) -> Tensor:
    """Zero mean and unit deviation over all pixels."""
    return (image - image.mean()) / image.std().clamp_min(1e-6)


def _random_convolution(image: Tensor, channels: int, rng: Rng) -> Tensor:
    """One layer of random weights and offsets that sees a pixel, or its eight neighbours as well."""
    size = int(rng.choice([1, 3]))
    shape = (channels, image.shape[1], size, size)
    weight = torch.from_numpy(rng.standard_normal(shape, np.float32))
    offset = torch.from_numpy(rng.standard_normal(channels, np.float32))
    border = size // 2
    padded = F.pad(image, (border, border, border, border), mode="replicate")
    return F.conv2d(padded, weight, offset)
