"""What inference runs is what was trained: every exported graph equals its torch network."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnxruntime

from doubles import exported_folder, random_networks
from limnet.model import GRAPHS, read_manifest
from limnet.networks.export import MANIFEST, Graph, graphs, read_one
from limnet.networks.memory import MAX_SHRINKAGE, Memory, Query

torch.set_num_threads(1)
TOLERANCE = 1e-3


def as_stored(network: torch.nn.Module) -> torch.nn.Module:
    """A copy with what the exporter does to weights: batch norms folded, large ones rounded to half."""
    stored = copy.deepcopy(network)
    for sequence in [m for m in stored.modules() if isinstance(m, torch.nn.Sequential)]:
        for place in range(len(sequence) - 1):
            first, second = sequence[place], sequence[place + 1]
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                sequence[place] = torch.nn.utils.fusion.fuse_conv_bn_eval(first, second)
                sequence[place + 1] = torch.nn.Identity()
    for parameter in stored.parameters():
        if parameter.numel() > 64:
            parameter.data = parameter.data.half().float()
    return stored.eval()


@pytest.fixture(scope="module")
def exported() -> dict[str, Graph]:
    """The graphs of the stored networks, by name."""
    return graphs(*(as_stored(network) for network in random_networks()), size=64)


def inputs_of(name: str, size: tuple[int, int], elements: int, batch: int = 1) -> dict[str, torch.Tensor]:
    """Random inputs of a graph for another view and another length of memory."""
    h, w = size[0] // 16, size[1] // 16
    image, one = torch.rand(batch, 3, *size), torch.rand(batch, 1, *size)
    memory = (
        torch.randn(batch, 64, elements) / 2,
        1 + (MAX_SHRINKAGE - 1) * torch.rand(batch, 1, elements),
        torch.randn(batch, 128, elements),
    )
    match name:
        case "interaction":
            return {
                "image": image, "previous": one, "clicks": image[:, :2], "hints": image.flip(2),
                "reference": image.flip(3),
            }  # fmt: skip
        case "query":
            return {"image": image}
        case "value":
            return {"image": image, "mask": one, "f16": torch.randn(batch, 112, h, w)}
        case "carry":
            return {
                "image": image, "mask": one, "neighbour": image.flip(3), "hints": image.flip(2),
                "key": torch.randn(batch, 64, h, w) / 2, "selection": torch.rand(batch, 64, h, w),
                "memory_key": memory[0], "memory_shrinkage": memory[1], "memory_value": memory[2],
                "sensory": torch.randn(batch, 64, h, w).tanh(),
            }  # fmt: skip
        case "potentiate":
            chosen = torch.randperm(elements)[: max(1, elements // 3)]
            return {
                "key": memory[0], "shrinkage": memory[1], "value": memory[2],
                "prototype_key": memory[0][..., chosen], "selection": torch.rand(batch, 64, len(chosen)),
            }  # fmt: skip
        case _:
            small, there = torch.rand(2, batch, 3, 128, 128)
            return {
                "image": small,
                "previous": small[:, :1].round(),
                "current": small[:, 1:2].round(),
                "nearness": torch.rand(batch, 2),
                "reference": there,
                "reference_mask": there[:, :1].round(),
            }


def largest_difference(graph: Graph, name: str, inputs: dict[str, torch.Tensor]) -> float:
    """Between the graph in ONNX Runtime and torch, relative to the output's size where that exceeds 1."""
    with torch.no_grad():
        expected = graph.module(*inputs.values())
    expected = (expected,) if isinstance(expected, torch.Tensor) else tuple(expected)
    runtime = onnxruntime.InferenceSession(
        (exported_folder() / f"{name}.onnx").read_bytes(), _options(), providers=["CPUExecutionProvider"]
    )
    found = runtime.run(list(graph.outputs), {key: tensor.numpy() for key, tensor in inputs.items()})
    assert [array.shape for array in found] == [tuple(tensor.shape) for tensor in expected]
    return max(
        float(np.abs(array - tensor.numpy()).max() / max(1, tensor.abs().max()))
        for array, tensor in zip(found, expected, strict=True)
    )


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return options


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("size", "elements"), [((64, 64), 40), ((96, 64), 333), ((128, 128), 12)])
def test_the_export_equals_torch(
    exported: dict[str, Graph], name: str, size: tuple[int, int], elements: int
) -> None:
    torch.manual_seed(elements)
    assert largest_difference(exported[name], name, inputs_of(name, size, elements)) < TOLERANCE


def test_weights_in_half_precision_change_the_logits_little() -> None:
    torch.manual_seed(0)
    unrounded = graphs(*random_networks(), size=64)["interaction"]
    assert largest_difference(unrounded, "interaction", inputs_of("interaction", (64, 64), 40)) < 0.02


def test_fewer_elements_than_top_k_are_all_read(exported: dict[str, Graph]) -> None:
    assert largest_difference(exported["carry"], "carry", inputs_of("carry", (64, 64), 5)) < TOLERANCE


@pytest.mark.parametrize("elements", [5, 40, 333])
def test_the_exported_read_equals_that_of_training(elements: int) -> None:
    torch.manual_seed(elements)
    given = inputs_of("carry", (64, 96), elements)
    network = random_networks()[1]
    memory = Memory(given["memory_key"], given["memory_shrinkage"], given["memory_value"])
    query = Query(given["key"], given["key"][:, :1], given["selection"], given["key"])
    with torch.no_grad():
        expected = network.read(memory, query)
        found = read_one(memory, query, network.config.top_k)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_manifest_says_what_was_exported() -> None:
    manifest = read_manifest(exported_folder())
    assert (manifest.version, manifest.size, manifest.threshold) == ("test", 64, 0.5)
    assert (manifest.key_dim, manifest.value_dim, manifest.sensory_dim) == (64, 128, 64)
    assert set(manifest.sha256) == set(GRAPHS)


def test_the_weights_fit_their_budget_on_disk() -> None:
    assert sum(path.stat().st_size for path in exported_folder().iterdir()) <= 20e6


def test_large_weights_are_stored_in_half_precision() -> None:
    onnx = pytest.importorskip("onnx")
    for name in GRAPHS:
        for tensor in onnx.load(exported_folder() / f"{name}.onnx").graph.initializer:
            if np.prod(tensor.dims) > 64:
                assert tensor.data_type != onnx.TensorProto.FLOAT, f"{name}: {tensor.name}"


def test_what_serves_training_alone_is_not_exported() -> None:
    onnx = pytest.importorskip("onnx")
    for name in GRAPHS:
        graph = onnx.load(exported_folder() / f"{name}.onnx").graph
        assert not [tensor.name for tensor in graph.initializer if "glimpse" in tensor.name]


def test_the_manifest_is_readable_json() -> None:
    table = json.loads((exported_folder() / MANIFEST).read_text())
    assert all(len(digest) == 64 for digest in table["sha256"].values())
