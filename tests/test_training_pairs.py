"""Pairs of rounds for the fusion network: recorded from sessions, kept in a file, varied."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from doubles import WilfulLimNet, volume_of

torch = pytest.importorskip("torch")

from limnet.training.cases import TrainingCase, case_of
from limnet.training.clips import ClipConfig
from limnet.training.pairs import PAIRS, Pair, batch_stream, read_pairs, session_pairs, write_pairs
from limnet.training.recipe import DataConfig, PairsConfig, Recipe
from limnet.training.shapes import ShapeConfig
from limnet.training.stream import ClipStream

torch.set_num_threads(1)
RECIPE = Recipe(
    network="fusion",
    batch=4,
    clip=ClipConfig(size=128, slices=3),
    shapes=ShapeConfig(size=32, depth=16),
    data=DataConfig(bank=3),
    pairs=PairsConfig(rounds=4, slices=5, made_up=0.5),
)


def ball_case() -> TrainingCase:
    ball = (
        np.sqrt(((np.indices((30, 30, 12)) - np.array([15, 15, 6]).reshape(3, 1, 1, 1)) ** 2).sum(0)) < 5
    ).astype(np.uint8)
    image = 100.0 * ball + np.random.default_rng(0).normal(0, 3, ball.shape)
    return case_of("ball", "balls", volume_of(image), ball, (1, 1, 2))


def random_pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(0)
    return [
        Pair(
            rng.integers(0, 255, (3, 128, 128), np.uint8),
            rng.random((3, 128, 128)) < 0.3,
            rng.random(2).astype(np.float32),
        )
        for _ in range(count)
    ]


def test_pairs_come_back_from_their_file_bit_for_bit(tmp_path: Path) -> None:
    pairs = random_pairs(3)
    write_pairs(tmp_path / PAIRS, pairs)
    for one, other in zip(read_pairs(tmp_path / PAIRS), pairs, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.nearness, other.nearness)
        assert one.masks.dtype == bool


def test_a_session_leaves_pairs_of_slices_that_changed() -> None:
    pairs = session_pairs(WilfulLimNet(), ball_case(), RECIPE, np.random.default_rng(0))
    assert 1 <= len(pairs) <= 3 * 5
    for pair in pairs:
        assert (pair.image.shape, pair.image.dtype) == ((3, 128, 128), np.uint8)
        assert (pair.masks.shape, pair.masks.dtype) == ((3, 128, 128), bool)
        assert pair.nearness.shape == (2,) and 0 <= pair.nearness.min() <= pair.nearness.max() <= 1
    assert np.mean([(pair.masks[1] != pair.masks[2]).any() for pair in pairs]) > 0.5
    assert any(pair.masks[0].any() for pair in pairs)


@pytest.mark.parametrize("recorded", [False, True])
def test_batches_are_images_three_masks_and_two_nearnesses(tmp_path: Path, recorded: bool) -> None:
    if recorded:
        write_pairs(tmp_path / PAIRS, random_pairs(2))
    image, masks = next(iter(batch_stream(RECIPE, [], tmp_path, seed=0)))
    assert (image.shape, masks.shape) == ((4, 1, 3, 128, 128), (4, 5, 128, 128))
    assert 0 <= image.min() <= image.max() <= 1
    assert set(masks[:, :3].unique().tolist()) <= {0, 1}
    assert torch.equal(masks[:, 3:].amin((2, 3)), masks[:, 3:].amax((2, 3)))  # the same in every pixel


def test_recorded_pairs_are_drawn_turned_and_swapped(tmp_path: Path) -> None:
    (pair,) = random_pairs(1)
    write_pairs(tmp_path / PAIRS, [pair])
    counts = []
    for _, masks in islice(batch_stream(RECIPE, [], tmp_path, seed=0), 5):
        counts += [[*m[:3].sum((1, 2)).tolist(), *m[3:, 0, 0].tolist()] for m in masks]
    truth, previous, current = pair.masks.sum((1, 2)).tolist()
    before, now = pair.nearness.tolist()
    recorded = [truth, previous, current, before, now], [truth, current, previous, now, before]
    assert all(drawn in counts for drawn in recorded)  # as it was and with the two masks swapped ...
    assert any(drawn not in recorded for drawn in counts)  # ... among made-up ones


def test_a_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    first, second = (next(iter(batch_stream(RECIPE, [], tmp_path, seed=3))) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_other_networks_are_trained_on_clips(tmp_path: Path) -> None:
    assert isinstance(batch_stream(Recipe(network="interaction"), [], tmp_path, seed=0), ClipStream)
