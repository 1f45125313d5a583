"""Clips: what the networks are trained on looks like what they will see."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from doubles import volume_of

torch = pytest.importorskip("torch")

from limnet.training.cases import TrainingCase, case_of, read_cases
from limnet.training.clips import Clip, ClipConfig, _slices, sample_clip

torch.set_num_threads(1)
PLAIN = {"synthetic": 0.0, "union": 0.0, "colour": 0.0, "overflow": 0.0}


def ball_case(
    shape: tuple[int, int, int] = (48, 40, 30), spacing: tuple[float, float, float] = (1, 1, 1)
) -> TrainingCase:
    places = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2
    ball = (np.sqrt((places**2).sum(0)) < min(shape) / 3).astype(np.uint8)
    image = 100.0 * ball + np.random.default_rng(0).normal(0, 3, shape)
    return case_of("ball", "balls", volume_of(image, spacing), ball, spacing)


def clips_of(case: TrainingCase, count: int = 30, seed: int = 0, **settings: float) -> list[Clip]:
    config, rng = ClipConfig(size=64, **settings), np.random.default_rng(seed)  # type: ignore[arg-type]
    found = [sample_clip(case, config, rng) for _ in range(count)]
    clips = [clip for clip in found if clip is not None]
    assert len(clips) > count / 2
    return clips


def test_a_clip_is_images_in_zero_to_one_and_a_binary_truth_with_the_object_on_slice_zero() -> None:
    for clip in clips_of(ball_case(), slices=4):
        assert (clip.image.shape, clip.truth.shape) == ((4, 3, 64, 64), (4, 64, 64))
        assert clip.image.dtype == clip.truth.dtype == np.float32
        assert np.isfinite(clip.image).all()
        assert -1e-6 <= clip.image.min() <= clip.image.max() <= 1 + 1e-6
        assert set(np.unique(clip.truth)) <= {0, 1}
        assert clip.truth[0].sum() >= ClipConfig().min_area


def test_truth_lies_on_the_object() -> None:
    """Of a bright ball in the dark, pixels of the truth and of the rest are told apart by intensity."""
    contrasts = []
    for clip in clips_of(ball_case(), **PLAIN):
        inside, outside = clip.image[0, 0][clip.truth[0] > 0], clip.image[0, 0][clip.truth[0] == 0]
        contrasts.append(abs(inside.mean() - outside[outside > 0].mean()) if (outside > 0).any() else 1)
    assert np.median(contrasts) > 0.3


@pytest.mark.parametrize("shape", [(48, 40, 1), (1, 48, 40), (48, 40, 3)])
def test_flat_and_short_volumes_give_clips_too(shape: tuple[int, int, int]) -> None:
    case = ball_case((48, 40, 40))
    axis = int(np.argmin(shape))
    middle = [
        slice(20 - shape[axis] // 2, 20 - shape[axis] // 2 + shape[axis]) if a == axis else slice(None)
        for a in range(3)
    ]
    labels = np.moveaxis(case.labels, 2, axis)[tuple(middle)]
    assert case.image is not None
    image = np.moveaxis(case.image, 2, axis)[tuple(middle)].astype(np.float32)
    for clip in clips_of(case_of("flat", "flat", volume_of(image), labels, (1, 1, 1)), slices=5):
        assert clip.image.shape == (5, 3, 64, 64)


def test_a_label_map_alone_gets_made_up_intensities() -> None:
    case = case_of("map", "maps", None, ball_case().labels, (1, 1, 1))
    assert case.image is None
    clips = clips_of(case)
    assert np.mean([clip.image.std() > 0.02 for clip in clips]) > 0.9


def test_colour_is_a_choice() -> None:
    grey = clips_of(ball_case(), **PLAIN | {"colour": 0.0})
    assert all(np.array_equal(clip.image[:, 0], clip.image[:, 1]) for clip in grey)
    coloured = clips_of(ball_case(), **PLAIN | {"colour": 1.0})
    assert not any(np.array_equal(clip.image[:, 0], clip.image[:, 1]) for clip in coloured)


def test_a_seed_gives_the_same_clips() -> None:
    one, same, other = (clips_of(ball_case(), count=6, seed=seed, slices=2) for seed in (3, 3, 4))
    for first, second in zip(one, same, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(one[0].image, other[0].image)


def test_zoom_decides_how_large_the_object_is_seen() -> None:
    near = clips_of(ball_case(), **PLAIN, min_zoom=1.1, max_zoom=1.2)
    far = clips_of(ball_case(), **PLAIN, min_zoom=2.5, max_zoom=2.6)
    shares = [np.median([clip.truth[0].mean() for clip in clips]) for clips in (near, far)]
    assert shares[0] > 0.45
    assert shares[0] > 3 * shares[1]


def test_thick_slices_are_mostly_swept_along_their_thickness() -> None:
    """Across them the ball would be a stretched, few-pixel blob: neighbours differ much more."""
    clips = clips_of(ball_case((40, 40, 12), (1, 1, 6)), count=60, slices=2, **PLAIN)
    assert len(clips) > 40


def test_an_ended_clip_begins_on_the_object_and_leaves_it_for_good() -> None:
    """The ball has room for 8 slices on every side: two steps of 4 at most."""
    for clip in clips_of(ball_case((48, 48, 48)), **PLAIN, slices=3, ended=1.0):
        seen = clip.truth.any((1, 2)).tolist()
        assert seen in ([True, True, False], [True, False, False])


def test_an_ended_clip_starts_anywhere_from_which_its_last_slice_is_beyond() -> None:
    """Four slices in single steps: on one of the object's last three, seen either way."""
    case, rng = ball_case((48, 48, 48)), np.random.default_rng(0)
    config = ClipConfig(slices=4, max_gap=1, ended=1.0)
    (target,) = case.objects
    low, high = target.box[0].start, target.box[0].stop - 1
    clips = {tuple(_slices(case, target, 0, config, rng).tolist()) for _ in range(100)}
    upwards = {tuple(range(start, start + 4)) for start in (high - 2, high - 1, high)}
    downwards = {tuple(range(start, start - 4, -1)) for start in (low, low + 1, low + 2)}
    assert clips == upwards | downwards


def test_a_clip_of_thick_slices_ends_too() -> None:
    case = ball_case((40, 40, 24), (1, 1, 6))
    for clip in clips_of(case, **PLAIN, slices=3, ended=1.0):
        assert not clip.truth[-1].any()


def test_clips_are_ended_as_often_as_is_asked() -> None:
    clips = clips_of(ball_case((48, 48, 48)), count=60, **PLAIN, slices=2, ended=0.5, max_gap=1)
    assert 0.3 < np.mean([not clip.truth[-1].any() for clip in clips]) < 0.75


def test_without_ended_clips_the_object_is_hardly_ever_left_in_one_step() -> None:
    clips = clips_of(ball_case((48, 48, 48)), **PLAIN, slices=2, max_gap=1)
    assert np.mean([not clip.truth[-1].any() for clip in clips]) < 0.1


def test_an_object_at_the_volumes_end_turns_back_instead_of_ending() -> None:
    labels = np.ones((40, 40, 40), np.uint8)  # reaches every face
    image = np.random.default_rng(0).normal(100, 3, labels.shape)
    case = case_of("full", "full", volume_of(image), labels, (1, 1, 1))
    assert all(clip.truth[-1].any() for clip in clips_of(case, count=6, **PLAIN, slices=2, ended=1.0))


def test_real_cases_give_clips() -> None:
    root = os.environ.get("LIMNET_DATA")
    if not root:
        pytest.skip("needs LIMNET_DATA: a folder of training cases")
    case = next(iter(read_cases(Path(root))))
    for clip in clips_of(case, count=8, slices=3):
        assert np.isfinite(clip.image).all()


def test_at_any_zoom_the_object_may_be_a_speck_or_more_than_the_view() -> None:
    clips = clips_of(ball_case((160, 150, 24)), count=60, any_zoom=1.0, **PLAIN)
    shares = [clip.truth[0].mean() for clip in clips]
    assert min(shares) < 0.02 and max(shares) > 0.6
    assert all(clip.truth[0, 24:40, 24:40].any() for clip in clips)  # around a point of the object


def test_half_of_the_clips_at_any_zoom_lie_around_the_middle_of_the_object() -> None:
    clips = clips_of(ball_case((160, 150, 24)), count=80, any_zoom=1.0, **PLAIN)
    whole = [clip.truth[0] for clip in clips if 0.01 < clip.truth[0].mean() < 0.15]
    offsets = [np.abs(np.argwhere(truth).mean(0) - 31.5).max() / np.sqrt(truth.sum()) for truth in whole]
    assert len(whole) > 20 and 0.3 < np.mean(np.array(offsets) < 0.06) < 0.8


def test_coarse_clips_lose_what_is_finer_than_their_pixels_and_keep_their_level() -> None:
    fine, coarse = (clips_of(ball_case(), count=20, coarse=share, **PLAIN) for share in (0.0, 1.0))
    rough = [[np.abs(np.diff(clip.image, n=2, axis=-1)).mean() for clip in clips] for clips in (fine, coarse)]
    level = [np.mean([clip.image.mean() for clip in clips]) for clips in (fine, coarse)]
    assert np.median(rough[1]) < 0.8 * np.median(rough[0])
    assert level[0] == pytest.approx(level[1], abs=0.1)
