"""Pairs of rounds for the fusion network: recorded from sessions, kept in a file, varied."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import FakeLimNet, WilfulLimNet, volume_of
from limnet.model import Judgement, LimNet, Reference

torch = pytest.importorskip("torch")

from limnet.training.cases import TrainingCase, case_of
from limnet.training.clips import ClipConfig
from limnet.training.pair import PAIRS, Pair, read_pairs, varied, write_pairs
from limnet.training.pairs import batch_stream
from limnet.training.recipe import DataConfig, PairsConfig, Recipe
from limnet.training.recording import NearestJudge, session_pairs
from limnet.training.shapes import ShapeConfig
from limnet.training.stream import ClipStream, CubeStream

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
            rng.integers(0, 255, (2, 3, 128, 128), np.uint8),
            rng.random((4, 128, 128)) < 0.3,
            rng.random(2).astype(np.float32),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("grey", [False, True])
def test_pairs_come_back_from_their_file_bit_for_bit(tmp_path: Path, grey: bool) -> None:
    pairs = random_pairs(3)
    if grey:  # kept once instead of three times
        pairs = [pair._replace(images=pair.images[:, [0, 0, 0]]) for pair in pairs]
    write_pairs(tmp_path / PAIRS, pairs)
    for one, other in zip(read_pairs(tmp_path / PAIRS), pairs, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.nearness, other.nearness)
        assert one.masks.dtype == bool
    last = read_pairs(tmp_path / PAIRS)[1:][-1]
    np.testing.assert_array_equal(last.masks, pairs[-1].masks)


PLANE = np.zeros((128, 128), np.float32)
SLICE = np.zeros((3, 128, 128), np.float32)
THERE = Reference(SLICE, PLANE)


def judged(before: float, now: float, contrary: float = 0.0) -> float:
    """The nearest judge's preference for the previous of two masks, by their nearness."""
    judge = NearestJudge(np.random.default_rng(0), contrary)
    return judge.judge(SLICE, PLANE, PLANE, np.array([before, now], np.float32), THERE).preference


@pytest.mark.parametrize(
    ("before", "now", "preference"),
    [(1.0, 0.5, 1.0), (0.5, 1.0, 0.0), (0.5, 0.5, 0.0), (0.0, 0.3, 0.0)],
)
def test_the_mask_from_the_nearer_prompt_is_kept_and_the_newer_of_equals(
    before: float, now: float, preference: float
) -> None:
    assert judged(before, now) == preference
    assert judged(before, now, contrary=1.0) == 1 - preference


def test_the_farther_mask_is_kept_as_often_as_is_asked() -> None:
    judge, near = NearestJudge(np.random.default_rng(0), 0.25), np.array([1.0, 0.5], np.float32)
    kept = [judge.judge(SLICE, PLANE, PLANE, near, THERE).preference for _ in range(400)]
    assert 0.68 < np.mean(kept) < 0.82


def test_the_judge_remembers_what_it_was_shown_in_order() -> None:
    judge, rng = NearestJudge(np.random.default_rng(0), 0.0), np.random.default_rng(0)
    for _ in range(2):
        image, previous, current = rng.random((3, 3, 128, 128), np.float32)
        near = rng.random(2, np.float32)
        judge.judge(image, previous[0], current[0], near, THERE)
    assert len(judge.judged) == 2
    *arrays, reference = judge.judged[-1]
    for kept, shown in zip(arrays, (image, previous[0], current[0], near), strict=True):
        np.testing.assert_array_equal(kept, shown)
    assert reference is THERE


def recorded(model: LimNet, seed: int = 0, **settings: float) -> list[Pair]:
    """The pairs of one session on the ball."""
    recipe = replace(RECIPE, pairs=replace(RECIPE.pairs, **settings))  # type: ignore[arg-type]
    return session_pairs(model, ball_case(), recipe, np.random.default_rng(seed))


def test_the_first_round_is_compared_with_nothing_and_its_prompted_slice_with_itself() -> None:
    pairs = recorded(WilfulLimNet(), rounds=1, slices=99, contrary=0)
    prompted = [pair for pair in pairs if pair.nearness[0] == 1]
    assert len(prompted) == 1
    np.testing.assert_array_equal(prompted[0].masks[1], prompted[0].masks[2])
    assert not any(pair.masks[1].any() for pair in pairs if pair.nearness[0] == 0)


def test_every_slice_of_a_round_is_shown_the_prompted_one() -> None:
    first, *others = recorded(WilfulLimNet(), rounds=1, slices=99)
    assert first.masks[3].any()
    for pair in others:
        np.testing.assert_array_equal(pair.images[1], first.images[1])
        np.testing.assert_array_equal(pair.masks[3], first.masks[3])


def test_slices_on_which_the_two_masks_differ_are_recorded_first() -> None:
    for few in (1, 3):
        pairs = recorded(WilfulLimNet(), rounds=1, slices=few)
        assert [(pair.masks[1] != pair.masks[2]).any() for pair in pairs] == [True] * few


def test_recording_asks_no_network_which_mask_to_keep() -> None:
    class Untrained(WilfulLimNet):
        def judge(
            self,
            image: NDArray[np.float32],
            previous: NDArray[np.float32],
            current: NDArray[np.float32],
            nearness: NDArray[np.float32],
            reference: Reference,
        ) -> Judgement:
            raise AssertionError("asked")

    assert recorded(Untrained(), rounds=2)


def test_masks_and_truth_of_a_pair_lie_in_one_place() -> None:
    """The fake finds nearly all of a bright ball at the first click."""
    pairs = recorded(FakeLimNet(size=128), rounds=1, slices=30)
    truth, found = np.stack([pair.masks[[0, 2]] for pair in pairs], axis=1)
    assert truth.any()
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.9


def test_a_session_leaves_pairs_of_all_its_rounds() -> None:
    pairs = session_pairs(WilfulLimNet(), ball_case(), RECIPE, np.random.default_rng(0))
    assert 5 < len(pairs) <= 4 * 5
    for pair in pairs:
        assert (pair.images.shape, pair.images.dtype) == ((2, 3, 128, 128), np.uint8)
        assert (pair.masks.shape, pair.masks.dtype) == ((4, 128, 128), bool)
        assert pair.nearness.shape == (2,) and 0 <= pair.nearness.min() <= pair.nearness.max() <= 1
    assert np.mean([(pair.masks[1] != pair.masks[2]).any() for pair in pairs]) > 0.5
    assert any(pair.masks[0].any() for pair in pairs)


@pytest.mark.parametrize("recorded", [False, True])
def test_batches_are_two_images_four_masks_and_two_nearnesses(tmp_path: Path, recorded: bool) -> None:
    if recorded:
        write_pairs(tmp_path / PAIRS, random_pairs(2))
    image, masks = next(iter(batch_stream(RECIPE, [], tmp_path, seed=0)))
    assert (image.shape, masks.shape) == ((4, 2, 3, 128, 128), (4, 6, 128, 128))
    assert 0 <= image.min() <= image.max() <= 1
    assert set(masks[:, :4].unique().tolist()) <= {0, 1}
    assert torch.equal(masks[:, 4:].amin((2, 3)), masks[:, 4:].amax((2, 3)))  # the same in every pixel


def test_recorded_pairs_are_drawn_turned_and_swapped(tmp_path: Path) -> None:
    (pair,) = random_pairs(1)
    write_pairs(tmp_path / PAIRS, [pair])
    counts = []
    for _, masks in islice(batch_stream(RECIPE, [], tmp_path, seed=0), 5):
        counts += [[*m[:4].sum((1, 2)).tolist(), *m[4:, 0, 0].tolist()] for m in masks]
    truth, previous, current, there = pair.masks.sum((1, 2)).tolist()
    before, now = pair.nearness.tolist()
    recorded = [truth, previous, current, there, before, now], [truth, current, previous, there, now, before]
    assert all(drawn in counts for drawn in recorded)  # as it was and with the two masks swapped ...
    assert any(drawn not in recorded for drawn in counts)  # ... among made-up ones


def test_a_varied_pair_has_another_tone_and_the_same_masks() -> None:
    (pair,) = random_pairs(1)
    alike = pair._replace(images=pair.images[[0, 0]])
    tones = set()
    for seed in range(8):
        found = varied(alike, np.random.default_rng(seed))
        assert found.images.dtype == np.uint8 and found.images.shape == pair.images.shape
        assert (found.images[0] == found.images[1]).all()  # a slice beside itself stays itself
        assert found.masks.sum() == pair.masks.sum()
        tones.add(int(found.images.mean()))
    assert len(tones) > 4


def test_a_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    first, second = (next(iter(batch_stream(RECIPE, [], tmp_path, seed=3))) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize(
    ("network", "kind"), [("interaction", ClipStream), ("memory", ClipStream), ("overview", CubeStream)]
)
def test_other_networks_are_trained_on_clips_or_cubes(tmp_path: Path, network: str, kind: type) -> None:
    recipe = Recipe(network=network, clip=ClipConfig(slices=2))
    assert isinstance(batch_stream(recipe, [], tmp_path, seed=0), kind)
