"""Export: the trained networks as ONNX graphs that `limnet.model` runs, with their sizes and checksums.

Weights are stored in half precision and widened when a graph is loaded: half the size on disk, float32
arithmetic. The memory read lives in `networks/memory.py` alone; its export is what inference runs.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.onnx.operators import shape_as_tensor

from limnet.cube import SIZE
from limnet.cube_maps import NUM_MAPS
from limnet.errors import ConfigError
from limnet.networks.fusion import FusionNetwork
from limnet.networks.interaction import (
    HINT_CHANNELS,
    IMAGE_CHANNELS,
    REFERENCE_CHANNELS,
    InteractionNetwork,
)
from limnet.networks.memory import Memory, MemoryNetwork, Query, potentiate
from limnet.networks.overview import OverviewNetwork

OPSET = 17  # LayerNorm-era operators, known to every ONNX Runtime since 1.13
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Graph:
    """One network to export: what it takes, what it gives, which axes vary."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    varying: dict[str, dict[int, str]]


class CarryGraph(nn.Module):
    """Memory read and mask-conditioned half in one graph.

    The read is `MemoryNetwork.read` in fewer and smaller steps, for one slice: similarities are one matrix
    product, and only the `top_k` elements of a position are weighted and summed. Where more than `top_k`
    elements are equally similar it keeps `top_k` of them, training keeps all.
    """

    def __init__(self, network: MemoryNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        image: Tensor,
        mask: Tensor,
        neighbour: Tensor,
        hints: Tensor,
        key: Tensor,
        selection: Tensor,
        memory_key: Tensor,
        memory_shrinkage: Tensor,
        memory_value: Tensor,
        sensory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of a sweep -> logits (1, 1, H, W), sensory (1, Ch, h, w), usage (1, N)."""
        query = Query(key=key, shrinkage=key[:, :1], selection=selection, f16=key)
        memory = Memory(memory_key, memory_shrinkage, memory_value)
        readout, usage = read_one(memory, query, self.network.config.top_k)
        logits, sensory = self.network.carry(image, mask, neighbour, hints, readout, sensory)
        return logits, sensory, usage


def read_one(memory: Memory, query: Query, top_k: int) -> tuple[Tensor, Tensor]:
    """`MemoryNetwork.read` for a batch of one -> readout (1, Cv, h, w), usage (1, N).

    S = -s (e k^2 - 2 e q k + e q^2) / sqrt(Ck) is linear in (k^2, k, 1): a single product over 2 Ck + 1.
    """
    _, channels, h, w = query.key.shape
    q = query.key.flatten(2)[0].transpose(0, 1)  # (HW, Ck)
    e = query.selection.flatten(2)[0].transpose(0, 1)  # (HW, Ck)
    k, value = memory.key[0], memory.value[0]  # (Ck, N), (Cv, N)
    eq = e * q
    asked = torch.cat([e, eq, (eq * q).sum(1, keepdim=True)], dim=1)  # (HW, 2 Ck + 1)
    stored = torch.cat([k * k, -2 * k, torch.ones_like(k[:1])]) * (memory.shrinkage[0] / -math.sqrt(channels))
    scores = asked @ stored  # (HW, N)
    count = torch.minimum(torch.tensor(top_k), shape_as_tensor(scores)[1])  # stays a variable in the export
    top, index = scores.topk(cast(int, count), dim=1)  # (HW, count), falling
    affinity = top.softmax(dim=1)  # (HW, count)
    found = value.transpose(0, 1)[index]  # (HW, count, Cv)
    readout = (affinity[:, None] @ found)[:, 0].transpose(0, 1)  # (Cv, HW)
    usage = torch.zeros_like(memory.shrinkage[0, 0]).scatter_add(0, index.flatten(), affinity.flatten())
    return readout.reshape(1, -1, h, w), usage[None]


class PotentiateGraph(nn.Module):
    """Consolidation: values of prototypes from all candidates."""

    def forward(
        self, key: Tensor, shrinkage: Tensor, value: Tensor, prototype_key: Tensor, selection: Tensor
    ) -> Tensor:
        """Candidates (1, C, N), prototypes (1, Ck, P) -> prototype values (1, Cv, P)."""
        prototypes = Memory(prototype_key, shrinkage, value)
        return potentiate(Memory(key, shrinkage, value), prototypes, selection)


def graphs(
    interaction: InteractionNetwork,
    memory: MemoryNetwork,
    fusion: FusionNetwork,
    overview: OverviewNetwork | None = None,
    *,
    size: int,
) -> dict[str, Graph]:
    """All graphs with example inputs at a view of size x size."""
    c, n, small = memory.config, 40, size // 16
    image, one = torch.rand(1, IMAGE_CHANNELS, size, size), torch.rand(1, 1, size, size)
    hints = torch.rand(1, HINT_CHANNELS, size, size)
    f16, key = torch.rand(1, 112, small, small), torch.rand(1, c.key_dim, small, small)
    elements = {
        "memory_key": torch.rand(1, c.key_dim, n),
        "memory_shrinkage": 1 + torch.rand(1, 1, n),
        "memory_value": torch.rand(1, c.value_dim, n),
    }
    prototypes = torch.rand(1, c.key_dim, 7)
    slices = {name: torch.rand(1, 3, 128, 128) for name in ("image", "reference")}
    masks = {name: torch.rand(1, 1, 128, 128) for name in ("previous", "current", "reference_mask")}
    judged = {  # in the order of FusionNetwork.forward
        "image": slices["image"], "previous": masks["previous"], "current": masks["current"],
        "nearness": torch.rand(1, 2), "reference": slices["reference"],
        "reference_mask": masks["reference_mask"],
    }  # fmt: skip
    return {
        "interaction": Graph(
            interaction,
            {
                "image": image, "previous": one, "clicks": torch.rand(1, 2, size, size), "hints": hints,
                "reference": torch.rand(1, REFERENCE_CHANNELS, size, size),
            },
            ("logits",),
            _spatial("image", "previous", "clicks", "hints", "reference", "logits"),
        ),
        "query": Graph(
            memory.query,
            {"image": image},
            ("key", "shrinkage", "selection", "f16"),
            _spatial("image") | _spatial("key", "shrinkage", "selection", "f16", names=("h", "w")),
        ),
        "value": Graph(
            memory.value,
            {"image": image, "mask": one, "f16": f16},
            ("value",),
            _spatial("image", "mask") | _spatial("f16", "value", names=("h", "w")),
        ),
        "carry": Graph(
            CarryGraph(memory),
            {
                "image": image, "mask": one, "neighbour": image.clone(), "hints": hints,
                "key": key, "selection": key.clone(), **elements,
                "sensory": torch.rand(1, c.sensory_dim, small, small),
            },
            ("logits", "new_sensory", "usage"),
            {name: {2: "H", 3: "W"} for name in ("image", "mask", "neighbour", "hints", "logits")}
            | {name: {2: "h", 3: "w"} for name in ("key", "selection", "sensory", "new_sensory")}
            | {name: {2: "N"} for name in elements}
            | {"usage": {1: "N"}},
        ),
        "potentiate": Graph(
            PotentiateGraph(),
            {
                "key": elements["memory_key"], "shrinkage": elements["memory_shrinkage"],
                "value": elements["memory_value"],
                "prototype_key": prototypes, "selection": prototypes.clone(),
            },
            ("prototype_value",),
            {name: {2: "N"} for name in ("key", "shrinkage", "value")}
            | {name: {2: "P"} for name in ("prototype_key", "selection", "prototype_value")},
        ),
        "fusion": Graph(
            fusion,
            judged,
            ("preference", "quality"),
            {name: {0: "B"} for name in (*judged, "preference", "quality")},
        ),
    } | ({} if overview is None else {"overview": overview_graph(overview)})  # fmt: skip


def overview_graph(network: OverviewNetwork) -> Graph:
    """The graph of the overview network with example inputs."""
    return Graph(
        network,
        {"maps": torch.rand(1, NUM_MAPS, SIZE, SIZE, SIZE)},
        ("logits",),
        {name: {0: "B"} for name in ("maps", "logits")},
    )


def _spatial(*inputs: str, names: tuple[str, str] = ("H", "W")) -> dict[str, dict[int, str]]:
    return {name: {0: "B", 2: names[0], 3: names[1]} for name in inputs}


def export_networks(
    interaction: InteractionNetwork,
    memory: MemoryNetwork,
    fusion: FusionNetwork,
    folder: Path,
    *,
    overview: OverviewNetwork | None = None,
    version: str,
    size: int,
    threshold: float,
) -> None:
    """Write every graph and the manifest into `folder`.

    `size` is the view's side in pixels that inference shall use, `threshold` the preference above which
    a slice keeps its previous mask (the paper's tau).
    """
    if size < 64 or size % 32:
        raise ConfigError(f"size must be a multiple of 32 and at least 64, got {size}")
    folder.mkdir(parents=True, exist_ok=True)
    checksums = {}
    for name, graph in graphs(interaction, memory, fusion, overview, size=size).items():
        data = graph_bytes(graph)
        (folder / f"{name}.onnx").write_bytes(data)
        checksums[name] = hashlib.sha256(data).hexdigest()
    manifest = {
        "version": version,
        "size": size,
        "threshold": threshold,
        "key_dim": memory.config.key_dim,
        "value_dim": memory.config.value_dim,
        "sensory_dim": memory.config.sensory_dim,
        "sha256": checksums,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def graph_bytes(graph: Graph) -> bytes:
    """The serialised ONNX model of one network, weights in half precision."""
    import onnx

    graph.module.eval()
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its successor
        path = Path(place) / "graph.onnx"
        torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            path,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes=graph.varying,
            opset_version=OPSET,
            dynamo=False,
        )
        model = onnx.load(path)
    _halve_weights(model)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _halve_weights(model: Any) -> None:
    """Store float32 weights of more than 64 numbers as float16 behind a Cast, folded when loaded."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kept, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or array.size <= 64:
            kept.append(tensor)
            continue
        stored = tensor.name + "_half"
        kept.append(numpy_helper.from_array(array.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:]
    del model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
