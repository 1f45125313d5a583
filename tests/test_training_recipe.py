"""Recipes are TOML; those that are shipped can be read, those that are misspelt say where."""
# torch is optional: the imports below come after the check for it

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from limnet.errors import ConfigError
from limnet.training.clips import ClipConfig
from limnet.training.recipe import NETWORKS, Recipe, read_recipe, read_recipes
from limnet.training.shapes import ShapeConfig

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_a_recipe_that_can_be_read(network: str) -> None:
    recipe = read_recipe(RECIPES / f"{network}.toml")
    assert recipe.network == network
    assert recipe.data.exclude[0] == "brain1"  # the sample of the demo is never trained on


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_that_is_shipped_can_be_read_and_leaves_the_demo_out(path: Path) -> None:
    for recipe in read_recipes(path):
        assert recipe.data.exclude[0] == "brain1"


def test_the_recipe_on_recorded_rounds_looks_at_every_zoom_and_records() -> None:
    recipe = read_recipe(RECIPES / "interaction_rounds.toml")
    assert recipe.needs_rounds and recipe.clip.any_zoom > 0 and recipe.averaged > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('netwrk = "memory"', "'netwrk' is not a setting; did you mean 'network'"),
        ('network = "memory"\n[clip]\nsizes = 64', r"clip: 'sizes' is not a setting; did you mean 'size'"),
        (
            'network = "memory"\n[memory]\nkey_dims = 3',
            r"memory: 'key_dims' is not a setting; did you mean 'key_dim'",
        ),
        ("batch = 4", "'network' is missing"),
        ('network = "mrf"', "network must be one of interaction, memory, fusion, overview, got 'mrf'"),
        ('network = "memory"\nbatch = 1', "batch must be at least 2"),
        ('network = "memory"\nbatch = "4"', "batch: expected int, got '4'"),
        ('network = "memory"\n[clip]\nsize = 100', "size must be a multiple of 32"),
        (
            'network = "memory"\n[clip]\nslices = 1',
            "the memory network takes clips of 2 slices or more, got 1",
        ),
        ('network = "interaction"\n[clicks]\nleaks = 1.0', "'leaks' is not a setting; did you mean 'leak'"),
        ('network = "fusion"\n[pairs]\ncontrary = "0.1"', "contrary: expected float, got '0.1'"),
        ('network = "memory"\nbfloat16 = true', "bfloat16 is for the overview network, got network 'memory'"),
        (
            'network = "overview"\n[rounds]\nbefore = [0.0, 0.0]',
            "rounds: before must hold shares of which one is above 0",
        ),
        ('network = "overview"\n[cube]\nmin_zoom = 3.0', "cube: zooms must satisfy 1 < min_zoom"),
        ('network = "overview"\n[cube]\nrotate = 0.5', "'rotate' is not a setting; did you mean 'rotated'"),
        ('network = "memory"\nstart = "imagenet"', "start: expected a list, got 'imagenet'"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_line_naming_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_a_value_out_of_range_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('network = "memory"\n[clip]\nsize = 100')
    with pytest.raises(ConfigError, match=str(path)):
        read_recipe(path)


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_the_interaction_network_takes_clips_of_any_length(slices: int) -> None:
    assert Recipe(network="interaction", clip=ClipConfig(slices=slices)).clip.slices == slices


def test_the_shipped_interaction_recipe_carries_masks_on_and_past_the_objects_end() -> None:
    recipe = read_recipe(RECIPES / "interaction.toml")
    assert recipe.clip.slices > 1
    assert 0 < recipe.clip.ended < 1 and 0 < recipe.clicks.refine < 1


def test_the_shipped_memory_recipe_leads_somewhere_before_it_learns() -> None:
    recipe = read_recipe(RECIPES / "memory.toml")
    assert recipe.clip.slices > 1 + recipe.rollout.learned
    assert 0 < recipe.clip.ended < 1


def test_the_shipped_overview_recipe_learns_in_half_precision_and_keeps_a_mean() -> None:
    recipe = read_recipe(RECIPES / "overview.toml")
    assert recipe.bfloat16 and recipe.averaged > 0 and recipe.data.supervoxels > 0
    assert sum(recipe.rounds.before) == pytest.approx(1)


@pytest.mark.parametrize("settings", [{"size": 32}, {"size": 100}, {"min_zoom": 1.0}, {"min_zoom": 6.0}])
def test_clips_that_cannot_be_cut_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ClipConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"min_tissues": 9}, {"min_objects": 11}])
def test_shapes_with_more_at_least_than_at_most_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        ShapeConfig(**settings)


@pytest.mark.parametrize("settings", [{"blend": 0.0}, {"blend": 1.5}, {"averaged": 1.0}, {"averaged": -0.1}])
def test_shares_that_keep_nothing_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Recipe(network="interaction", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"width": 0.6}, {"steps": -1}])
def test_widths_and_steps_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Recipe(network="interaction", **settings)  # type: ignore[arg-type]  # width or steps
