"""Training of the fusion network: which of two masks is better, and how good is each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limnet.networks.fusion import FusionNetwork, Judgement
from limnet.training.device import moved
from limnet.training.losses import batch_dice

CLEAR_DIFFERENCE = 0.1  # of Dice, from which a pair counts fully


class FusionStep:
    """Loss of one batch of pairs, and how often the better mask is kept on held-out pairs."""

    def __init__(self, network: FusionNetwork) -> None:
        self.network = network

    def loss(self, image: Tensor, masks: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Images (B, 2, 3, 128, 128) with maps (B, 6, 128, 128) -> loss; see `training.pairs`.

        A pair of nearly equal masks hardly counts in the preference; every mask counts in the quality.
        """
        del progress
        image, masks = moved((image, masks), self.network)
        dice, judgement = _dice(masks), self._judge(image, masks)
        difference = dice[:, 0] - dice[:, 1]  # (B,)
        weight = (difference.abs() / CLEAR_DIFFERENCE).clamp(max=1)
        better = (difference > 0).float()
        preference = F.binary_cross_entropy_with_logits(judgement.preference, better, weight)
        quality = F.binary_cross_entropy_with_logits(judgement.quality, dice)
        return preference + quality, _figures(judgement.preference, judgement.quality, dice)

    @torch.no_grad()
    def validate(self, image: Tensor, masks: Tensor, number: int = 0) -> dict[str, float]:
        """The same figures in evaluation mode."""
        del number
        self.network.eval()
        image, masks = moved((image, masks), self.network)
        judgement = self._judge(image, masks)
        self.network.train()
        return _figures(judgement.preference, judgement.quality, _dice(masks))

    def _judge(self, image: Tensor, masks: Tensor) -> Judgement:
        previous, current, reference_mask = (masks[:, n : n + 1] for n in (1, 2, 3))  # (B, 1, H, W)
        nearness = masks[:, 4:, 0, 0]  # (B, 2)
        judgement: Judgement = self.network(
            image[:, 0], previous, current, nearness, image[:, 1], reference_mask
        )
        return judgement


def _dice(masks: Tensor) -> Tensor:
    """Dice of the previous and of the current mask: (B, 6, H, W) -> (B, 2)."""
    hard = masks[:, :3] > 0.5
    return batch_dice(hard[:, 1:], hard[:, :1].expand_as(hard[:, 1:]))


def _figures(preference: Tensor, quality: Tensor, dice: Tensor) -> dict[str, float]:
    """Mean Dice of the kept masks beside previous, current and best; error and correlation of quality."""
    kept = torch.where(preference > 0, dice[:, 0], dice[:, 1])
    predicted = quality.sigmoid()
    both = torch.stack([predicted.flatten(), dice.flatten()])
    return {
        "previous": float(dice[:, 0].mean()),
        "current": float(dice[:, 1].mean()),
        "kept": float(kept.detach().mean()),
        "best": float(dice.amax(1).mean()),
        "quality_error": float((predicted - dice).detach().abs().mean()),
        "quality_r": float(torch.corrcoef(both.detach())[0, 1]),
    }
