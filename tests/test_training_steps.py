"""One training step of each network: what it is given, what it learns from, what it reports."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from limnet.errors import ConfigError
from limnet.networks.fusion import FusionNetwork, Judgement
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import Memory, MemoryNetwork, MemoryNetworkConfig, Query
from limnet.networks.overview import OverviewNetwork
from limnet.training.fusion import FusionStep
from limnet.training.interaction import ClickedSlices, InteractionStep
from limnet.training.losses import batch_dice
from limnet.training.memory import MemoryStep, Policy, Written
from limnet.training.overview import MOMENTUM, OverviewStep
from limnet.training.pair import Pair
from limnet.training.recipe import ClicksConfig, RolloutConfig, RoundsConfig

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

    def forward(
        self, image: Tensor, previous: Tensor, clicks: Tensor, hints: Tensor, reference: Tensor
    ) -> Tensor:
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


@pytest.mark.parametrize(("centred", "place"), [(0, (29, 25)), (1, (32, 32))])
def test_a_first_click_may_be_the_one_that_its_view_was_laid_around(
    centred: float, place: tuple[int, int]
) -> None:
    image, truth = squares(1)  # the middle of the view, (32, 32), lies in the square, not in its middle
    config = ClicksConfig(refine=0, central=1, centred=centred)
    slices = ClickedSlices(image[:, 0], truth[:, 0], config, np.random.default_rng(0))
    slices.click()
    assert [(c.row, c.column, c.positive) for (c,) in slices.clicks] == [(*place, True)] * 2


def test_a_mask_to_refine_and_a_view_around_something_else_get_a_click_on_their_largest_error() -> None:
    image, truth = squares(1)
    config, rng = ClicksConfig(central=1, centred=1), np.random.default_rng(0)
    wrong = truth.clone()
    wrong[0, 0, 50:60, 50:60] = 1
    refined = ClickedSlices(image[:, 0], truth[:, 0], config, rng, wrong)
    elsewhere = ClickedSlices(image[:, 0], torch.roll(truth[:, 0], 20, -1), config, rng)
    for slices, places in ((refined, [(54, 54), None]), (elsewhere, [(29, 45)] * 2)):
        slices.click()
        given = [(clicks[0].row, clicks[0].column) if clicks else None for clicks in slices.clicks]
        assert given == places


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_batches_of_first_clicks_start_from_nothing_and_are_learned_from_at_once(first: float) -> None:
    step = InteractionStep(Echo(), ClicksConfig(first=first, refine=1, max_rounds=2), seed=0)  # type: ignore[arg-type]
    drawn = [step._drawn(*squares(2)) for _ in range(20)]
    assert {bool(slices.previous.any()) for slices, _ in drawn} == {first == 0}
    assert {number for _, number in drawn} == ({0} if first else {0, 1, 2})


def clicked(clips: tuple[Tensor, Tensor], seed: int = 0, **settings: float) -> ClickedSlices:
    """One slice of each clip, as training picks it."""
    return ClickedSlices.of_clips(*clips, ClicksConfig(**settings), np.random.default_rng(seed))  # type: ignore[arg-type]


def test_what_is_not_refined_starts_from_nothing_on_the_prompt_slice() -> None:
    image, truth = squares(3)
    slices = clicked((image, truth), refine=0)
    assert torch.equal(slices.image, image[:, 0])
    assert np.array_equal(slices.truth, truth[:, 0].numpy() > 0.5)
    assert not slices.previous.any()


@pytest.mark.parametrize("refine", [0.0, 1.0])
def test_refined_samples_start_from_a_mask(refine: float) -> None:
    slices = clicked(squares(1, batch=8), refine=refine)
    assert [bool(mask.any()) for mask in slices.previous] == [refine == 1] * 8


def test_a_carried_mask_is_refined_on_the_last_slice_of_the_clip() -> None:
    image, truth = squares(3)
    slices = clicked((image, truth), refine=1, carried=1)
    assert torch.equal(slices.image, image[:, 2])
    assert np.array_equal(slices.truth, truth[:, 2].numpy() > 0.5)


def test_half_of_the_carried_masks_are_the_first_slices_truth_and_half_of_it_perturbed() -> None:
    image, truth = squares(3, batch=40)
    slices = clicked((image, truth), refine=1, carried=1, leak=0)
    same = (slices.previous[:, 0] == truth[:, 0]).all(-1).all(-1)
    assert 0.3 < same.float().mean() < 0.8  # perturbed masks now and then come out unchanged


def test_a_mask_that_is_not_carried_is_the_slices_own_truth_perturbed() -> None:
    image, truth = squares(3, batch=20)
    slices = clicked((image, truth), refine=1, carried=0, leak=0)
    assert torch.equal(slices.image, image[:, 0])
    dice = batch_dice(slices.previous[:, 0] > 0.5, truth[:, 0] > 0.5)
    assert 0.75 < dice.median() < 1


def test_a_leaking_mask_runs_over_on_the_slice_it_was_carried_to() -> None:
    image, truth = squares(2, batch=1)
    image[:, 1] = 0.5  # there everything looks like the object
    dry, leaking = (clicked((image, truth), refine=1, carried=1, leak=leak).previous for leak in (0, 1))
    assert (leaking >= dry).all()
    assert leaking.sum() > dry.sum() + 20


def test_a_mask_carried_past_the_objects_end_is_clicked_away() -> None:
    image, truth = squares(2)
    truth[:, 1] = 0
    slices = clicked((image, truth), refine=1, carried=1)
    slices.click()
    assert [click.positive for (click,) in slices.clicks] == [False, False]


def test_a_seed_picks_the_same_slices_and_masks() -> None:
    clips = squares(3, batch=8)
    one, same, other = (clicked(clips, seed).previous for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_the_other_end_of_a_clip_is_shown_beside_a_mask_to_refine() -> None:
    image, truth = squares(3)
    carried = clicked((image, truth), refine=1, carried=1, shown=1)
    likeness, grey, mask = carried.reference.unbind(1)
    assert torch.allclose(grey, image[:, 0].mean(1))
    assert mask.any((1, 2)).all() and likeness[truth[:, 2] > 0].min() > 0.5
    perturbed = clicked((image, truth), refine=1, carried=0, shown=1)
    assert torch.allclose(perturbed.reference[:, 1], image[:, 2].mean(1))


def test_nothing_is_shown_where_it_is_not_wanted_or_the_object_is_not_there() -> None:
    image, truth = squares(2)
    assert not clicked((image, truth), refine=1, shown=0).reference.any()
    truth[:, 1] = 0  # ended: of the prompt slice the other end tells nothing
    assert not clicked((image, truth), refine=0, shown=1).reference.any()
    alone = squares(1)
    assert not clicked(alone, refine=1, shown=1).reference.any()


def test_recorded_rounds_show_their_reference_unless_it_is_the_slice_itself() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 3, 128, 128)).astype(np.uint8)
    masks = np.zeros((4, 128, 128), bool)
    masks[:, 30:60, 30:60] = True
    pairs = [Pair(shown, masks, np.ones(2, np.float32)) for shown in (images, images[[0, 0]])]
    reference = ClickedSlices.of_pairs(pairs, ClicksConfig(), rng).reference
    assert torch.equal(reference[0, 2] > 0.5, torch.from_numpy(masks[3]))
    assert not reference[1].any()


def test_the_network_gets_clicks_hints_and_previous_mask_of_its_size() -> None:
    image, truth = squares(1)
    slices = ClickedSlices(image[:, 0], truth[:, 0], ClicksConfig(refine=0), np.random.default_rng(0))
    slices.click()
    shapes = [tuple(t.shape) for t in slices.inputs()]
    assert shapes == [(2, channels, 64, 64) for channels in (3, 1, 2, 3, 3)]
    _, _, maps, hints, reference = slices.inputs()
    assert not reference.any()  # nothing else is known of the object yet
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


def test_the_interaction_step_learns_the_slice_that_was_picked() -> None:
    """Echo keeps the carried mask, which is two columns of twenty off where nothing spoils it."""
    config = ClicksConfig(refine=1, carried=1, leak=0, max_rounds=0)
    image, truth = squares(2, batch=40)
    _, figures = InteractionStep(Echo(), config, seed=0).loss(image, truth, 0.0)  # type: ignore[arg-type]
    truth[:, 1] = 0
    _, ended = InteractionStep(Echo(), config, seed=0).loss(image, truth, 0.0)  # type: ignore[arg-type]
    assert figures["dice"] > 0.8
    assert ended["dice"] < 0.1


def test_interaction_validation_scores_every_click_and_the_carried_mask_before_any() -> None:
    figures = InteractionStep(Echo(), ClicksConfig(), seed=0).validate(*squares(2))  # type: ignore[arg-type]
    assert list(figures) == [
        *("dice_1", "dice_2", "dice_3"),
        *("carried_0", "carried_1", "carried_2", "carried_3"),
    ]
    assert figures["dice_1"] == figures["dice_2"] == figures["dice_3"] == 1.0


def test_interaction_validation_is_repeatable_after_training() -> None:
    step, clips = InteractionStep(Echo(), ClicksConfig(), seed=0), squares(2)  # type: ignore[arg-type]
    before = step.validate(*clips)
    step.loss(*clips, 0.0)
    assert step.validate(*clips) == before


def test_the_carried_mask_scores_its_overlap_with_the_slice_it_came_to() -> None:
    image, truth = squares(2, batch=20)
    truth[:10, 1] = 0  # half of the objects have ended: their carried masks score nothing
    carried = InteractionStep(Echo(), ClicksConfig(), seed=0).validate(image, truth)["carried_0"]  # type: ignore[arg-type]
    assert 0.3 < carried <= 0.5  # the others' 1 - 2/20 at best, some perturbed


class Eraser(nn.Module):
    """An interaction network that keeps what it had until a negative click takes all of it away."""

    def forward(
        self, image: Tensor, previous: Tensor, clicks: Tensor, hints: Tensor, reference: Tensor
    ) -> Tensor:
        refused = clicks[:, 1:].amax((2, 3), keepdim=True) > 0
        return 20 * ((previous > 0.5) & ~refused).float() - 10


def test_a_mask_carried_past_the_end_scores_nothing_until_it_is_clicked_away() -> None:
    image, truth = squares(2)
    truth[:, 1] = 0
    figures = InteractionStep(Eraser(), ClicksConfig(), seed=0).validate(image, truth)  # type: ignore[arg-type]
    assert [figures[f"carried_{number}"] for number in range(4)] == [0, 1, 1, 1]


class Copy(nn.Module):
    """A memory model that copies the neighbour's mask and counts what it reads."""

    config = SMALL

    def __init__(self, glimpse: Tensor | None = None) -> None:
        super().__init__()
        self.glimpsed = torch.zeros(1, 1, 4, 4) if glimpse is None else glimpse
        self.read_lengths: list[int] = []
        self.masks: list[Tensor] = []
        self.learning: list[bool] = []  # of every slice carried to, whether gradients are kept
        self.written: list[Tensor] = []  # masks, the prompt's first

    def query(self, image: Tensor) -> Query:
        small = image[:, :1, ::16, ::16]
        return Query(small.expand(-1, 8, -1, -1), small + 1, small.expand(-1, 8, -1, -1), small)

    def value(self, image: Tensor, mask: Tensor, f16: Tensor) -> Tensor:
        self.written.append(mask)
        return mask[:, :, ::16, ::16].expand(-1, 8, -1, -1)

    def read(self, memory: Memory, query: Query) -> tuple[Tensor, Tensor]:
        self.read_lengths.append(memory.key.shape[2] // 16)
        return query.key, memory.key[:, 0]

    def carry(
        self, image: Tensor, mask: Tensor, neighbour: Tensor, hints: Tensor, readout: Tensor, sensory: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.masks.append(mask)
        self.learning.append(torch.is_grad_enabled())
        return 20 * mask - 10, sensory

    def glimpse(self, readout: Tensor) -> Tensor:
        return self.glimpsed.expand(len(readout), -1, -1, -1)


PLAIN = RolloutConfig(
    teacher_start=0, teacher_end=0, perturbed=0, predicted=0, far_anchor=0, spoiled=0, glimpse=0
)


def rolled_out(clips: tuple[Tensor, Tensor], config: RolloutConfig, seed: int = 0) -> tuple[Copy, float]:
    """The copying model after one step of training, and the loss."""
    network = Copy()
    loss, _ = MemoryStep(network, config, seed, None).loss(*clips, 0.0)  # type: ignore[arg-type]
    return network, float(loss)


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


def test_memory_validation_scores_present_last_and_ended_slices() -> None:
    image, truth = squares(4)
    truth[:, -1] = 0
    figures = MemoryStep(Copy(), RolloutConfig(), 0, None).validate(image, truth)  # type: ignore[arg-type]
    assert figures == {
        "dice": pytest.approx((0.9 + 0.8) / 2, abs=1e-3),
        "copy": pytest.approx((0.9 + 0.8) / 2),
        "last": 1.0,  # there is no last slice with the object on it
        "ended": 0.0,  # a copied mask never ends
    }


def test_validation_carries_over_the_whole_clip_and_spoils_nothing() -> None:
    network, (image, truth) = Copy(), squares(7)
    MemoryStep(network, RolloutConfig(learned=2, spoiled=1), 0, None).validate(image, truth)  # type: ignore[arg-type]
    assert len(network.masks) == 6
    assert all(torch.equal(mask > 0.5, truth[:, :1] > 0.5) for mask in network.masks)


def test_the_last_slices_of_a_roll_out_are_learned_from_and_any_number_leads_there() -> None:
    clips = squares(6)
    leading = set()
    for seed in range(20):
        network, _ = rolled_out(clips, replace(PLAIN, learned=3), seed)
        assert network.learning[-3:] == [True] * 3
        assert not any(network.learning[:-3])
        leading.add(len(network.learning) - 3)
    assert leading == {0, 1, 2}


def test_a_clip_shorter_than_what_is_learned_is_learned_whole() -> None:
    network, _ = rolled_out(squares(3), replace(PLAIN, learned=4))
    assert network.learning == [True, True]


def test_leading_slices_cost_nothing() -> None:
    """Slices 2 and 3 are learned from; the truth of slice 1 does not count."""
    image, truth = squares(4)
    other = truth.clone()
    other[:, 1] = 1 - other[:, 1]
    led = [
        seed
        for seed in range(10)
        if len(rolled_out((image, truth), replace(PLAIN, learned=2), seed)[0].masks) == 3
    ]
    for seed in led:
        losses = [rolled_out((image, t), replace(PLAIN, learned=2), seed)[1] for t in (truth, other)]
        assert losses[0] == losses[1]
    assert led


def test_no_gradient_passes_through_leading_slices() -> None:
    network = MemoryNetwork(SMALL)
    step = MemoryStep(network, PLAIN, 0, None)
    image, truth = squares(4)
    rollout = step._roll_out(image, truth, truth[:, 0], Policy(leading=2))
    assert [carried.logits.requires_grad for carried in rollout] == [False, False, True]


def test_spoiled_masks_are_told_to_the_next_slice() -> None:
    clips = squares(3, batch=8)
    for spoiled in (0.0, 1.0):
        network, _ = rolled_out(clips, replace(PLAIN, spoiled=spoiled))
        told = network.masks[1] > 0.5
        kept = [
            bool(torch.equal(mask, truth))
            for mask, truth in zip(told[:, 0], clips[1][:, 0] > 0.5, strict=True)
        ]
        assert all(kept) == (spoiled == 0)


def test_spoiling_leaves_the_truth_alone() -> None:
    image, truth = squares(4, batch=4)
    before = truth.clone()
    rolled_out((image, truth), replace(PLAIN, spoiled=1, teacher_start=1))
    assert torch.equal(truth, before)


def test_a_glimpse_that_tells_nothing_costs_its_weight_times_log_two() -> None:
    clips = squares(4)
    without, half = (rolled_out(clips, replace(PLAIN, glimpse=weight))[1] for weight in (0.0, 0.5))
    assert half - without == pytest.approx(0.5 * math.log(2), abs=1e-5)


def test_a_glimpse_of_the_share_of_the_object_in_each_cell_costs_nothing() -> None:
    image, truth = torch.rand(2, 2, 3, 64, 64), torch.zeros(2, 2, 64, 64)
    truth[:, :, 16:32, 32:64] = 1  # two whole cells of 16 x 16 pixels
    sure = torch.full((1, 1, 4, 4), -30.0)
    sure[..., 1, 2:] = 30
    losses = [
        float(MemoryStep(Copy(sure), replace(PLAIN, glimpse=weight), 0, None).loss(image, truth, 0.0)[0])  # type: ignore[arg-type]
        for weight in (0.0, 1.0)
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


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
        teacher_start=1, teacher_end=0, teacher_fade=0.5, perturbed=0, predicted=0, far_anchor=0, spoiled=0
    )
    MemoryStep(network, config, 0, None).loss(image, truth, progress)  # type: ignore[arg-type]
    shown = [bool(torch.equal(mask > 0.5, truth[:, t : t + 1] > 0.5)) for t, mask in enumerate(network.masks)]
    assert shown == [True, true_masks, true_masks]


def test_a_far_anchor_is_read_from_the_start_and_not_learned_from() -> None:
    image, truth = squares(4)
    truth[:, -1] = 1 - truth[:, -1]  # its slice would cost a lot
    network, loss = rolled_out((image, truth), replace(PLAIN, far_anchor=1))
    assert network.read_lengths[0] == 2
    assert loss < 3


def test_the_far_anchor_is_where_the_roll_out_ends_not_the_clip() -> None:
    clips = squares(7)
    ends = set()
    for seed in range(10):
        network, _ = rolled_out(clips, replace(PLAIN, far_anchor=1, learned=2), seed)
        end = len(network.masks)  # slices 1 .. end were carried to
        assert torch.equal(network.written[1], clips[1][:, end : end + 1])
        ends.add(end)
    assert len(ends) > 2


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
    masks = torch.zeros(2, 4, 128, 128)  # truth, previous, current, the reference's
    masks[:, :, 32:96, 32:96] = 1
    masks[0, 2, 64:] = masks[1, 1, 64:] = 0
    near = torch.tensor([0.25, 1.0])[None, :, None, None].expand(2, 2, 128, 128)
    return torch.rand(2, 2, 3, 128, 128), torch.cat([masks, near], 1)


class Oracle(nn.Module):
    """Judges by a fixed preference for the previous mask of each pair."""

    def __init__(self, preference: list[float]) -> None:
        super().__init__()
        self.preference = torch.tensor(preference)

    def forward(
        self,
        image: Tensor,
        previous: Tensor,
        current: Tensor,
        nearness: Tensor,
        reference: Tensor,
        reference_mask: Tensor,
    ) -> Judgement:
        self.nearness, self.image, self.reference = nearness, image, reference
        self.masks = torch.cat([previous, current, reference_mask], 1)
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


def test_fusion_is_shown_the_slice_its_reference_and_their_masks_but_not_the_truth() -> None:
    oracle, (image, maps) = Oracle([0.0, 0.0]), pairs()
    maps[:, 3] = 0.5
    FusionStep(oracle).validate(image, maps)  # type: ignore[arg-type]
    assert torch.equal(oracle.image, image[:, 0]) and torch.equal(oracle.reference, image[:, 1])
    assert torch.equal(oracle.masks, maps[:, 1:4])


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


def balls(batch: int = 2) -> tuple[Tensor, Tensor]:
    """Cubes of a bright ball, and what is known of them: slices along the last axis, as thick as planes."""
    places = torch.stack(torch.meshgrid(*[torch.arange(48)] * 3, indexing="ij")) - 23
    truth = ((places**2).sum(0) <= 10**2).float().expand(batch, -1, -1, -1)
    image = truth * 0.6 + 0.2 + 0.02 * torch.rand_like(truth)
    return image, torch.stack([truth, torch.full_like(truth, 2), torch.ones_like(truth)], 1)


class Follower(nn.Module):
    """An overview network that believes the likeness map; it keeps what it was told, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []
        self.learning: list[bool] = []
        self.modes: list[bool] = []

    def forward(self, maps: Tensor) -> Tensor:
        self.maps.append(maps)
        self.learning.append(torch.is_grad_enabled())
        self.modes.append(self.training)
        return 20 * maps[:, 6:7] - 10


NO_ROUNDS = RoundsConfig(before=(1.0,))


def test_the_overview_network_learns_from_the_last_of_its_rounds_alone() -> None:
    network = Follower()
    step = OverviewStep(network, RoundsConfig(before=(0.0, 0.0, 1.0), given=0), 0)  # type: ignore[arg-type]
    step.loss(*balls(), 0.0)
    assert network.learning == [False, False, True]
    assert network.modes == [True] * 3
    assert not network.maps[0][:, 1].any()  # no mask was given
    for before, after in zip(network.maps, network.maps[1:], strict=False):
        assert torch.equal(after[:, 1:2], (before[:, 6:7] > 0.5).float())  # its own answer is the mask


def test_rounds_before_the_one_that_is_learned_from_are_drawn_by_their_shares() -> None:
    network = Follower()
    step = OverviewStep(network, RoundsConfig(before=(1.0, 0.0, 3.0)), 0)  # type: ignore[arg-type]
    counts = []
    for _ in range(16):
        network.maps.clear()
        step.loss(*balls(1), 0.0)
        counts.append(len(network.maps) - 1)
    assert set(counts) == {0, 2} and counts.count(2) > counts.count(0)


def test_overview_validation_scores_prompts_in_evaluation_mode_and_repeats_itself() -> None:
    network = Follower()
    step = OverviewStep(network, NO_ROUNDS, 0)  # type: ignore[arg-type]
    before = step.validate(*balls(4), number=1)
    assert list(before) == ["dice_0", "dice_1", "dice_2", "dice_4"]
    assert network.modes == [False] * 4 and network.training
    step.loss(*balls(), 0.0)
    assert step.validate(*balls(4), number=1) == pytest.approx(before)
    assert step.validate(*balls(4), number=2) != pytest.approx(before)  # other prompts
    assert 0 < before["dice_0"] < 1 and before["dice_4"] > 0.9


def test_the_overview_step_reaches_every_parameter_and_lowers_its_loss_on_one_batch() -> None:
    network = OverviewNetwork().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    losses = []
    for _ in range(4):
        step = OverviewStep(network, NO_ROUNDS, seed=0)  # the same prompts each time
        loss, figures = step.loss(*balls(1), progress=0.0)
        assert set(figures) == {"dice"}
        optimiser.zero_grad()
        loss.backward()
        assert learned(network) > 0.95
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]


def test_in_half_precision_every_parameter_is_reached_as_well_and_the_loss_is_nearly_the_same() -> None:
    losses = []
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        network = OverviewNetwork()
        loss, _ = OverviewStep(network, RoundsConfig(before=(0.0, 1.0)), 0, bfloat16).loss(*balls(1), 0.0)
        losses.append(float(loss.detach()))
        loss.backward()
        assert loss.dtype == torch.float32 and learned(network) > 0.95
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_half_precision_is_computed_in_without_the_cache_that_threads_share(bfloat16: bool) -> None:
    seen = []

    class Watched(Follower):
        def forward(self, maps: Tensor) -> Tensor:
            seen.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
            return super().forward(maps)

    OverviewStep(Watched(), RoundsConfig(), 0, bfloat16).validate(*balls(1))  # type: ignore[arg-type]
    assert set(seen) == {(True, False) if bfloat16 else (False, True)}


def test_the_overview_networks_statistics_move_slowly() -> None:
    network = OverviewNetwork()
    OverviewStep(network, NO_ROUNDS, 0)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    assert norms and {norm.momentum for norm in norms} == {MOMENTUM}


def test_cubes_of_another_size_are_refused() -> None:
    step = OverviewStep(Follower(), NO_ROUNDS, 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"48 samples along every axis, got \(16, 16, 16\)"):
        step.loss(torch.rand(1, 16, 16, 16), torch.zeros(1, 3, 16, 16, 16), 0.0)
