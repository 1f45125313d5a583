"""Stage 3, the fusion network: which of two masks of a slice is better, and how good is each (paper: MRF)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from limnet.networks.backbone import InvertedResidual, convolution
from limnet.networks.decoder import normalise, stack
from limnet.networks.interaction import IMAGE_CHANNELS


class Judgement(NamedTuple):
    """What the fusion network says about two masks of one slice; all logits."""

    preference: Tensor  # (B,), that the previous mask is the better one
    quality: Tensor  # (B, 2), predicted Dice of the previous and of the current mask


class FusionNetwork(nn.Module):
    """A small CNN over the slice and two masks at 128 x 128, told how far each mask was carried."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *convolution(IMAGE_CHANNELS + 2, 24, 3, stride=2),  # (B, 24, 64, 64)
            nn.ReLU6(inplace=True),
            InvertedResidual(24, 32, 5, 2, 4),  # (B, 32, 32, 32)
            InvertedResidual(32, 32, 3, 1, 4),
            InvertedResidual(32, 64, 5, 2, 4),  # (B, 64, 16, 16)
            InvertedResidual(64, 64, 3, 1, 4),
            InvertedResidual(64, 96, 5, 2, 4),  # (B, 96, 8, 8)
            InvertedResidual(96, 96, 3, 1, 4),
            *convolution(96, 256, 1),
            nn.ReLU6(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),  # (B, 256)
        )
        self.head = nn.Sequential(nn.Linear(256 + 2, 96), nn.ReLU6(inplace=True), nn.Linear(96, 3))

    def forward(self, image: Tensor, previous: Tensor, current: Tensor, nearness: Tensor) -> Judgement:
        """Image (B, 3, H, W), two masks (B, 1, H, W), nearness of their prompts (B, 2), all in [0, 1].

        Nearness is 1 on a prompted slice and falls with the slices between: `limnet.fusion.nearness`.
        """
        x = self.trunk(stack(normalise(image), previous, current))  # (B, 256)
        out = self.head(stack(x, nearness))  # (B, 3)
        return Judgement(preference=out[:, 0], quality=out[:, 1:])
