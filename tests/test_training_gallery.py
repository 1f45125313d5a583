"""The gallery: every source that the cases allow, drawn for a person to judge."""
# ruff: noqa: E402  # torch and scikit-image are optional: the imports below come after the checks for them

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from PIL import Image

from doubles import volume_of
from limnet import cube
from limnet.cli import main
from limnet.errors import OutputError
from limnet.training.cases import TrainingCase, case_of
from limnet.training.clips import ClipConfig
from limnet.training.gallery import (
    CUBE_SCALE,
    MADE_UP,
    OUTLINE,
    REAL,
    SLICES,
    TOLD,
    contrast,
    draw_gallery,
    gallery,
    write_gallery,
)
from limnet.training.recipe import Recipe, RoundsConfig
from limnet.training.shapes import ShapeConfig
from limnet.training.stream import SHAPES
from limnet.training.supervoxels import SUPERVOXELS

torch.set_num_threads(1)
RECIPE = Recipe(network="interaction", clip=ClipConfig(size=64), shapes=ShapeConfig(size=32, depth=16))


def block(image: bool) -> TrainingCase:
    labels = np.zeros((32, 32, 12), np.uint8)
    labels[8:24, 8:24, 2:10] = 1
    noise = np.random.default_rng(0).normal(0, 3, labels.shape)
    return case_of(
        "block", f"set{image}", volume_of(labels * 100 + noise) if image else None, labels, (1, 1, 1)
    )


@pytest.mark.parametrize(
    ("cases", "sources"),
    [
        ([], [SHAPES]),
        ([block(False)], [SHAPES, MADE_UP]),
        ([block(True)], [SHAPES, MADE_UP, REAL, SUPERVOXELS]),
    ],
)
def test_the_cases_say_which_sources_are_shown(cases: list[TrainingCase], sources: list[str]) -> None:
    rows = list(gallery(RECIPE, cases, seed=0, count=2))
    assert list(dict.fromkeys(row.source for row in rows)) == sources
    assert all(row.image.shape == (SLICES, 3, 64, 64) for row in rows)


def test_a_seed_draws_the_same_gallery() -> None:
    one, same, other = (list(gallery(RECIPE, [], seed, 1)) for seed in (4, 4, 5))
    assert np.array_equal(one[0].image, same[0].image)
    assert not np.array_equal(one[0].image, other[0].image)


def test_contrast_is_the_difference_to_a_ring_around_the_target() -> None:
    image = np.full((32, 32), 0.25, np.float32)
    target = np.zeros((32, 32), bool)
    target[10:20, 10:20] = True
    image[target] = 0.75
    assert contrast(image, target) == pytest.approx(0.5)
    assert contrast(image, np.ones_like(target)) == 0


def test_a_row_shows_the_first_slice_bare_and_outlines_the_others() -> None:
    (row,) = gallery(RECIPE, [], 0, 1)
    pixels = np.asarray(draw_gallery([row]))
    tiles = [pixels[32:96, 12 + place * 68 : 76 + place * 68] for place in range(SLICES + 1)]
    outlined = [bool((tile == OUTLINE).all(-1).any()) for tile in tiles]
    assert not outlined[0] and outlined[1]


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    rows = list(gallery(RECIPE, [], 0, 1))
    with pytest.raises(OutputError, match=r"nowhere/a\.png: cannot be written"):
        write_gallery(tmp_path / "nowhere" / "a.png", rows)


def test_the_command_draws_and_names_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gallery.png"
    assert main(["synth", "--png", str(path), "--clips", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == [SHAPES, MADE_UP, REAL, SUPERVOXELS]
    with Image.open(path) as image:
        assert image.width > 6 * 128


def test_a_recipe_for_the_overview_shows_cubes_and_what_is_told_of_them() -> None:
    recipe = Recipe(
        network="overview", rounds=RoundsConfig(alone=0.0, exact=1.0, given=0.0), shapes=RECIPE.shapes
    )
    rows = list(gallery(recipe, [block(False)], seed=1, count=2))
    side = cube.SIZE * CUBE_SCALE
    assert [row.source for row in rows] == [SHAPES, SHAPES, MADE_UP, MADE_UP]
    for row in rows:
        assert row.image.shape == (SLICES, 3, side, side)
        assert row.told[0].any() and np.array_equal(row.told[0], row.truth[0])  # the prompted plane
        shown = {tuple(pixel) for pixel in np.asarray(draw_gallery([row])).reshape(-1, 3).tolist()}
        assert OUTLINE in shown


def test_a_mask_that_a_cube_starts_from_is_outlined_in_another_colour() -> None:
    recipe = Recipe(network="overview", rounds=RoundsConfig(given=1.0), shapes=RECIPE.shapes)
    row = next(gallery(recipe, [], seed=2, count=1))
    assert row.told.any() and not np.array_equal(row.told, row.truth)
    shown = {tuple(pixel) for pixel in np.asarray(draw_gallery([row])).reshape(-1, 3).tolist()}
    assert TOLD in shown
