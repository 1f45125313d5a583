"""Losses and Dice of batches, by hand."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from limnet.training.losses import OBJECT_SMOOTH, SMOOTH, batch_dice, mask_loss, object_loss


def test_a_sure_and_right_mask_costs_nothing() -> None:
    truth = (torch.arange(64).reshape(1, 1, 8, 8) % 3 == 0).float()
    assert mask_loss(50 * (2 * truth - 1), truth) == pytest.approx(0, abs=1e-6)


def test_loss_is_cross_entropy_plus_smoothed_soft_dice() -> None:
    truth = torch.zeros(1, 1, 2, 2)
    truth[0, 0, 0] = 1  # two of four pixels; all probabilities are a half
    expected = math.log(2) + 1 - (2 * 1 + SMOOTH) / (2 + 2 + SMOOTH)
    assert mask_loss(torch.zeros(1, 1, 2, 2), truth) == pytest.approx(expected)


def test_loss_of_an_object_counts_cross_entropy_twice() -> None:
    truth = torch.zeros(2, 1, 2, 2, 2)
    truth[0, 0, 0] = 1  # half of the samples; all probabilities are a half
    overlaps = [(2 * 2 + OBJECT_SMOOTH) / (4 + 4 + OBJECT_SMOOTH), OBJECT_SMOOTH / (4 + OBJECT_SMOOTH)]
    expected = 2 * math.log(2) + 1 - sum(overlaps) / 2
    assert object_loss(torch.zeros_like(truth), truth) == pytest.approx(expected)


def test_loss_of_empty_truth_is_finite_and_falls_with_the_mask() -> None:
    truth = torch.zeros(2, 1, 8, 8)
    losses = [float(mask_loss(torch.full_like(truth, logit), truth)) for logit in (5, 0, -5)]
    assert losses[0] > losses[1] > losses[2] > 0


def test_dice_of_each_pair_and_of_empty_ones() -> None:
    masks = torch.tensor([[[1, 1, 0]], [[0, 0, 0]], [[1, 0, 0]], [[1, 1, 1]]]).bool()
    truth = torch.tensor([[[1, 0, 0]], [[0, 0, 0]], [[0, 1, 0]], [[1, 1, 1]]]).bool()
    assert batch_dice(masks, truth).tolist() == pytest.approx([2 / 3, 1, 0, 1])
