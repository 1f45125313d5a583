"""Stage 2, the memory model: a mask is carried from slice to slice (XMem, arXiv:2207.07115).

Letters, as in XMem: k key, s shrinkage, e selection, v value. Shapes: B batch, N memory elements,
HW positions of a slice at stride 16, Ck Cv Ch channels of key, value and sensory memory.

The query encoder sees the slice alone, so its output can be cached. The mask-conditioned half sees
slice, neighbour, the neighbour's mask and hint features together from the first layer (early
fusion); what the memory reads joins at stride 16.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor

from limnet.errors import ConfigError
from limnet.networks.backbone import FEATURE_CHANNELS, Backbone, convolution
from limnet.networks.decoder import (
    DECODER_CHANNELS,
    Decoder,
    SeparableConvolution,
    normalise,
    stack,
)
from limnet.networks.interaction import HINT_CHANNELS, HINTS, IMAGE_CHANNELS, InteractionNetwork

MAX_SHRINKAGE = 32.0  # unbounded it ran to 60,000: reading became copying, and its gradient vanished

CARRY_CHANNELS = IMAGE_CHANNELS + 1 + IMAGE_CHANNELS + HINT_CHANNELS  # slice, mask, neighbour, hints


@dataclass(frozen=True, kw_only=True)
class MemoryNetworkConfig:
    """Sizes of the memory model; saved inside every checkpoint."""

    key_dim: int = 64  # channels of key and selection
    value_dim: int = 128  # channels of value and readout
    sensory_dim: int = 64  # channels of the recurrent state
    top_k: int = 30  # memory elements that a position reads from
    early: bool = True  # mask, neighbour and hints are seen from the first layer on (early fusion)

    def __post_init__(self) -> None:
        for name in ("key_dim", "value_dim", "sensory_dim", "top_k"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")


class Query(NamedTuple):
    """What a slice asks of the memory and, once written, what it is found by; all at stride 16."""

    key: Tensor  # (B, Ck, h, w)
    shrinkage: Tensor  # (B, 1, h, w), 1 .. MAX_SHRINKAGE: how sharp the similarity to this element is
    selection: Tensor  # (B, Ck, h, w), in (0, 1): which key channels matter here
    f16: Tensor  # (B, 112, h, w)


class Memory(NamedTuple):
    """Memory elements of one object, flattened over slices and positions."""

    key: Tensor  # (B, Ck, N)
    shrinkage: Tensor  # (B, 1, N)
    value: Tensor  # (B, Cv, N)


def similarity(memory_key: Tensor, shrinkage: Tensor, key: Tensor, selection: Tensor) -> Tensor:
    """Anisotropic L2: S[j, i] = -s[i] * sum_c e[c, j] (k[c, i] - q[c, j])^2 / sqrt(Ck).

    XMem (arXiv:2207.07115), eq. 2. memory_key (B, Ck, N), shrinkage (B, 1, N), key and selection of
    the query (B, Ck, HW) -> (B, HW, N): a row per position, so that the top-k below runs along memory
    that lies together. Expanded, so that nothing of size (Ck, N, HW) is ever built.
    """
    e = selection.transpose(1, 2)  # (B, HW, Ck)
    q = key.transpose(1, 2)  # (B, HW, Ck)
    k_squared = e @ memory_key.pow(2)  # (B, HW, N)
    cross = (e * q) @ memory_key  # (B, HW, N)
    q_squared = (e * q.pow(2)).sum(2, keepdim=True)  # (B, HW, 1)
    distance = k_squared - 2 * cross + q_squared  # (B, HW, N)
    return distance * (shrinkage * (-1 / math.sqrt(memory_key.shape[1])))


def top_k_affinity(scores: Tensor, top_k: int) -> Tensor:
    """Softmax over the `top_k` most similar elements, zero elsewhere: (B, HW, N), rows sum to 1.

    Written by threshold rather than by index: ties at the threshold are all kept, and the export has
    no scatter. With fewer than `top_k` elements all are read.
    """
    k = torch.minimum(torch.tensor(top_k), shape_as_tensor(scores)[2])  # stays a variable in the export
    top = scores.topk(cast(int, k), dim=2).values  # (B, HW, k), falling
    weight = torch.where(scores >= top[..., -1:], (scores - top[..., :1]).exp(), 0.0)  # (B, HW, N)
    return weight / weight.sum(2, keepdim=True)


class QueryEncoder(nn.Module):
    """Slice -> key, shrinkage, selection and f16; sees the slice alone."""

    def __init__(self, config: MemoryNetworkConfig) -> None:
        super().__init__()
        self.backbone = Backbone(IMAGE_CHANNELS, deepest=16)
        channels = FEATURE_CHANNELS[16]
        self.key = nn.Conv2d(channels, config.key_dim, 3, padding=1)
        self.shrinkage = nn.Conv2d(channels, 1, 3, padding=1)
        self.selection = nn.Conv2d(channels, config.key_dim, 3, padding=1)
        self.shrinkage.weight.data.mul_(0.1)  # at first the same, about the middle, everywhere
        assert self.shrinkage.bias is not None
        self.shrinkage.bias.data.zero_()

    def forward(self, image: Tensor) -> Query:
        """(B, 3, H, W) in [0, 1] -> Query at stride 16."""
        f16 = self.backbone(normalise(image))[-1]  # (B, 112, h, w)
        return Query(
            key=self.key(f16),
            shrinkage=1.0 + (MAX_SHRINKAGE - 1.0) * self.shrinkage(f16).sigmoid(),
            selection=self.selection(f16).sigmoid(),
            f16=f16,
        )


class ValueEncoder(nn.Module):
    """Slice, mask and f16 -> value, what a later slice reads back at this place."""

    def __init__(self, config: MemoryNetworkConfig) -> None:
        super().__init__()
        self.light = nn.Sequential(
            *convolution(IMAGE_CHANNELS + 1, 24, 3, stride=2),
            nn.ReLU6(inplace=True),
            *convolution(24, 32, 3, stride=2),
            nn.ReLU6(inplace=True),
            *convolution(32, 64, 3, stride=2),
            nn.ReLU6(inplace=True),
            *convolution(64, 96, 3, stride=2),
            nn.ReLU6(inplace=True),
        )
        self.fuse = nn.Sequential(
            SeparableConvolution(96 + FEATURE_CHANNELS[16], 160, 3), SeparableConvolution(160, 160, 3)
        )
        self.value = nn.Conv2d(160, config.value_dim, 1)

    def forward(self, image: Tensor, mask: Tensor, f16: Tensor) -> Tensor:
        """(B, 3, H, W), (B, 1, H, W), (B, 112, h, w) -> (B, Cv, h, w)."""
        x = self.light(stack(normalise(image), mask))  # (B, 96, h, w)
        value: Tensor = self.value(self.fuse(stack(x, f16)))
        return value


class SensoryUpdate(nn.Module):
    """A convolutional GRU over decoder features: the memory of the last few slices (XMem, section 3.4)."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + channels, 2 * channels, 3, padding=1)
        self.candidate = nn.Conv2d(inputs + channels, channels, 3, padding=1)

    def forward(self, x: Tensor, sensory: Tensor) -> Tensor:
        """(B, C, h, w), (B, Ch, h, w) -> (B, Ch, h, w), in (-1, 1)."""
        update, reset = self.gates(stack(x, sensory)).sigmoid().chunk(2, dim=1)
        candidate: Tensor = self.candidate(stack(x, reset * sensory)).tanh()
        new: Tensor = (1 - update) * sensory + update * candidate
        return new


class CarryNetwork(nn.Module):
    """The mask-conditioned half: what is seen here, what was next door, what the memory says -> logits.

    Without early fusion, kept for comparison, it sees the slice alone, and the neighbour's mask joins at
    stride 16 beside what the memory reads.
    """

    def __init__(self, config: MemoryNetworkConfig) -> None:
        super().__init__()
        self.early = config.early
        self.backbone = Backbone(CARRY_CHANNELS)
        self.decoder = Decoder(CARRY_CHANNELS)
        joined = config.value_dim + config.sensory_dim + (0 if config.early else 1)
        self.join = nn.Sequential(
            SeparableConvolution(joined + DECODER_CHANNELS[16], DECODER_CHANNELS[16], 3),
            nn.Conv2d(DECODER_CHANNELS[16], DECODER_CHANNELS[16], 1),
        )
        self.summary = nn.ModuleList(
            nn.Conv2d(DECODER_CHANNELS[stride], config.sensory_dim, 1) for stride in (16, 8, 4)
        )
        self.update = SensoryUpdate(config.sensory_dim, config.sensory_dim)

    @torch.no_grad()
    def start_from(self, interaction: InteractionNetwork) -> None:
        """Start as the interaction network: its previous mask becomes the neighbour's mask.

        The click maps and the reference are dropped; the neighbour slice enters with zero weights.
        """
        theirs = interaction.state_dict()
        for name, mine in self.state_dict().items():
            if name not in theirs or name.endswith("num_batches_tracked"):
                continue
            if mine.shape == theirs[name].shape:
                mine.copy_(theirs[name])
            else:  # a layer over the input, (outputs, channels, k, k): slice, mask, clicks, hints, reference
                mine.zero_()
                mine[:, : IMAGE_CHANNELS + 1] = theirs[name][:, : IMAGE_CHANNELS + 1]
                mine[:, -HINT_CHANNELS:] = theirs[name][:, HINTS]
        for layer in (self.join[-1], self.update.candidate):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.mul_(0.1)

    def forward(
        self,
        image: Tensor,
        mask: Tensor,
        neighbour: Tensor,
        hints: Tensor,
        readout: Tensor,
        sensory: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Carry `mask` (B, 1, H, W) of the slice `neighbour` to the slice `image` (B, 3, H, W).

        `hints` (B, 3, H, W), `readout` (B, Cv, h, w), `sensory` (B, Ch, h, w)
        -> logits (B, 1, H, W) and the new sensory memory (B, Ch, h, w).
        """
        beside = stack(mask, normalise(neighbour), hints)  # (B, 7, H, W)
        x = stack(normalise(image), beside if self.early else 0 * beside)  # (B, 10, H, W)
        features = self.backbone(x)
        total16 = self.decoder.at_stride_16(features)  # (B, 96, h, w)
        late = () if self.early else (F.avg_pool2d(mask, 16),)  # (B, 1, h, w)
        total16 = total16 + self.join(stack(total16, readout, sensory, *late))
        p16, p8, p4, p2 = self.decoder.pyramid(total16, features)
        levels = (p16, F.avg_pool2d(p8, 2), F.avg_pool2d(p4, 4))  # all (B, c, h, w)
        seen = torch.stack([layer(x) for layer, x in zip(self.summary, levels, strict=True)]).sum(0)
        return self.decoder.head(p2, x), self.update(seen, sensory)


class MemoryNetwork(nn.Module):
    """The parameters of the memory model. What is remembered lives in a memory bank, never here."""

    def __init__(self, config: MemoryNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or MemoryNetworkConfig()
        self.query = QueryEncoder(self.config)
        self.value = ValueEncoder(self.config)
        self.carry = CarryNetwork(self.config)
        self.glimpse = nn.Conv2d(self.config.value_dim, 1, 1)  # training only: the mask in what was read

    def read(self, memory: Memory, query: Query) -> tuple[Tensor, Tensor]:
        """Readout v · W at every position of the query, and how much affinity each element received.

        -> readout (B, Cv, h, w), usage (B, N).
        """
        batch, _, h, w = query.key.shape
        scores = similarity(memory.key, memory.shrinkage, query.key.flatten(2), query.selection.flatten(2))
        affinity = top_k_affinity(scores, self.config.top_k)  # (B, HW, N)
        readout = memory.value @ affinity.transpose(1, 2)  # (B, Cv, HW)
        return readout.reshape(batch, -1, h, w), affinity.sum(1)


def potentiate(candidates: Memory, prototypes: Memory, selection: Tensor) -> Tensor:
    """Values of the prototypes: each the average of all candidates by affinity (XMem, section 3.3).

    `selection` (B, Ck, P) belongs to the prototypes -> (B, Cv, P).
    """
    scores = similarity(candidates.key, candidates.shrinkage, prototypes.key, selection)  # (B, P, N)
    return candidates.value @ scores.softmax(dim=2).transpose(1, 2)
