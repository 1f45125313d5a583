"""Exported weights come back as torch networks that say the same, and can be exported again."""
# ruff: noqa: E402  # torch and onnx are optional: the imports below come after the checks for them

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import nn

import limnet
from doubles import exported_folder, random_networks
from limnet.errors import WeightsError
from limnet.model import GRAPHS
from limnet.networks.backbone import InvertedResidual
from limnet.networks.export import Graph, export_networks, graph_bytes, graphs, overview_graph
from limnet.networks.interaction import INTERACTION_CHANNELS, REFERENCE_CHANNELS, InteractionNetwork
from limnet.networks.restore import (
    Networks,
    fill,
    layers_in_order,
    measure_norms,
    restore_networks,
)

torch.set_num_threads(1)

WEIGHTS = Path(limnet.__file__).parent / "weights"


@pytest.fixture(scope="module")
def restored() -> Networks:
    return restore_networks(exported_folder())


def outputs(folder: Path, name: str, graph: Graph) -> list[np.ndarray]:
    """What an exported graph says of the example inputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    wanted = {entry.name for entry in session.get_inputs()}
    given = {key: tensor.numpy() for key, tensor in graph.inputs.items() if key in wanted}
    found: list[np.ndarray] = session.run(None, given)
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_a_restored_network_says_what_its_graph_says(restored: Networks, name: str) -> None:
    torch.manual_seed(0)
    graph = graphs(*restored[:3], size=64)[name]
    with torch.no_grad():
        said = graph.module(*graph.inputs.values())
    said = said if isinstance(said, tuple) else (said,)
    for mine, theirs in zip(said, outputs(exported_folder(), name, graph), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-3, rtol=1e-4)


def test_the_shipped_overview_network_comes_back_and_older_weights_have_none(restored: Networks) -> None:
    network = restore_networks(WEIGHTS).overview
    assert network is not None and restored.overview is None
    torch.manual_seed(0)
    graph = overview_graph(network)
    with torch.no_grad():
        said = network(*graph.inputs.values()).numpy()
    np.testing.assert_allclose(said, outputs(WEIGHTS, "overview", graph)[0], atol=1e-3, rtol=1e-3)
    assert said.std() > 0.1


def test_exporting_what_was_restored_changes_no_weight(restored: Networks, tmp_path: Path) -> None:
    export_networks(*restored[:3], tmp_path, version="again", size=64, threshold=0.5)
    again = restore_networks(tmp_path)
    for mine, theirs in zip(restored[:3], again[:3], strict=True):
        others = theirs.state_dict()
        for key, tensor in mine.state_dict().items():
            assert key.startswith("glimpse") or torch.equal(tensor, others[key]), key


def test_sizes_and_the_number_of_elements_read_come_back(restored: Networks) -> None:
    config = restored.memory.config
    assert (config.key_dim, config.value_dim, config.sensory_dim, config.top_k) == (64, 128, 64, 10)
    assert restored.manifest.version == "test"


def test_every_weighted_layer_of_the_networks_is_met_once(restored: Networks) -> None:
    found = [
        layer for graph in graphs(*restored[:3], size=64).values() for layer, _ in layers_in_order(graph)
    ]
    kinds = (nn.Conv2d, nn.Linear)
    all_layers = [m for network in restored[:3] for m in network.modules() if isinstance(m, kinds)]
    assert len({id(layer) for layer in found}) == len(found)
    assert {id(layer) for layer in all_layers} - {id(layer) for layer in found} == {
        id(restored.memory.glimpse)
    }


def test_restored_batch_norms_only_scale_by_a_power_of_two_and_add(restored: Networks) -> None:
    for norm in (m for m in restored.interaction.modules() if isinstance(m, nn.BatchNorm2d)):
        mantissa, _ = torch.frexp(norm.weight)
        assert (mantissa == 0.5).all()
        x = torch.randn(1, norm.num_features, 3, 3)
        with torch.no_grad():
            wanted = x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
            torch.testing.assert_close(norm(x), wanted, atol=1e-5, rtol=1e-4)


def test_weights_under_a_restored_batch_norm_are_of_one_size(restored: Networks) -> None:
    graph = graphs(*restored[:3], size=64)["interaction"]
    for layer, norm in layers_in_order(graph):
        if norm is not None:
            rows = layer.weight.detach().flatten(1)
            size = rows.pow(2).mean(1).sqrt() * (rows.shape[1] / 2) ** 0.5
            assert ((size == 0) | ((size > 0.7) & (size < 1.42))).all()


def test_the_shipped_weights_can_be_restored() -> None:
    import limnet

    networks = restore_networks(Path(limnet.__file__).parent / "weights")
    assert networks.manifest.version == limnet.__version__
    assert networks.memory.config.top_k == 30


def test_a_graph_of_other_layers_is_named() -> None:
    import onnx

    x = torch.rand(1, 4, 8, 8)
    small, large = (
        Graph(nn.Sequential(InvertedResidual(4, width, 3, 1, 2)).eval(), {"x": x}, ("y",), {})
        for width in (4, 8)
    )
    model = onnx.load_model_from_string(graph_bytes(small))
    with pytest.raises(
        WeightsError, match=r"here\.onnx: does not fit the networks of this version \(layer 2\)"
    ):
        fill(large, model, "here.onnx")


def test_damaged_weights_are_not_restored(tmp_path: Path) -> None:
    shutil.copytree(exported_folder(), tmp_path / "weights")
    (tmp_path / "weights" / "query.onnx").write_bytes(b"cut short")
    with pytest.raises(WeightsError, match=r"query\.onnx: SHA-256"):
        restore_networks(tmp_path / "weights")


def test_measured_norms_have_the_statistics_of_what_passes_and_change_nothing() -> None:
    network = restore_networks(exported_folder()).interaction
    torch.manual_seed(0)
    inputs = [torch.rand(4, channels, 64, 64) for channels in (3, 1, 2, 3, 3)]
    with torch.no_grad():
        before = network(*inputs)
        measure_norms(network, lambda: network(*inputs))
        torch.testing.assert_close(network(*inputs), before, atol=1e-3, rtol=1e-3)
        assert not network.training
        torch.testing.assert_close(network.train()(*inputs), before, atol=1e-2, rtol=1e-2)


def test_weights_older_than_references_are_told_nothing_by_them() -> None:
    import onnx
    from onnx import numpy_helper

    restored = restore_networks(exported_folder())
    older = onnx.load(exported_folder() / "interaction.onnx")
    cut = 0
    for tensor in older.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4 and array.shape[1] == INTERACTION_CHANNELS:
            tensor.CopyFrom(numpy_helper.from_array(array[:, :-REFERENCE_CHANNELS].copy(), tensor.name))
            cut += 1
    assert cut == 2  # the two layers over the network's input
    whole = graphs(*restored[:3], size=64)["interaction"]
    fill(whole, older, "here")
    *given, reference = whole.inputs.values()
    with torch.no_grad():
        told, not_told = (restored.interaction(*given, maps) for maps in (reference, 0 * reference))
    assert torch.equal(told, not_told)


def test_a_narrow_backbone_comes_back_as_narrow(tmp_path: Path) -> None:
    _, memory, fusion = random_networks()
    narrow = InteractionNetwork(0.5).eval()
    export_networks(narrow, memory, fusion, tmp_path, version="narrow", size=64, threshold=0.5)
    back = restore_networks(tmp_path).interaction
    assert back.width == 0.5
    inputs = graphs(narrow, memory, fusion, size=64)["interaction"].inputs
    with torch.no_grad():  # weights are stored in half precision
        torch.testing.assert_close(back(*inputs.values()), narrow(*inputs.values()), atol=0.02, rtol=0.02)
