"""The decoder shared by the interaction network and the mask-conditioned half of the memory model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limnet.networks.backbone import FEATURE_CHANNELS, convolution, scaled

DECODER_CHANNELS = {32: 128, 16: 96, 8: 64, 4: 48, 2: 32}  # stride -> channels
MERGED_STRIDES = (16, 8, 4, 2)


def upsample(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class SeparableConvolution(nn.Sequential):
    """Depthwise then pointwise convolution, each with batch norm and ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(
            *convolution(inputs, inputs, kernel, groups=inputs),
            nn.ReLU6(inplace=True),
            *convolution(inputs, outputs, 1),
            nn.ReLU6(inplace=True),
        )


class Merge(nn.Module):
    """One step up: coarse features, doubled in size, meet the skip features of that stride."""

    def __init__(self, coarse: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, outputs, 1)
        self.lateral = nn.Conv2d(skip, outputs, 1)
        self.blend = nn.Sequential(
            SeparableConvolution(outputs, outputs, 5), SeparableConvolution(outputs, outputs, 3)
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """(B, coarse, h, w), (B, skip, 2h, 2w) -> (B, outputs, 2h, 2w)."""
        return self.mix(upsample(self.project(coarse)) + self.lateral(skip))

    def mix(self, total: Tensor) -> Tensor:
        """The blend of an already summed input, with a shortcut around it."""
        mixed: Tensor = self.blend(total)
        return total + mixed


class Decoder(nn.Module):
    """Features at every stride and the full-size input -> mask logits, FPN-like (arXiv:1612.03144).

    Split at stride 16, where the memory model adds its readout.
    """

    def __init__(self, input_channels: int, width: float = 1.0) -> None:
        """`width` is the backbone's; the decoder's own channels stay."""
        super().__init__()
        skips = {stride: scaled(channels, width) for stride, channels in FEATURE_CHANNELS.items()}
        self.deepest = SeparableConvolution(skips[32], DECODER_CHANNELS[32], 3)
        self.merges = nn.ModuleDict()
        for stride in MERGED_STRIDES:
            coarse, outputs = DECODER_CHANNELS[2 * stride], DECODER_CHANNELS[stride]
            self.merges[str(stride)] = Merge(coarse, skips[stride], outputs)
        self.pixels = nn.Conv2d(input_channels, DECODER_CHANNELS[2], 2, stride=2)
        self.refine = SeparableConvolution(DECODER_CHANNELS[2], DECODER_CHANNELS[2], 3)
        self.logits = nn.Conv2d(DECODER_CHANNELS[2], 4, 3, padding=1)

    def at_stride_16(self, features: Sequence[Tensor]) -> Tensor:
        """[f2 .. f32] -> the sum at stride 16 before its blend, (B, 96, H/16, W/16)."""
        merge = self._merge(16)
        x = self.deepest(features[4])  # (B, 128, H/32, W/32)
        total: Tensor = upsample(merge.project(x)) + merge.lateral(features[3])
        return total

    def _merge(self, stride: int) -> Merge:
        merge = self.merges[str(stride)]
        assert isinstance(merge, Merge)
        return merge

    def pyramid(self, total16: Tensor, features: Sequence[Tensor]) -> list[Tensor]:
        """The sum at stride 16 -> [p16, p8, p4, p2], decoder features from coarse to fine."""
        levels = [self._merge(16).mix(total16)]  # (B, 96, H/16, W/16)
        for stride, skip in zip(MERGED_STRIDES[1:], features[2::-1], strict=True):
            levels.append(self._merge(stride)(levels[-1], skip))  # (B, c, H/stride, W/stride)
        return levels

    def head(self, p2: Tensor, inputs: Tensor) -> Tensor:
        """(B, 32, H/2, W/2) and the network's own input -> logits (B, 1, H, W).

        Full-size detail enters as 2 x 2 pixels and leaves as four channels of a half-size map: the same
        information at a quarter of the cost (full-size layers took 45 % of a training step before).
        """
        x = self.refine(p2 + self.pixels(inputs))  # (B, 32, H/2, W/2)
        return F.pixel_shuffle(self.logits(x), 2)  # (B, 1, H, W)

    def forward(self, features: Sequence[Tensor], inputs: Tensor) -> Tensor:
        """[f2 .. f32], (B, input_channels, H, W) -> logits (B, 1, H, W)."""
        return self.head(self.pyramid(self.at_stride_16(features), features)[-1], inputs)


def normalise(image: Tensor) -> Tensor:
    """Grey levels or colours in [0, 1] -> roughly zero mean and unit spread."""
    return (image - 0.5) * 4.0


def stack(*parts: Tensor) -> Tensor:
    """Concatenate along channels."""
    return torch.cat(parts, dim=1)
