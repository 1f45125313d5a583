"""Clicks and wrong masks made while training."""
# torch is optional: the imports below come after the check for it

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from limnet.training.clicking import SliceClick, error_click, leak, perturb

DISK = np.hypot(*(np.indices((64, 64)) - 32)) < 14
LEFT = np.zeros((64, 64), bool)
LEFT[24:40, 8:24] = True  # a square of 16 x 16 pixels


def test_a_central_click_lies_in_the_middle_of_the_largest_error() -> None:
    truth = np.zeros((12, 12), bool)
    truth[1:4, 1:4] = True  # 3 x 3, found
    truth[5:10, 5:10] = True  # 5 x 5, missed
    mask = truth.copy()
    mask[5:10, 5:10] = False
    mask[0, 8:12] = True  # 4 pixels too many
    rng = np.random.default_rng(0)
    assert error_click(truth, mask, rng, central=1) == SliceClick(7, 7, True)
    mask[5:10, 5:10] = True
    assert error_click(truth, mask, rng, central=1) == SliceClick(0, 8, False)  # all equally deep: the first


def test_other_clicks_lie_anywhere_in_the_largest_error() -> None:
    rng = np.random.default_rng(0)
    clicks = {error_click(DISK, np.zeros_like(DISK), rng, central=0) for _ in range(200)}
    assert len(clicks) > 50
    assert all(click is not None and DISK[click.row, click.column] and click.positive for click in clicks)


def test_a_perfect_mask_gets_no_click() -> None:
    assert error_click(DISK, DISK, np.random.default_rng(0)) is None


def test_perturbed_masks_are_wrong_but_plausible() -> None:
    rng = np.random.default_rng(0)
    masks = [perturb(DISK, rng) for _ in range(60)]
    dice = [2 * (m & DISK).sum() / (m.sum() + DISK.sum()) for m in masks]
    assert np.mean([d < 1 for d in dice]) > 0.7
    assert 0.75 < np.median(dice) < 0.99
    assert all(m.shape == DISK.shape and m.dtype == bool for m in masks)


@pytest.mark.parametrize("truth", [np.zeros((32, 32), bool), np.ones((32, 32), bool)])
def test_empty_and_full_masks_can_be_perturbed(truth: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        assert perturb(truth, rng).shape == truth.shape


def test_the_truth_is_left_alone() -> None:
    before, rng = DISK.copy(), np.random.default_rng(0)
    for _ in range(20):
        perturb(DISK, rng)
    np.testing.assert_array_equal(DISK, before)


def grey(*bright: np.ndarray) -> np.ndarray:
    """An image (3, 64, 64): 0.8 in some regions, 0.2 elsewhere."""
    plane = np.where(np.any(bright, axis=0), 0.8, 0.2).astype(np.float32)
    return np.repeat(plane[None], 3, axis=0)


def leaks(image: np.ndarray, mask: np.ndarray, count: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [leak(image, mask, rng) for _ in range(count)]


def test_a_leak_runs_over_into_a_neighbour_of_the_same_grey() -> None:
    right = np.roll(LEFT, 16, axis=1)  # shares an edge
    masks = leaks(grey(LEFT, right), LEFT)
    assert np.mean([(mask & right).any() for mask in masks]) > 0.8
    assert not any((mask & ~(LEFT | right)).any() for mask in masks)


def test_a_leak_loses_nothing_of_the_mask() -> None:
    noise = np.random.default_rng(0).random((3, 64, 64), np.float32)
    assert all(mask[LEFT].all() for mask in leaks(noise, LEFT))


def test_nothing_leaks_where_everything_around_looks_different() -> None:
    for mask in leaks(grey(LEFT), LEFT):
        np.testing.assert_array_equal(mask, LEFT)


def test_a_mask_does_not_leak_into_its_like_across_a_gap() -> None:
    for mask in leaks(grey(LEFT, np.roll(LEFT, 20, axis=1)), LEFT):
        np.testing.assert_array_equal(mask, LEFT)


def test_a_leak_reaches_twice_the_masks_side_at_most() -> None:
    beyond = np.arange(64) >= 23 + 2 * 16  # from the square's last column
    masks = leaks(np.full((3, 64, 64), 0.5, np.float32), LEFT)
    assert not any(mask[:, beyond].any() for mask in masks)
    sizes = {int(mask.sum()) for mask in masks}
    assert len(sizes) > 20  # reaches differ


def test_an_empty_mask_cannot_leak() -> None:
    assert not any(mask.any() for mask in leaks(grey(LEFT), np.zeros_like(LEFT)))


def test_a_leak_leaves_the_mask_it_was_given_alone() -> None:
    before = LEFT.copy()
    leaks(np.full((3, 64, 64), 0.5, np.float32), LEFT)
    np.testing.assert_array_equal(LEFT, before)
