"""One training step of each network: what it is given, what it learns from, what it reports."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from limnet.networks.fusion import FusionNetwork, Judgement
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import Memory, MemoryNetwork, MemoryNetworkConfig, Query
from limnet.training.fusion import FusionStep
from limnet.training.interaction import ClickedSlices, InteractionStep
from limnet.training.memory import MemoryStep, Written
from limnet.training.recipe import ClicksConfig, RolloutConfig

torch.set_num_threads(1)
SMALL = MemoryNetworkConfig(key_dim=8, value_dim=8, sensory_dim=8, top_k=8)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def squares(slices: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    """Clips of a bright square that moves by two pixels per slice."""
    truth = torch.zeros(batch, slices, 64, 64)
    for s in range(slices):
        truth[:, s, 20:40, 16 + 2 * s : 36 + 2 * s] = 1
    image = (truth * 0.6 + 0.2 + 0.02 * torch.rand_like(truth))[:, :, None].expand(-1, -1, 3, -1, -1)
    return image.contiguous(), truth


class Echo(nn.Module):
    """An interaction network that believes the likeness hint and keeps what it had."""

    def forward(self, image: Tensor, previous: Tensor, clicks: Tensor, hints: Tensor) -> Tensor:
        self.clicks = clicks
        return 20 * ((hints[:, :1] > 0.5) | (previous > 0.5)).float() * (1 - clicks[:, 1:]) - 10


def test_the_first_click_finds_the_object_and_later_ones_its_errors() -> None:
    image, truth = squares(1)
    slices = ClickedSlices(
        image[:, 0], truth[:, 0], ClicksConfig(refine=0, central=1), np.random.default_rng(0)
    )
    slices.click()
    assert [(c.row, c.column, c.positive) for (c,) in slices.clicks] == [(29, 25, True)] * 2
    slices.advance(Echo())  # type: ignore[arg-type]
    assert torch.equal(slices.previous[:, 0], truth[:, 0])
    slices.click()  # nothing is wrong
    assert [len(clicks) for clicks in slices.clicks] == [1, 1]
    slices.previous[0, 0, 50:60, 50:60] = 1
    slices.click()
    assert [len(clicks) for clicks in slices.clicks] == [2, 1]
    assert not slices.clicks[0][1].positive


def test_refined_samples_start_from_a_mask() -> None:
    image, truth = squares(1, batch=8)
    for refine in (0.0, 1.0):
        slices = ClickedSlices(
            image[:, 0], truth[:, 0], ClicksConfig(refine=refine), np.random.default_rng(0)
        )
        assert [bool(mask.any()) for mask in slices.previous] == [refine == 1] * 8


def test_the_network_gets_clicks_hints_and_previous_mask_of_its_size() -> None:
    image, truth = squares(1)
    slices = ClickedSlices(image[:, 0], truth[:, 0], ClicksConfig(refine=0), np.random.default_rng(0))
    slices.click()
    shapes = [tuple(t.shape) for t in slices.inputs()]
    assert shapes == [(2, 3, 64, 64), (2, 1, 64, 64), (2, 2, 64, 64), (2, 3, 64, 64)]
    _, _, maps, hints = slices.inputs()
    assert maps[:, 0].any() and not maps[:, 1].any()
    assert hints[:, 0][truth[:, 0] > 0].min() > 0.5  # alike in intensity


@pytest.mark.parametrize("training", [True, False])
def test_answering_clicks_does_not_change_the_networks_mode_or_gradients(training: bool) -> None:
    image, truth = squares(1)
    network = InteractionNetwork().train(training)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    slices = ClickedSlices(image[:, 0], truth[:, 0], ClicksConfig(), np.random.default_rng(0))
    slices.click()
    slices.advance(network)
    assert network.training == training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def learned(network: nn.Module) -> float:
    """Share of parameters that a gradient reached."""
    return float(np.mean([p.grad is not None and bool(p.grad.any()) for p in network.parameters()]))


def test_the_interaction_step_reaches_every_parameter() -> None:
    network = InteractionNetwork()
    loss, figures = InteractionStep(network, ClicksConfig(max_rounds=1), seed=0).loss(
        *squares(1), progress=0.0
    )
    loss.backward()
    assert torch.isfinite(loss) and 0 <= figures["dice"] <= 1
    assert learned(network) > 0.95


def test_interaction_validation_reports_dice_by_click_and_is_repeatable() -> None:
    step = InteractionStep(Echo(), ClicksConfig(), seed=0)  # type: ignore[arg-type]
    assert (
        step.validate(*squares(1))
        == step.validate(*squares(1))
        == {"dice_1": 1.0, "dice_2": 1.0, "dice_3": 1.0}
    )


class Copy(nn.Module):
    """A memory model that copies the neighbour's mask and counts what it reads."""

    config = SMALL

    def __init__(self) -> None:
        super().__init__()
        self.read_lengths: list[int] = []
        self.masks: list[Tensor] = []

    def query(self, image: Tensor) -> Query:
        small = image[:, :1, ::16, ::16]
        return Query(small.expand(-1, 8, -1, -1), small + 1, small.expand(-1, 8, -1, -1), small)

    def value(self, image: Tensor, mask: Tensor, f16: Tensor) -> Tensor:
        return mask[:, :, ::16, ::16].expand(-1, 8, -1, -1)

    def read(self, memory: Memory, query: Query) -> tuple[Tensor, Tensor]:
        self.read_lengths.append(memory.key.shape[2] // 16)
        return query.key, memory.key[:, 0]

    def carry(
        self, image: Tensor, mask: Tensor, neighbour: Tensor, hints: Tensor, readout: Tensor, sensory: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.masks.append(mask)
        return 20 * mask - 10, sensory


def test_copying_scores_what_the_copy_baseline_says() -> None:
    figures = MemoryStep(Copy(), RolloutConfig(), 0, None).validate(*squares(4))  # type: ignore[arg-type]
    overlaps = [1 - 2 * s / 20 for s in (1, 2, 3)]  # of 20 columns, two are left per slice
    assert figures["copy"] == pytest.approx(np.mean(overlaps))
    assert figures["dice"] == pytest.approx(np.mean(overlaps), abs=1e-3)
    assert figures["last"] == pytest.approx(overlaps[-1], abs=1e-3)


def test_figures_stay_finite_where_every_object_has_ended() -> None:
    image, truth = squares(3)
    truth[:, -1] = 0
    figures = MemoryStep(Copy(), RolloutConfig(), 0, None).validate(image, truth)  # type: ignore[arg-type]
    assert np.isfinite(list(figures.values())).all()


def test_validation_writes_every_second_slice() -> None:
    network = Copy()
    MemoryStep(network, RolloutConfig(), 0, None).validate(*squares(6))  # type: ignore[arg-type]
    assert network.read_lengths == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(("progress", "true_masks"), [(0.0, True), (1.0, False)])
def test_true_masks_are_shown_at_first_and_own_ones_once_they_have_faded(
    progress: float, true_masks: bool
) -> None:
    image, truth = squares(4)
    network = Copy()
    config = RolloutConfig(
        teacher_start=1, teacher_end=0, teacher_fade=0.5, perturbed=0, predicted=0, far_anchor=0
    )
    MemoryStep(network, config, 0, None).loss(image, truth, progress)  # type: ignore[arg-type]
    shown = [bool(torch.equal(mask > 0.5, truth[:, t : t + 1] > 0.5)) for t, mask in enumerate(network.masks)]
    assert shown == [True, true_masks, true_masks]


def test_a_far_anchor_is_read_from_the_start_and_not_learned_from() -> None:
    image, truth = squares(4)
    network = Copy()
    step = MemoryStep(network, RolloutConfig(far_anchor=1, perturbed=0, predicted=0), 0, None)  # type: ignore[arg-type]
    truth[:, -1] = 1 - truth[:, -1]  # its slice would cost a lot
    loss, _ = step.loss(image, truth, 0.0)
    assert network.read_lengths[0] == 2
    assert loss < 3


def test_the_memory_step_reaches_every_parameter_of_its_network() -> None:
    network = MemoryNetwork(SMALL)
    loss, figures = MemoryStep(network, RolloutConfig(far_anchor=0), 0, None).loss(*squares(4), progress=1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert set(figures) == {"dice", "copy", "last", "ended"}
    assert learned(network) > 0.95


@pytest.mark.parametrize(("progress", "frozen"), [(0.0, False), (0.5, True)])
def test_batch_norm_keeps_its_statistics_once_frozen(progress: float, frozen: bool) -> None:
    network = MemoryNetwork(SMALL).train()
    before = {name: t.clone() for name, t in network.named_buffers()}
    MemoryStep(network, RolloutConfig(freeze=0.5, far_anchor=0), 0, None).loss(*squares(2), progress)
    assert all(torch.equal(t, before[name]) for name, t in network.named_buffers()) == frozen


def test_first_masks_can_be_those_of_the_interaction_network() -> None:
    image, truth = squares(2)
    clicker = Echo()
    step = MemoryStep(Copy(), RolloutConfig(predicted=1, perturbed=0), 0, clicker)  # type: ignore[arg-type]
    step.loss(image, truth, 0.0)
    assert clicker.clicks.shape == (2, 2, 64, 64)


def test_written_elements_are_flattened_over_slices_and_positions() -> None:
    written, query = Written(), Query(*(torch.rand(2, c, 2, 3) for c in (8, 1, 8, 112)))
    for _ in range(3):
        written.write(query, torch.rand(2, 6, 2, 3))
    assert [tuple(t.shape) for t in written.memory] == [(2, 8, 18), (2, 1, 18), (2, 6, 18)]
    assert torch.equal(written.memory.key[..., 6:12], query.key.flatten(2))


def pairs() -> tuple[Tensor, Tensor]:
    """Two pairs: the previous mask is right and the current half of it, and the other way round."""
    masks = torch.zeros(2, 3, 128, 128)
    masks[:, :, 32:96, 32:96] = 1
    masks[0, 2, 64:] = masks[1, 1, 64:] = 0
    near = torch.tensor([0.25, 1.0])[None, :, None, None].expand(2, 2, 128, 128)
    return torch.rand(2, 1, 3, 128, 128), torch.cat([masks, near], 1)


class Oracle(nn.Module):
    """Judges by a fixed preference for the previous mask of each pair."""

    def __init__(self, preference: list[float]) -> None:
        super().__init__()
        self.preference = torch.tensor(preference)

    def forward(self, image: Tensor, previous: Tensor, current: Tensor, nearness: Tensor) -> Judgement:
        self.nearness = nearness
        return Judgement(self.preference, torch.stack([previous, current], 1).mean((2, 3, 4)))


def test_fusion_figures_are_the_dice_of_what_is_kept() -> None:
    figures = {
        name: FusionStep(Oracle(preference)).validate(*pairs())  # type: ignore[arg-type]
        for name, preference in {"right": [5.0, -5.0], "wrong": [-5.0, 5.0]}.items()
    }
    half = 2 * 32 / (64 + 32)
    assert figures["right"]["kept"] == figures["right"]["best"] == 1
    assert figures["wrong"]["kept"] == pytest.approx(half)
    assert figures["wrong"]["previous"] == figures["wrong"]["current"] == pytest.approx((1 + half) / 2)


def test_fusion_is_told_the_nearness_of_both_masks() -> None:
    oracle = Oracle([0.0, 0.0])
    FusionStep(oracle).validate(*pairs())  # type: ignore[arg-type]
    assert oracle.nearness.tolist() == [[0.25, 1.0], [0.25, 1.0]]


def test_a_right_preference_costs_less_than_a_wrong_one() -> None:
    right, wrong = (FusionStep(Oracle(p)).loss(*pairs(), 0.0)[0] for p in ([5.0, -5.0], [-5.0, 5.0]))  # type: ignore[arg-type]
    assert right < wrong


def test_equal_masks_teach_no_preference() -> None:
    image, masks = pairs()
    masks[:, 2] = masks[:, 1]
    first, second = (FusionStep(Oracle(p)).loss(image, masks, 0.0)[0] for p in ([5.0, 5.0], [-5.0, -5.0]))  # type: ignore[arg-type]
    assert first == second


def test_the_fusion_step_reaches_every_parameter() -> None:
    network = FusionNetwork()
    loss, _ = FusionStep(network).loss(*pairs(), progress=0.0)
    loss.backward()
    assert torch.isfinite(loss) and learned(network) > 0.9
