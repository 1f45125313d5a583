"""Stage 3, the fusion network: which of two masks of a slice is better, and how good is each (paper: MRF)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from limnet.networks.backbone import InvertedResidual, convolution
from limnet.networks.decoder import normalise, stack
from limnet.networks.interaction import IMAGE_CHANNELS


class Judgement(NamedTuple):
    """What the fusion network says about two masks of one slice; all logits."""

    preference: Tensor  # (B,), that the previous mask is the better one
    quality: Tensor  # (B, 2), predicted Dice of the previous and of the current mask


COMPARED = 12  # numbers that `compare` finds


def compare(grey: Tensor, previous: Tensor, current: Tensor, there: Tensor, reference: Tensor) -> Tensor:
    """What differs between the masks and the reference, in numbers: all (B, 1, H, W) -> (B, COMPARED).

    Of the previous mask, the current one and the reference (the slice `there`): size as a share of the
    view, grey inside as mean and spread; then the three overlaps between them.
    """
    numbers = []
    for image, mask in ((grey, previous), (grey, current), (there, reference)):
        area = mask.mean((1, 2, 3))  # (B,)
        mean = (image * mask).mean((1, 2, 3)) / (area + 1e-4)
        spread = ((image - mean[:, None, None, None]).pow(2) * mask).mean((1, 2, 3)) / (area + 1e-4)
        numbers += [area.clamp(min=1e-4).log() / 4, mean, (spread + 1e-6).sqrt()]
    for one, other in ((previous, current), (previous, reference), (current, reference)):
        numbers.append((one * other).mean((1, 2, 3)) / (torch.maximum(one, other).mean((1, 2, 3)) + 1e-4))
    return torch.stack(numbers, dim=1)


class FusionNetwork(nn.Module):
    """A small CNN over the slice, two masks and a prompted slice at 128 x 128, told how far each was carried.

    The prompted slice shows what the object looks like: a mask that has run on past the object's end may
    fit its own slice perfectly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *convolution(2 * IMAGE_CHANNELS + 3, 24, 3, stride=2),  # (B, 24, 64, 64)
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
        self.head = nn.Sequential(nn.Linear(256 + 2 + COMPARED, 96), nn.ReLU6(inplace=True), nn.Linear(96, 3))

    def forward(
        self,
        image: Tensor,
        previous: Tensor,
        current: Tensor,
        nearness: Tensor,
        reference: Tensor,
        reference_mask: Tensor,
    ) -> Judgement:
        """Slices (B, 3, H, W), masks (B, 1, H, W), nearness of the two masks' prompts (B, 2), all in [0, 1].

        `reference` is a prompted slice with its mask. Nearness is 1 on a prompted slice and falls with the
        slices between: `limnet.fusion.nearness`.
        """
        seen = stack(normalise(image), previous, current, normalise(reference), reference_mask)
        grey, there = image.mean(1, keepdim=True), reference.mean(1, keepdim=True)  # (B, 1, H, W)
        numbers = compare(grey, previous, current, there, reference_mask)  # (B, COMPARED)
        out = self.head(stack(self.trunk(seen), nearness, numbers))  # (B, 3)
        return Judgement(preference=out[:, 0], quality=out[:, 1:])
