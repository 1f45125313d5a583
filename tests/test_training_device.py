"""Devices: what the network is handed lies where it computes; the loop says how fast it is."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from limnet.errors import ConfigError
from limnet.networks.fusion import Judgement
from limnet.networks.memory import Memory, MemoryNetworkConfig, Query
from limnet.training.device import choose_device, device_of, moved
from limnet.training.fit import speed
from limnet.training.fusion import FusionStep
from limnet.training.interaction import InteractionStep
from limnet.training.memory import MemoryStep
from limnet.training.overview import OverviewStep
from limnet.training.recipe import ClicksConfig, DataConfig, Recipe, RolloutConfig, RoundsConfig
from limnet.training.shapes import ShapeConfig
from limnet.training.stream import SHAPES, ClipStream

torch.set_num_threads(1)
META = torch.device("meta")  # holds shapes and no numbers: what is not moved there is told apart from what is


class Elsewhere(nn.Module):
    """A network that pretends to lie on another device: it checks what it gets, and answers from here."""

    config = MemoryNetworkConfig(key_dim=8, value_dim=8, sensory_dim=8, top_k=8)

    def __init__(self) -> None:
        super().__init__()
        self.parameter = nn.Parameter(torch.zeros(1, device=META))
        self.num_handed = 0

    def check(self, *tensors: Tensor) -> None:
        assert all(tensor.device == META for tensor in tensors)
        self.num_handed += len(tensors)


class ElsewhereInteraction(Elsewhere):
    def forward(self, *tensors: Tensor) -> Tensor:
        self.check(*tensors)
        return torch.zeros(tensors[1].shape)


class ElsewhereOverview(Elsewhere):
    def forward(self, maps: Tensor) -> Tensor:
        self.check(maps)
        return torch.zeros(maps[:, :1].shape)


class ElsewhereFusion(Elsewhere):
    def forward(self, *tensors: Tensor) -> Judgement:
        self.check(*tensors)
        return Judgement(torch.zeros(2, device=META), torch.zeros(2, 2, device=META))


class ElsewhereMemory(Elsewhere):
    """Its encoders; what is carried cannot be, as a mask elsewhere holds no numbers to make hints of."""

    def query(self, image: Tensor) -> Query:
        self.check(image)
        small = torch.zeros(len(image), 8, 4, 4, device=META)
        return Query(small, small[:, :1] + 1, small, small)

    def value(self, image: Tensor, mask: Tensor, f16: Tensor) -> Tensor:
        self.check(image, mask, f16)
        return torch.zeros(len(image), 8, 4, 4, device=META)

    def read(self, memory: Memory, query: Query) -> tuple[Tensor, Tensor]:
        self.check(*memory, *query)
        return query.key, query.key[:, 0]


def clips(slices: int) -> tuple[Tensor, Tensor]:
    truth = torch.zeros(2, slices, 64, 64)
    truth[..., 20:40, 20:40] = 1
    return torch.rand(2, slices, 3, 64, 64), truth


def test_the_interaction_network_is_handed_everything_on_its_device() -> None:
    network = ElsewhereInteraction()
    config = ClicksConfig(max_rounds=1, boxes=0.3, scribbles=0.3)
    loss, _ = InteractionStep(network, config, 0).loss(*clips(2), 0.0)  # type: ignore[arg-type]
    assert torch.isfinite(loss) and network.num_handed >= 4


def test_the_fusion_network_is_handed_everything_on_its_device() -> None:
    network = ElsewhereFusion()
    step = FusionStep(network)  # type: ignore[arg-type]
    step._judge(*moved((torch.rand(2, 2, 3, 128, 128), torch.rand(2, 6, 128, 128)), network))
    assert network.num_handed == 6


def test_the_overview_network_is_handed_its_maps_on_its_device() -> None:
    network, known = ElsewhereOverview(), torch.zeros(1, 3, 48, 48, 48)
    known[:, 0, 20:30, 20:30, 20:30] = known[:, 2] = 1
    step = OverviewStep(network, RoundsConfig(before=(0.0, 1.0)), 0)  # type: ignore[arg-type]
    loss, _ = step.loss(torch.rand(1, 48, 48, 48), known, 0.0)
    assert torch.isfinite(loss) and network.num_handed == 2


def test_the_memory_model_is_handed_slices_and_masks_on_its_device() -> None:
    network = ElsewhereMemory()
    config = RolloutConfig(far_anchor=1, predicted=0, perturbed=0)
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        MemoryStep(network, config, 0, None).loss(*clips(3), 0.0)  # type: ignore[arg-type]
    assert network.num_handed == 1 + 3 + 3 + 7  # query, value of both anchors, read: then the first hints


def test_a_network_without_parameters_is_on_the_processor() -> None:
    assert device_of(nn.ReLU()) == torch.device("cpu")


def test_the_processor_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "cuda:99"])
def test_a_device_that_is_not_there_says_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--device {name}: "):
        choose_device(name)


def test_speed_is_samples_per_second_and_the_share_of_time_spent_waiting() -> None:
    figures = speed({"steps_per_second": 2.0, "data_wait": 0.1, "loss": 1.0}, batch=16)
    assert figures["samples_per_second"] == 32
    assert figures["waiting"] == pytest.approx(0.2)


def test_shapes_made_ahead_fill_the_bank_and_are_drawn_from() -> None:
    recipe = Recipe(
        network="interaction", batch=2, shapes=ShapeConfig(size=32, depth=16), data=DataConfig(bank=9)
    )
    stream = ClipStream(recipe, [], 0)
    stream.make_ahead("cpu")
    (bank, _) = stream._banks(None, None)[SHAPES]  # type: ignore[arg-type]
    assert len(bank.cases) == recipe.data.bank
    bank.refresh(1)  # full: nothing is made
