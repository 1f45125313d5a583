"""Losses and the figures printed while training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 10.0  # pixels; keeps the overlap loss of empty and tiny masks finite and small
OBJECT_SMOOTH = 30.0  # samples of a cube, likewise
OBJECT_ENTROPY = 2.0  # weight of the cross-entropy: most samples of a cube are easy, and their mean is small


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus 1 - soft Dice, mean over the batch: (B, 1, H, W), (B, 1, H, W) -> ()."""
    return F.binary_cross_entropy_with_logits(logits, truth) + _missed(logits, truth, SMOOTH)


def object_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """The same of whole objects, the cross-entropy doubled: (B, 1, N, N, N), (B, 1, N, N, N) -> ()."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    return OBJECT_ENTROPY * entropy + _missed(logits, truth, OBJECT_SMOOTH)


def _missed(logits: Tensor, truth: Tensor, smooth: float) -> Tensor:
    """1 - soft Dice, mean over the batch: (B, ...), (B, ...) -> ()."""
    probability, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    overlap = (probability * truth).sum(1)
    total = probability.sum(1) + truth.sum(1)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean()


def batch_dice(masks: Tensor, truth: Tensor) -> Tensor:
    """Dice of each boolean pair, both empty = 1: (..., H, W) twice -> (...)."""
    overlap = (masks & truth).sum((-2, -1))
    total = masks.sum((-2, -1)) + truth.sum((-2, -1))
    return torch.where(
        total > 0, 2 * overlap / total.clamp(min=1), torch.ones_like(total, dtype=torch.float32)
    )
