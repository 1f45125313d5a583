"""Between the weights a training started from and those it came to."""
# ruff: noqa: E402  # torch and onnx are optional: the imports below come after the checks for them

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from torch import Tensor, nn

from doubles import exported_folder, random_networks
from limnet.errors import ConfigError
from limnet.networks.blend import blend
from limnet.networks.export import Graph, graphs
from limnet.networks.restore import layers_in_order, restore_networks
from limnet.training.build import GRAPHS_OF

torch.set_num_threads(1)


def both() -> tuple[dict[str, Graph], dict[str, Graph]]:
    """Trained networks, with batch norms as training has them, and others as exported weights give them."""
    start = restore_networks(exported_folder())[:3]
    trained = copy.deepcopy(random_networks())
    for network in trained:
        for parameter in network.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return graphs(*trained, size=64), graphs(*start, size=64)


@torch.no_grad()
def said(graph: Graph) -> Tensor:
    torch.manual_seed(0)
    inputs = [torch.rand_like(tensor) for tensor in graph.inputs.values()]
    found = graph.module(*inputs)
    return found if isinstance(found, Tensor) else torch.cat([tensor.flatten() for tensor in found])


@pytest.mark.parametrize("name", ["interaction", "query", "value", "fusion"])
def test_all_of_the_way_is_the_trained_network_and_none_of_it_the_start(name: str) -> None:
    trained, start = both()
    before = said(trained[name])
    blend(trained[name], start[name], 1.0)
    torch.testing.assert_close(said(trained[name]), before, atol=1e-3, rtol=1e-3)
    blend(trained[name], start[name], 0.0)
    torch.testing.assert_close(said(trained[name]), said(start[name]), atol=1e-3, rtol=1e-3)


def test_half_of_the_way_is_the_mean_of_what_the_layers_say() -> None:
    one, other = (nn.Sequential(nn.Conv2d(2, 3, 1, bias=False), nn.BatchNorm2d(3)).eval() for _ in "12")
    for norm in (one[1], other[1]):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    image = torch.rand(1, 2, 4, 4)
    expected = (one(image) + other(image)) / 2
    first, second = (Graph(module, {"image": image}, ("out",), {}) for module in (one, other))
    blend(first, second, 0.5)
    torch.testing.assert_close(one(image), expected)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    trained, start = both()
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\]"):
        blend(trained["query"], start["query"], share)


@pytest.mark.parametrize(("kind", "number"), [("interaction", 0), ("memory", 1), ("fusion", 2)])
def test_the_graphs_of_a_network_hold_each_of_its_layers_once(kind: str, number: int) -> None:
    networks = restore_networks(exported_folder())[:3]
    made = graphs(*networks, size=64)
    met = [id(layer) for name in GRAPHS_OF[kind] for layer, _ in layers_in_order(made[name])]
    modules = networks[number].named_modules()
    wanted = [id(m) for name, m in modules if isinstance(m, nn.Conv2d | nn.Linear) and name != "glimpse"]
    assert sorted(met) == sorted(wanted)  # glimpse is not exported
