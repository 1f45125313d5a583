"""Blend: the weights of a network between those it started from and those it was trained to.

On images unlike those of the training the middle of the way is often better than its end (Wortsman et al.,
arXiv:2109.01903). Networks are compared as they are exported, batch norms folded into their convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limnet.errors import ConfigError
from limnet.networks.export import Graph
from limnet.networks.restore import Layer, layers_in_order

SMALLEST = 1e-8  # a norm that scales by less says nothing, and is left as it is


@torch.no_grad()
def blend(trained: Graph, start: Graph, share: float) -> None:
    """Move the network of `trained` to `share` of the way from that of `start`; 1 leaves it as it is.

    Both are graphs of one kind of network in evaluation mode. ConfigError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"the share of the trained weights must be in [0, 1], got {share:g}")
    for new, old in zip(layers_in_order(trained), layers_in_order(start), strict=True):
        weight, offset = (
            share * a + (1 - share) * b for a, b in zip(_folded(new), _folded(old), strict=True)
        )
        _write(new, weight, offset)


def _folded(layer: Layer) -> tuple[Tensor, Tensor]:
    """Weight and offset of a layer with the batch norm after it as one."""
    weight, norm = layer.layer.weight, layer.norm
    if norm is None:
        assert layer.layer.bias is not None  # a layer has its own offset or a batch norm's
        return weight, layer.layer.bias
    slope, mean = _slope(layer), norm.running_mean
    assert mean is not None
    return weight * _across(slope, weight), norm.bias - slope * mean


def _write(layer: Layer, weight: Tensor, offset: Tensor) -> None:
    """Give a layer a folded weight and offset; its batch norm keeps its scale and statistics."""
    norm = layer.norm
    if norm is None:
        assert layer.layer.bias is not None
        layer.layer.weight.copy_(weight)
        layer.layer.bias.copy_(offset)
        return
    slope, mean = _slope(layer), norm.running_mean
    assert mean is not None
    says = slope.abs() > SMALLEST
    unfolded = weight / _across(torch.where(says, slope, 1.0), weight)
    layer.layer.weight.copy_(torch.where(_across(says, weight), unfolded, layer.layer.weight))
    norm.bias.copy_(offset + slope * mean)


def _slope(layer: Layer) -> Tensor:
    """What the batch norm of a layer multiplies by: (outputs,)."""
    norm = layer.norm
    assert norm is not None and norm.running_var is not None
    return norm.weight / (norm.running_var + norm.eps).sqrt()


def _across(values: Tensor, weight: Tensor) -> Tensor:
    """One value per output, shaped to meet a weight (outputs, ...)."""
    return values.view(-1, *[1] * (weight.ndim - 1))
