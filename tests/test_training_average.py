"""A running mean of the weights is kept instead of the last step's."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from limnet.training.average import Average


def network(weight: float) -> nn.Module:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.constant_(layer.bias, -weight)
    return layer


def mean_of(average: Average) -> float:
    wearer = network(0.0)
    with average.worn_by(wearer):
        assert torch.equal(wearer.bias.detach(), -wearer.weight.detach()[0])
        return wearer.weight.item()


def test_the_first_step_is_the_mean_and_each_one_moves_it() -> None:
    average = Average(network(7.0), decay=0.75)
    average.add(network(1.0))
    assert mean_of(average) == 1.0
    average.add(network(3.0))
    assert mean_of(average) == pytest.approx(1.5)


def test_without_decay_the_mean_is_the_network() -> None:
    average = Average(network(7.0), decay=0.0)
    for weight in (1.0, 3.0):
        average.add(network(weight))
        assert mean_of(average) == weight


def test_a_mean_goes_on_from_where_it_stood() -> None:
    average = Average(network(7.0), decay=0.75, start=network(1.0).state_dict())
    average.add(network(3.0))
    assert mean_of(average) == pytest.approx(1.5)


def test_the_network_gets_its_own_weights_back_whatever_happens() -> None:
    average, wearer = Average(network(7.0), decay=0.5), network(5.0)
    with pytest.raises(KeyError), average.worn_by(wearer) as own:
        assert wearer.weight.item() == 7.0 and own["weight"].item() == 5.0
        raise KeyError
    assert wearer.weight.item() == 5.0
