"""The overview network: a cube around the object and what is known of it -> the whole object, coarsely.

A residual U-Net in three dimensions (Çiçek et al., arXiv:1606.06650). It is not in the paper: a sweep sees
two slices at a time, and does not see ahead where the object ends (decisions/0031).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limnet.cube_maps import NUM_MAPS

CHANNELS = (16, 32, 64, 96)  # at strides 1, 2, 4 and 8


def block(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv3d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions added to what they were given (He et al., arXiv:1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = block(channels, channels)
        self.second = nn.Sequential(
            nn.Conv3d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm3d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, n, n, n) -> the same shape."""
        return F.relu(x + self.second(self.first(x)))


class OverviewNetwork(nn.Module):
    """Encoder and decoder over four strides; what the whole cube holds joins at the coarsest one."""

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter, eighth = CHANNELS
        self.encode1 = block(NUM_MAPS, full)
        self.encode2 = nn.Sequential(block(full, half, stride=2), Residual(half))
        self.encode4 = nn.Sequential(block(half, quarter, stride=2), Residual(quarter), Residual(quarter))
        self.encode8 = nn.Sequential(block(quarter, eighth, stride=2), Residual(eighth), Residual(eighth))
        self.whole = nn.Sequential(nn.Linear(eighth, eighth), nn.ReLU(), nn.Linear(eighth, eighth))
        self.narrow4 = block(eighth, quarter, kernel=1)
        self.decode4 = Residual(quarter)
        self.narrow2 = block(quarter, half, kernel=1)
        self.decode2 = Residual(half)
        self.narrow1 = block(half, full, kernel=1)
        self.decode1 = block(full, full)
        self.logits = nn.Conv3d(full, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, 10, N, N, N) of `cube_maps` -> logits (B, 1, N, N, N); N a multiple of 8."""
        x1 = self.encode1(maps)  # (B, 16, N, N, N)
        x2 = self.encode2(x1)  # (B, 32, N/2, N/2, N/2)
        x4 = self.encode4(x2)  # (B, 64, N/4, N/4, N/4)
        x8 = self.encode8(x4)  # (B, 96, N/8, N/8, N/8)
        x8 = x8 + self.whole(x8.mean((2, 3, 4)))[:, :, None, None, None]
        y4 = self.decode4(x4 + _doubled(self.narrow4(x8)))
        y2 = self.decode2(x2 + _doubled(self.narrow2(y4)))
        y1 = self.decode1(x1 + _doubled(self.narrow1(y2)))
        logits: Tensor = self.logits(y1)
        return logits


def _doubled(x: Tensor) -> Tensor:
    """(B, C, n, n, n) -> (B, C, 2n, 2n, 2n), trilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
