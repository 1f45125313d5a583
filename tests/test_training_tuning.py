"""Fine-tuning: recipes in stages, a start from exported weights, and weights at the end."""
# ruff: noqa: E402  # torch and onnx are optional: the imports below come after the checks for them

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("matplotlib")

from torch import nn

import limnet
from doubles import exported_folder, volume_of
from limnet.cli import main
from limnet.errors import ConfigError
from limnet.networks.memory import MemoryNetworkConfig
from limnet.networks.restore import restore_networks
from limnet.training.build import SHIPPED, build, is_exported, load_network
from limnet.training.clips import ClipConfig
from limnet.training.fit import fit
from limnet.training.recipe import Recipe, read_recipes

torch.set_num_threads(1)
RECIPES = Path(__file__).parents[1] / "recipes"

SMALL = """
start = ["weights"]
frozen = true
learning_rate = 1e-5
validation_clips = 2
batch = 2
[clip]
size = 64
[shapes]
size = 32
depth = 16
[data]
bank = 2
shapes = 0.5
[memory]
top_k = 10
[[stages]]
network = "interaction"
minutes = 1.0
[[stages]]
network = "memory"
minutes = 3.0
clip = { slices = 3 }
rollout = { freeze = 0.0, glimpse = 0.0 }
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "weights").symlink_to(exported_folder())
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_stages_share_what_stands_outside_them_and_have_the_last_word(recipe: Path) -> None:
    interaction, memory = read_recipes(recipe)
    assert (interaction.network, memory.network) == ("interaction", "memory")
    assert interaction.clip == ClipConfig(size=64) and memory.clip == ClipConfig(size=64, slices=3)
    assert interaction.learning_rate == memory.learning_rate == 1e-5


def test_a_recipe_without_stages_is_one(tmp_path: Path) -> None:
    path = tmp_path / "one.toml"
    path.write_text('network = "interaction"\nbatch = 4\n')
    assert read_recipes(path) == (Recipe(network="interaction", batch=4),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages = 3", "stages: expected one or more tables"),
        ("stages = []", "stages: expected one or more tables"),
        (
            '[[stages]]\nnetwork = "memory"\nbach = 2',
            "stage 1: 'bach' is not a setting; did you mean 'batch'",
        ),
        (2 * '[[stages]]\nnetwork = "interaction"\n', "two stages train the same network"),
    ],
)
def test_stages_that_do_not_fit_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_recipes(path)
    assert str(path) in str(error.value)


def test_the_shipped_recipe_for_fine_tuning_starts_from_the_shipped_weights_and_keeps_random_shapes() -> None:
    recipes = read_recipes(RECIPES / "finetune.toml")
    assert [recipe.network for recipe in recipes] == ["interaction", "memory", "overview"]
    for recipe in recipes:
        assert recipe.start == (SHIPPED,) and recipe.frozen
        assert recipe.data.shapes > 0
        assert max(recipe.data.weights.values()) <= 0.1 * recipe.data.default_weight
        assert recipe.memory == MemoryNetworkConfig()


@pytest.mark.parametrize("name", ["gpu_interaction", "gpu_memory"])
def test_recipes_for_a_graphics_card_can_be_read(name: str) -> None:
    (recipe,) = read_recipes(RECIPES / f"{name}.toml")
    assert recipe.network == name.removeprefix("gpu_")
    assert recipe.data.exclude[0] == "brain1"


def test_exported_weights_are_known_by_their_manifest(recipe: Path, tmp_path: Path) -> None:
    assert is_exported(SHIPPED, tmp_path) and is_exported("weights", tmp_path)
    assert not is_exported("imagenet", tmp_path) and not is_exported("run", tmp_path)


def test_a_network_starts_as_its_export_and_the_memory_model_gets_its_clicker(recipe: Path) -> None:
    restored = restore_networks(exported_folder())
    memory = read_recipes(recipe)[1]
    network, (step,) = build(memory, recipe.parent)
    for name, tensor in network.state_dict().items():
        assert name.startswith("glimpse.") or torch.equal(tensor, restored.memory.state_dict()[name])
    clicker = step.clicker  # type: ignore[attr-defined]
    theirs = restored.interaction.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in clicker.state_dict().items())


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norms_of_exported_weights_move_only_with_statistics_measured_anew(
    recipe: Path, tmp_path: Path, frozen: bool
) -> None:
    small = replace(read_recipes(recipe)[0], frozen=frozen, learning_rate=0.0, weight_decay=0.0)
    out = tmp_path / "out"
    list(fit(small, [], out, 1e-4, start_folder=recipe.parent, workers=0))
    tuned = load_network(out)[1].state_dict()
    moved = [tensor.any() for name, tensor in tuned.items() if name.endswith("running_mean")]
    assert all(moved) if not frozen else not any(moved)


def test_a_blend_with_nothing_to_blend_with_is_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = recipe.read_text().replace('start = ["weights"]', "start = []\nblend = 0.5")
    recipe.write_text(text)
    assert main(["train", str(recipe), "--out", str(recipe.parent / "out")]) == 2
    assert "blend = 0.5 needs exported weights to start from" in capsys.readouterr().err


def test_minutes_for_a_recipe_that_counts_steps_are_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text("steps = 3\n" + recipe.read_text())
    out = str(recipe.parent / "out")
    assert main(["train", str(recipe), "--out", out, "--minutes", "1"]) == 2
    assert "its budget is steps = 3; leave out --minutes, or its steps" in capsys.readouterr().err


def write_case(folder: Path) -> None:
    """One volume with a bright block, and its label."""
    labels = np.zeros((40, 40, 12), np.uint8)
    labels[10:30, 10:30, 3:9] = 1
    image = labels * 100 + np.random.default_rng(0).integers(0, 20, labels.shape).astype(np.int16)
    for name, array in (("images", image.astype(np.int16)), ("labels", labels)):
        (folder / name).mkdir(parents=True)
        limnet.write_mask(folder / name / "case.nii.gz", array.astype(np.uint8), like=volume_of(array))


@pytest.mark.slow
def test_one_command_tunes_both_networks_and_leaves_weights_that_segment(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case(tmp_path / "mine")
    out = tmp_path / "out"
    words = ["train", str(recipe), "--minutes", "0.001", "--data", str(tmp_path / "mine"), "--out", str(out)]
    words += ["--threads", "1"]
    assert main(words) == 0
    assert "tuned weights" in capsys.readouterr().out
    before, after = restore_networks(exported_folder()), restore_networks(out / "weights")
    assert after.manifest.version == "test-tuned"
    assert (after.manifest.size, after.manifest.threshold) == (64, 0.5)
    for kind, moved in (("interaction", True), ("memory", True), ("fusion", False)):
        one, other = (getattr(networks, kind).state_dict() for networks in (before, after))
        changed = [n for n in one if not n.startswith("glimpse") and not torch.equal(one[n], other[n])]
        assert bool(changed) == moved, kind
    assert all(
        torch.equal(m.running_var, torch.full_like(m.running_var, 1 - m.eps))
        for m in after.memory.modules()
        if isinstance(m, nn.BatchNorm2d)
    )
    mask = tmp_path / "mask.nii.gz"
    words = ["segment", str(tmp_path / "mine/images/case.nii.gz"), "-o", str(mask), "--click", "20,20,6"]
    assert main([*words, "--weights", str(out / "weights")]) == 0
    assert mask.exists()


def test_unlabelled_images_without_a_weight_for_supervoxels_are_an_error(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        str(recipe),
        "--minutes",
        "1",
        "--unlabelled",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "has no weight for supervoxels" in capsys.readouterr().err


def test_weights_that_are_whole_and_damaged_ones_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in exported_folder().iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert main(["info", "--weights", str(tmp_path)]) == 0
    assert "all intact" in capsys.readouterr().out
    (tmp_path / "value.onnx").write_bytes(b"cut short")
    assert main(["info", "--weights", str(tmp_path)]) == 2
    shown = capsys.readouterr().out
    assert "not intact" in shown
    assert [line.split()[0] for line in shown.splitlines() if "SHA-256" in line] == ["value"]


def test_the_installed_weights_are_intact(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--weights"]) == 0
    assert f"version      {limnet.__version__}" in capsys.readouterr().out
