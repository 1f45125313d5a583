"""Restore: exported graphs back into torch networks, so that training can go on from shipped weights.

An exported graph has batch norms folded into the convolutions before them. Restored, a batch norm does
nothing but scale and add the folded offset: its statistics mean nothing, so it must stay in evaluation mode,
or be given statistics again first (`measure_norms`).
Layers meet by order: convolutions and linear layers run in the same order in torch and in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limnet.errors import WeightsError
from limnet.model import OVERVIEW, Manifest, read_manifest, verify
from limnet.networks.backbone import STEM_CHANNELS
from limnet.networks.export import Graph, graphs
from limnet.networks.fusion import FusionNetwork
from limnet.networks.interaction import REFERENCE_CHANNELS, InteractionNetwork
from limnet.networks.memory import MemoryNetwork, MemoryNetworkConfig
from limnet.networks.overview import OverviewNetwork

Norm = nn.BatchNorm2d | nn.BatchNorm3d
WEIGHTED = ("Conv", "Gemm")  # ONNX operators of torch's convolutions and linear layers


class Networks(NamedTuple):
    """The networks of exported weights, in evaluation mode."""

    interaction: InteractionNetwork
    memory: MemoryNetwork  # its `glimpse`, which only training uses, is not exported: it is new
    fusion: FusionNetwork
    overview: OverviewNetwork | None  # None in weights exported before there was one
    manifest: Manifest


class Layer(NamedTuple):
    """A layer with weights, and the batch norm that runs right after it."""

    layer: nn.Conv2d | nn.Conv3d | nn.Linear
    norm: Norm | None


def restore_networks(folder: Path) -> Networks:
    """The networks whose graphs and manifest are in `folder`; WeightsError when damaged or of others.

    Weights are stored in half precision, so the networks equal the graphs, not what was exported.
    """
    import onnx

    verify(folder)
    manifest = read_manifest(folder)
    models = {name: onnx.load(folder / f"{name}.onnx") for name in manifest.sha256}
    top_k = _top_k(models["carry"], folder)
    sizes = {name: getattr(manifest, name) for name in ("key_dim", "value_dim", "sensory_dim")}
    memory = MemoryNetwork(MemoryNetworkConfig(**sizes, top_k=top_k))
    interaction = InteractionNetwork(_width(models["interaction"]))
    overview = OverviewNetwork().eval() if OVERVIEW in models else None
    networks = Networks(interaction.eval(), memory.eval(), FusionNetwork().eval(), overview, manifest)
    for name, graph in graphs(*networks[:4], size=64).items():
        fill(graph, models[name], f"{folder / name}.onnx")
    return networks


@torch.no_grad()
def fill(graph: Graph, model: Any, where: str) -> None:
    """Give the layers of a graph's module the weights of an ONNX model of it; `where` names it in errors."""
    layers, weights = layers_in_order(graph), list(_weights(model))
    if isinstance(graph.module, InteractionNetwork) and len(weights) == len(layers):
        pairs = zip(layers, weights, strict=True)
        weights = [(_told_more(weight, layer.weight.shape[1]), bias) for (layer, _), (weight, bias) in pairs]
    shapes = [tuple(layer.weight.shape) for layer, _ in layers]
    stored = [weight.shape for weight, _ in weights]
    if shapes != stored:
        number = next((n for n, (a, b) in enumerate(zip(shapes, stored, strict=False)) if a != b), None)
        what = f"{len(stored)} layers, expected {len(shapes)}" if number is None else f"layer {number}"
        raise WeightsError(f"{where}: does not fit the networks of this version ({what}); train anew")
    for (layer, norm), (weight, bias) in zip(layers, weights, strict=True):
        layer.weight.copy_(torch.from_numpy(weight))
        offset = norm.bias if norm is not None else layer.bias
        assert offset is not None  # a layer has its own offset or a batch norm's
        offset.copy_(torch.from_numpy(bias))
        if norm is not None:
            assert norm.running_mean is not None and norm.running_var is not None
            scale = _scale(layer.weight)
            layer.weight.div_(scale.view(-1, *[1] * (layer.weight.ndim - 1)))
            norm.weight.copy_(scale)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)


def _told_more(weight: NDArray[np.float32], inputs: int) -> NDArray[np.float32]:
    """A layer over the input (outputs, inputs, k, k) as it was before references: these count for nothing."""
    is_older = weight.ndim == 4 and inputs - weight.shape[1] == REFERENCE_CHANNELS
    return np.pad(weight, ((0, 0), (0, REFERENCE_CHANNELS), (0, 0), (0, 0))) if is_older else weight


def _scale(weight: Tensor) -> Tensor:
    """What of a folded layer's weights (outputs, ...) is the norm's: each output's size against He's.

    A step of the optimiser is equally long for every weight: left folded, small channels would be torn about
    by the rate that suits large ones. A power of two, so that folding it in again changes no bit.
    """
    rows = weight.flatten(1)
    size = rows.pow(2).mean(1).sqrt() * math.sqrt(rows.shape[1] / 2)  # (outputs,)
    return torch.where(size > 0, size.log2().round().exp2(), 1.0)


@torch.no_grad()
def measure_norms(network: nn.Module, run: Callable[[], object]) -> None:
    """Give the batch norms of a restored network statistics again: those of what passes them in `run`.

    Scale and offset change along, so that the network in evaluation mode stays what it is, and trains on as
    it was trained. Norms that nothing passes stay.
    """
    norms = [module for module in network.modules() if isinstance(module, Norm)]
    sums: dict[nn.Module, list[Tensor]] = {}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double()
        across = [axis for axis in range(values.ndim) if axis != 1]
        count = torch.tensor(values.numel() / values.shape[1], dtype=torch.float64)
        found = [count, values.sum(across).cpu(), values.square().sum(across).cpu()]
        sums[norm] = [a + b for a, b in zip(sums[norm], found, strict=True)] if norm in sums else found

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    training = network.training
    network.eval()
    try:
        run()
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    for norm in norms:
        if norm in sums:
            count, total, squares = sums[norm]
            mean = total / count
            _measured(norm, mean.float(), (squares / count - mean.square()).clamp(min=0).float())


def _measured(norm: Norm, mean: Tensor, variance: Tensor) -> None:
    """The same affine map, written with these statistics: scale and offset take up the difference."""
    assert norm.running_mean is not None and norm.running_var is not None
    slope = norm.weight / (norm.running_var + norm.eps).sqrt()
    offset = norm.bias - slope * norm.running_mean
    mean, variance = mean.to(slope.device), variance.to(slope.device)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + slope * mean)


def layers_in_order(graph: Graph) -> list[Layer]:
    """The layers with weights of a graph's module in the order in which they run."""
    ran: list[nn.Module] = []
    kinds = (nn.Conv2d, nn.Conv3d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm3d)
    chosen = [module for module in graph.module.modules() if isinstance(module, kinds)]
    hooks = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in chosen]
    try:
        with torch.no_grad():
            graph.module(*graph.inputs.values())
    finally:
        for hook in hooks:
            hook.remove()
    layers = []
    for module, following in zip_longest(ran, ran[1:]):
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
            layers.append(Layer(module, following if isinstance(following, Norm) else None))
    return layers


def _weights(model: Any) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weight and bias of every convolution and linear layer of an ONNX model, in order."""
    arrays = _arrays(model)
    for node in model.graph.node:
        if node.op_type in WEIGHTED:
            yield arrays[node.input[1]], arrays[node.input[2]]


def _arrays(model: Any) -> Mapping[str, NDArray[np.float32]]:
    """Every stored array by name and by those it goes by later: widened to single precision, or shared."""
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]].astype(np.float32)
        elif node.op_type == "Identity" and node.input[0] in arrays:  # equal arrays are stored once
            arrays[node.output[0]] = arrays[node.input[0]]
        elif node.op_type == "Constant":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return {name: np.array(array) for name, array in arrays.items()}  # writable


def _width(interaction: Any) -> float:
    """How wide the backbone is, as a share of Lite0's: its stem is the first layer."""
    weight, _ = next(_weights(interaction))
    return len(weight) / STEM_CHANNELS


def _top_k(carry: Any, folder: Path) -> int:
    """How many memory elements a position reads from: the constant that the graph's only Min bounds."""
    arrays = _arrays(carry)
    found = [
        int(arrays[name]) for node in carry.graph.node if node.op_type == "Min" for name in node.input
        if name in arrays and arrays[name].ndim == 0
    ]  # fmt: skip
    if len(found) != 1:
        raise WeightsError(f"{folder / 'carry.onnx'}: the number of elements read is not found; train anew")
    return found[0]
