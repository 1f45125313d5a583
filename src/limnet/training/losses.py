"""Losses and the figures printed while training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 10.0  # pixels; keeps the overlap loss of empty and tiny masks finite and small


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy plus 1 - soft Dice, mean over the batch: (B, 1, H, W), (B, 1, H, W) -> ()."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    probability = logits.sigmoid()
    overlap = (probability * truth).sum((1, 2, 3))
    total = probability.sum((1, 2, 3)) + truth.sum((1, 2, 3))
    return entropy + (1 - (2 * overlap + SMOOTH) / (total + SMOOTH)).mean()


def batch_dice(masks: Tensor, truth: Tensor) -> Tensor:
    """Dice of each boolean pair, both empty = 1: (..., H, W) twice -> (...)."""
    overlap = (masks & truth).sum((-2, -1))
    total = masks.sum((-2, -1)) + truth.sum((-2, -1))
    return torch.where(
        total > 0, 2 * overlap / total.clamp(min=1), torch.ones_like(total, dtype=torch.float32)
    )
