"""The loop, for every network: it trains, validates, keeps its figures, and goes on where it stopped."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from PIL import Image
from torch import nn

from limnet.errors import ConfigError, LimNetError, WeightsError
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import MemoryNetwork, MemoryNetworkConfig
from limnet.training.build import build, build_network, export_checkpoints, load_network, network_state
from limnet.training.checkpoint import load_checkpoint, save_checkpoint
from limnet.training.clips import ClipConfig
from limnet.training.fit import Progress, _layout, _restore, _save, fit, learning_rate, update
from limnet.training.recipe import DataConfig, Recipe
from limnet.training.shapes import ShapeConfig

torch.set_num_threads(1)
MOMENT = 1e-4  # minutes: one step
SMALL = MemoryNetworkConfig(key_dim=8, value_dim=8, sensory_dim=8, top_k=8)


def recipe_of(network: str) -> Recipe:
    return Recipe(
        network=network,
        batch=2,
        warmup_steps=2,
        validation_clips=2,
        clip=ClipConfig(size=64, slices=2 if network == "interaction" else 3),
        shapes=ShapeConfig(size=32, depth=16),
        data=DataConfig(bank=2),
        memory=SMALL,
    )


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "figures.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("network", "figure"),
    [("interaction", "carried_3"), ("memory", "ended"), ("fusion", "kept"), ("overview", "dice_4")],
)
def test_fit_trains_validates_keeps_figures_and_resumes(tmp_path: Path, network: str, figure: str) -> None:
    recipe, folder = recipe_of(network), tmp_path / "run"
    first = list(fit(recipe, [], folder, MOMENT, workers=0))
    assert isinstance(first[-1], Progress) and first[-1].validation
    assert first[-1].step >= 1 and figure in first[-1].figures
    assert first[-1].minutes >= MOMENT
    before = rows(folder)
    assert {"step", "minutes", "name", "value"} == set(before[0])
    assert f"validation_{figure}" in {row["name"] for row in before}
    with Image.open(folder / "figures.png") as image:
        assert image.width > 100
    kind, _ = load_network(folder)
    assert kind == network
    assert all(path.stat().st_size <= 15e6 for path in folder.iterdir())

    again = list(fit(recipe, [], folder, MOMENT, resume=True, workers=0))
    assert again[-1].step == first[-1].step + 1
    assert again[-1].minutes >= first[-1].minutes + MOMENT
    after = rows(folder)
    assert after[: len(before)] == before and len(after) > len(before)
    _, state = load_checkpoint(folder)
    assert state["step"] == again[-1].step
    assert state["minutes"] == pytest.approx(again[-1].minutes)


def trained(network: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    """A few steps on numbers that depend on the step alone."""
    for number in range(steps):
        torch.manual_seed(number)
        image = torch.rand(2, 3, 64, 64)
        loss = network(image, image[:, :1], image[:, :2], image, image).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    recipe = recipe_of("interaction")
    torch.manual_seed(0)
    network = InteractionNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
    trained(network, optimiser, 2)
    _save(tmp_path, recipe, network, optimiser, 2, 0.25)
    other = InteractionNetwork()
    restored = torch.optim.AdamW(other.parameters(), 1e-3)
    assert _restore(tmp_path, other, restored)[:2] == (2, 0.25)
    for one in ((network, optimiser), (other, restored)):
        trained(*one, 2)
    for (name, mine), theirs in zip(network.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name


def test_a_mean_of_the_weights_is_kept_and_training_goes_on_from_the_last_step(tmp_path: Path) -> None:
    recipe = replace(recipe_of("interaction"), averaged=0.9)
    list(fit(recipe, [], tmp_path, 0.02, workers=0))
    tensors, state = load_checkpoint(tmp_path)
    assert state["step"] >= 2
    name = "decoder.logits.weight"
    assert not torch.equal(tensors[f"network.{name}"], tensors[f"live.{name}"])
    network = InteractionNetwork()
    *_, kept = _restore(tmp_path, network, torch.optim.AdamW(network.parameters(), 1e-3))
    assert torch.equal(network.state_dict()[name], tensors[f"live.{name}"])
    assert torch.equal(kept[name], tensors[f"network.{name}"])


class Parabola(nn.Module):
    """Loss (w - x)^2 of a batch of numbers x, its own training step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(3.0))
        self.unused = nn.Parameter(torch.tensor(1.0))

    def loss(
        self, image: torch.Tensor, truth: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return (self.weight - image).square().mean(), {"first": float(image[0])}


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_shards_of_a_batch_give_the_gradient_of_the_whole(shards: int) -> None:
    network = Parabola()
    optimiser = torch.optim.SGD(network.parameters(), 1.0)
    numbers = torch.tensor([1.0, 2.0, 4.0, 9.0])
    figures = update(network, optimiser, [network] * shards, numbers, numbers, 100.0, 0.25, 0.0)
    assert network.weight.item() == pytest.approx(3 + 0.25 * 2 * (4 - 3))  # the mean of the batch is 4
    assert figures["loss"] == pytest.approx((4 + 1 + 1 + 36) / 4)
    assert figures["first"] == pytest.approx({1: 1.0, 2: 2.5, 4: 4.0}[shards])
    assert figures["skipped"] == 0


def test_a_gradient_that_is_not_finite_is_skipped_and_counted() -> None:
    network = Parabola()
    numbers = torch.tensor([1.0, float("nan")])
    figures = update(
        network, torch.optim.SGD(network.parameters()), [network], numbers, numbers, 1.0, 0.1, 0.0
    )
    assert figures["skipped"] == 1
    assert network.weight.item() == 3


def test_gradients_are_scaled_down_to_the_norm() -> None:
    network = Parabola()
    numbers = torch.full((2,), -1e6)
    update(network, torch.optim.SGD(network.parameters()), [network], numbers, numbers, 1.0, 0.5, 0.0)
    assert network.weight.item() == pytest.approx(2.5)


def test_the_interaction_network_is_not_split_over_shards(tmp_path: Path) -> None:
    """Its clicks switch the one network between answering and learning."""
    with pytest.raises(ConfigError, match="leave out --shards"):
        build(recipe_of("interaction"), tmp_path, shards=2)


def test_without_resume_a_run_starts_anew(tmp_path: Path) -> None:
    recipe = recipe_of("fusion")
    for _ in range(2):
        last = list(fit(recipe, [], tmp_path, MOMENT, workers=0))[-1]
    assert last.step == 1
    assert {row["step"] for row in rows(tmp_path)} == {"1"}


def test_resuming_nothing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="train without --resume first"):
        next(fit(recipe_of("fusion"), [], tmp_path, MOMENT, resume=True, workers=0))


def test_resuming_another_kind_of_network_is_one_line(tmp_path: Path) -> None:
    list(fit(recipe_of("fusion"), [], tmp_path, MOMENT, workers=0))
    with pytest.raises(LimNetError) as error:
        next(fit(recipe_of("interaction"), [], tmp_path, MOMENT, resume=True, workers=0))
    assert "\n" not in str(error.value)


def test_no_minutes_is_no_crash(tmp_path: Path) -> None:
    list(fit(recipe_of("fusion"), [], tmp_path, 0.0, workers=0))


def test_a_budget_of_steps_is_kept_whatever_the_clock_says(tmp_path: Path) -> None:
    recipe = replace(recipe_of("interaction"), steps=3)
    *_, last = fit(recipe, [], tmp_path, minutes=0.0, workers=0)
    assert (last.step, last.validation) == (3, True)
    (tmp_path / "again").mkdir()
    *_, again = fit(recipe, [], tmp_path / "again", minutes=500.0, workers=0)
    assert again.figures == last.figures  # the schedule, too, follows the steps


def test_a_narrow_backbone_is_trained_kept_and_loaded(tmp_path: Path) -> None:
    recipe = replace(recipe_of("interaction"), steps=1, width=0.5)
    *_, last = fit(recipe, [], tmp_path, minutes=0.0, workers=0)
    kind, network = load_network(tmp_path)
    assert (kind, last.step) == ("interaction", 1)
    assert isinstance(network, InteractionNetwork) and network.width == 0.5


def test_the_rate_warms_up_then_falls_to_one_percent() -> None:
    recipe = replace(recipe_of("fusion"), learning_rate=1.0, warmup_steps=10)
    assert learning_rate(recipe, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(recipe, 9, 0.0) == learning_rate(recipe, 500, 0.0) == 1.0
    assert learning_rate(recipe, 500, 0.5) == pytest.approx(0.505)
    assert learning_rate(recipe, 500, 1.0) == pytest.approx(0.01)


def kept(folder: Path, network: str) -> nn.Module:
    """A randomly initialised network in a checkpoint folder."""
    recipe = recipe_of(network)
    module, _ = build(replace(recipe, seed=9), folder)
    tensors = {f"network.{name}": tensor for name, tensor in module.state_dict().items()}
    save_checkpoint(folder, tensors, {**network_state(recipe), "step": 0, "minutes": 0.0})
    return module


def test_a_network_can_start_from_its_own_kind(tmp_path: Path) -> None:
    other = kept(tmp_path / "former", "fusion")
    network, _ = build(replace(recipe_of("fusion"), start=("former",)), tmp_path)
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_memory_model_starts_from_the_interaction_network(tmp_path: Path) -> None:
    other = kept(tmp_path / "clicker", "interaction")
    network, (step,) = build(replace(recipe_of("memory"), start=("clicker",)), tmp_path)
    assert isinstance(network, MemoryNetwork) and isinstance(other, InteractionNetwork)
    mine, theirs = network.carry.backbone.stem[0].weight, other.backbone.stem[0].weight
    assert torch.equal(mine[:, :4], theirs[:, :4])
    assert step.clicker is not None  # type: ignore[attr-defined]


def test_a_network_that_cannot_start_from_another_says_so(tmp_path: Path) -> None:
    kept(tmp_path / "judge", "fusion")
    with pytest.raises(ConfigError, match="'judge' holds a fusion network; interaction cannot start from it"):
        build(replace(recipe_of("interaction"), start=("judge",)), tmp_path)


def test_the_overview_network_starts_from_its_own_kind_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = kept(tmp_path / "former", "overview")
    kept(tmp_path / "judge", "fusion")
    network, _ = build(replace(recipe_of("overview"), start=("former",)), tmp_path)
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    for source, words in (("judge", "holds a fusion network"), ("imagenet", "cannot start from it")):
        with pytest.raises(ConfigError, match=words):
            build(replace(recipe_of("overview"), start=(source,)), tmp_path)
    without = SimpleNamespace(overview=None)
    monkeypatch.setattr("limnet.training.build.exported_networks", lambda *_: without)
    with pytest.raises(ConfigError, match="'shipped' holds no overview network"):
        build(replace(recipe_of("overview"), start=("shipped",)), tmp_path)


def test_the_overview_network_starts_from_exported_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restoring them is tested elsewhere."""
    other = kept(tmp_path / "former", "overview")
    exported = SimpleNamespace(overview=other, interaction=None)
    monkeypatch.setattr("limnet.training.build.exported_networks", lambda *_: exported)
    network, _ = build(replace(recipe_of("overview"), start=("shipped",)), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("kind", "layout"), [("fusion", torch.channels_last), ("overview", torch.channels_last_3d)]
)
def test_weights_lie_with_their_channels_last(kind: str, layout: torch.memory_format) -> None:
    assert _layout(build_network(kind, SMALL)) == layout


def test_a_start_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        build(replace(recipe_of("interaction"), start=("nowhere",)), tmp_path)


@pytest.mark.parametrize("same_kind", [True, False])
def test_weights_of_other_sizes_are_one_line(tmp_path: Path, same_kind: bool) -> None:
    kept(tmp_path / "former", "memory")
    if not same_kind:  # a checkpoint that says memory and holds something else
        tensors, state = load_checkpoint(tmp_path / "former")
        save_checkpoint(tmp_path / "former", dict(list(tensors.items())[:5]), state)
    recipe = replace(recipe_of("memory"), start=("former",), memory=replace(SMALL, key_dim=16))
    with pytest.raises(LimNetError) as error:
        build(recipe, tmp_path)
    assert "\n" not in str(error.value)


def test_a_seed_makes_the_same_network(tmp_path: Path) -> None:
    first, second, other = (
        next(build(replace(recipe_of("fusion"), seed=seed), tmp_path)[0].parameters()) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


@pytest.mark.parametrize("with_overview", [False, True])
def test_checkpoints_are_exported_by_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_overview: bool
) -> None:
    """Export itself is tested elsewhere."""
    kinds = ("interaction", "memory", "fusion", *(["overview"] if with_overview else []))
    networks = {kind: kept(tmp_path / kind, kind) for kind in kinds}
    exported: dict[str, object] = {}
    monkeypatch.setattr("limnet.training.build.export_networks", exported.update)
    folders = {kind: tmp_path / kind for kind in networks}
    counts = export_checkpoints(folders, tmp_path / "out", version="7", size=64, threshold=0.25)
    assert counts == {kind: sum(p.numel() for p in n.parameters()) for kind, n in networks.items()}
    for kind, network in networks.items():
        found = exported.pop(kind)
        assert isinstance(found, nn.Module)
        for mine, theirs in zip(found.parameters(), network.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    assert exported == {"folder": tmp_path / "out", "version": "7", "size": 64, "threshold": 0.25}


def test_a_checkpoint_of_another_kind_is_not_exported(tmp_path: Path) -> None:
    kept(tmp_path / "judge", "fusion")
    with pytest.raises(ConfigError, match="holds a fusion network, expected the interaction network"):
        export_checkpoints(
            {"interaction": tmp_path / "judge"}, tmp_path / "out", version="7", size=64, threshold=0
        )
    assert not (tmp_path / "out").exists()
