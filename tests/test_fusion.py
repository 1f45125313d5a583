"""Stage 3: which mask survives, and changes that can be taken back bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from doubles import FakeLimNet
from limnet.fusion import Candidate, Change, Verdict, expected_dice, fuse, nearness, shrink, tempered
from limnet.model import Judgement, Reference

Array = NDArray[np.float32]
RNG = np.random.default_rng(0)
IMAGE = RNG.random((3, 32, 32)).astype(np.float32)
ONE = Candidate(np.zeros((32, 32), np.float32), carried=10)
TWO = Candidate(np.ones((32, 32), np.float32), carried=0)
THERE = Reference(np.zeros((3, 128, 128), np.float32), np.zeros((128, 128), np.float32))
boxes = st.tuples(*[st.tuples(st.integers(0, 5), st.integers(1, 6)) for _ in range(3)])


@given(boxes, st.floats(0, 1), st.integers(0, 9))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_change_flips_its_voxels_and_twice_is_nothing(box, share: float, seed: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    low, shape = tuple(a for a, _ in box), tuple(n for _, n in box)
    before = (rng.random((11, 11, 11)) < 0.5).astype(np.uint8)
    flipped = rng.random(shape) < share
    expected = before.copy()
    expected[tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))] ^= flipped
    mask, change = before.copy(), Change.of(low, flipped)
    change.apply(mask)
    np.testing.assert_array_equal(mask, expected)
    assert mask.max() <= 1
    change.apply(mask)
    np.testing.assert_array_equal(mask, before)


def test_a_change_keeps_only_the_box_that_changed() -> None:
    flipped = np.zeros((50, 60, 70), bool)
    flipped[10:12, 20:23, 30:34] = True
    change = Change.of((5, 0, 1), flipped)
    assert (change.low, change.shape) == ((15, 20, 31), (2, 3, 4))
    assert len(change.data) < 40


def test_no_change_is_a_change_too() -> None:
    mask = np.ones((3, 3, 3), np.uint8)
    Change.of((0, 0, 0), np.zeros((3, 3, 3), bool)).apply(mask)
    assert mask.all()


@pytest.mark.parametrize(
    ("preference", "verdict"),
    [(0.51, Verdict(True, 0.9)), (0.5, Verdict(False, 0.6)), (0.0, Verdict(False, 0.6))],
)
def test_the_previous_mask_is_kept_above_the_threshold(preference: float, verdict: Verdict) -> None:
    model, current = FakeLimNet(preference, previous_quality=0.9, quality=0.6), TWO._replace(carried=10)
    assert fuse(model, IMAGE, ONE, current, THERE) == verdict


@pytest.mark.parametrize(
    ("previous_carried", "carried", "keeps"),
    [(0, 10, True), (10, 0, False), (10, 10, False), (-1, 10, False)],
)
def test_an_undecided_network_leaves_it_to_the_nearer_prompt(
    previous_carried: int, carried: int, keeps: bool
) -> None:
    previous, current = ONE._replace(carried=previous_carried), TWO._replace(carried=carried)
    assert fuse(FakeLimNet(0.5), IMAGE, previous, current, THERE).keeps_previous is keeps


@pytest.mark.parametrize("preference", [0.01, 0.99])
@pytest.mark.parametrize(
    ("previous_carried", "carried", "keeps"), [(5, 10, True), (10, 5, False), (10, 10, False), (0, 3, True)]
)
def test_of_two_masks_that_hold_something_the_nearer_prompts_is_kept(
    previous_carried: int, carried: int, keeps: bool, preference: float
) -> None:
    previous, current = TWO._replace(carried=previous_carried), TWO._replace(carried=carried)
    model = FakeLimNet(preference, previous_quality=0.9, quality=0.6)
    assert fuse(model, IMAGE, previous, current, THERE) == Verdict(keeps, 0.9 if keeps else 0.6)


@pytest.mark.parametrize("preference", [0.01, 0.99])
@pytest.mark.parametrize(
    ("previous", "current", "sign", "keeps"),
    [(ONE, TWO, 1, False), (TWO, ONE, 1, True), (ONE, TWO, -1, True), (TWO, ONE, -1, False)],
)
def test_prompts_that_only_add_or_only_take_away_are_believed_before_the_network(
    previous: Candidate, current: Candidate, sign: int, keeps: bool, preference: float
) -> None:
    assert not ONE.mask.any() and TWO.mask.all()
    assert fuse(FakeLimNet(preference), IMAGE, previous, current, THERE, sign).keeps_previous is keeps


def test_a_mask_that_nobody_carried_is_weighed_by_the_network_though_both_hold_something() -> None:
    nobody = TWO._replace(carried=-1)  # such as a mask that the session started from
    assert fuse(FakeLimNet(0.51), IMAGE, nobody, TWO, THERE).keeps_previous
    assert not fuse(FakeLimNet(0.49), IMAGE, nobody, TWO, THERE).keeps_previous


def test_where_nobody_carried_a_mask_the_preference_stands() -> None:
    nobody = ONE._replace(carried=-1)
    assert fuse(FakeLimNet(0.51), IMAGE, nobody, TWO, THERE).keeps_previous
    assert not fuse(FakeLimNet(0.49), IMAGE, nobody, TWO, THERE).keeps_previous


def test_without_a_previous_mask_only_the_quality_counts() -> None:
    assert fuse(FakeLimNet(preference=1.0, quality=0.6), IMAGE, None, TWO, THERE) == Verdict(False, 0.6)


def test_the_network_sees_previous_then_current_at_its_own_size() -> None:
    class Recorder(FakeLimNet):
        def judge(
            self, image: Array, previous: Array, current: Array, nearness: Array, reference: Reference
        ) -> Judgement:
            self.seen = (image.shape, previous.shape, previous.mean(), current.mean(), nearness.tolist())
            return self.judgement

    model = Recorder()
    fuse(model, IMAGE, ONE, TWO, THERE)
    assert model.seen == ((3, 128, 128), (128, 128), 0, 1, [0.5, 1])
    fuse(model, IMAGE, None, ONE, THERE)
    assert model.seen == ((3, 128, 128), (128, 128), 0, 0, [0.5, 0.5])


def test_nearness_falls_from_one_on_the_prompt_slice() -> None:
    near = nearness(np.array([0, 1, 10, 100, 2000], np.int16))
    assert near.dtype == np.float32
    assert near[0] == 1 and near[2] == 0.5
    assert (np.diff(near) < 0).all() and near[-1] > 0
    assert nearness(np.array([-1]))[0] == 0


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_shrink_averages_whole_blocks(factor: int) -> None:
    maps = RNG.random((2, 128 * factor, 128 * factor)).astype(np.float32)
    expected = [
        [maps[c, factor * r : factor * (r + 1), factor * k : factor * (k + 1)].mean() for k in (0, 64, 127)]
        for c in (0, 1)
        for r in (0, 63, 127)
    ]
    found = shrink(maps)[:, [0, 63, 127]][..., [0, 64, 127]]
    np.testing.assert_allclose(found.reshape(6, 3), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [32, 64, 96, 192, 320])
def test_shrink_by_other_factors_keeps_a_ramp_a_ramp(size: int) -> None:
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    ramp = np.broadcast_to(centres, (size, size))
    small = shrink(ramp)
    assert small.shape == (128, 128)
    inner = slice(128 // 32, -128 // 32)  # beyond the outermost pixel centres the ramp is extended
    np.testing.assert_allclose(
        small[:, inner], np.broadcast_to((np.arange(128) + 0.5) / 128, (128, 128))[:, inner], atol=1e-5
    )
    np.testing.assert_allclose(shrink(np.ones((size, size), np.float32)), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "size",
    [
        32,
        64,
        96,
        192,
    ],
)
def test_shrunken_masks_stay_between_zero_and_one(size: int) -> None:
    mask = (RNG.random((size, size)) < 0.5).astype(np.float32)
    small = shrink(mask)
    assert small.min() >= 0
    assert small.max() <= 1


def test_expected_dice_is_one_when_sure_and_falls_with_doubt_inside_and_outside() -> None:
    sure = np.zeros((8, 8), np.float32)
    sure[2:6, 2:6] = 1
    assert expected_dice(sure > 0.5, sure) == 1
    doubtful, surrounded = sure.copy(), sure + np.float32(0.4) * (sure == 0)
    doubtful[2:4, 2:6] = 0.6
    assert expected_dice(doubtful > 0.5, doubtful) == pytest.approx(2 * (8 + 8 * 0.6) / (16 + 8 + 8 * 0.6))
    assert expected_dice(sure > 0.5, surrounded) == pytest.approx(2 * 16 / (16 + 16 + 48 * 0.4))
    assert expected_dice(sure > 1, sure) == 0


def test_another_judgement_tempers_the_quality_where_both_are_known() -> None:
    quality, other = np.array([[0.9, 0.9, np.nan], [0.4, np.nan, 0.5]], np.float32)
    np.testing.assert_allclose(tempered(quality, other), [0.6, 0.9, np.nan])
