"""Islands: what a negative prompt cuts off goes with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import WilfulLimNet, box_volume
from limnet.fusion import Change, Round
from limnet.islands import Anchor, islands, without_islands
from limnet.law import Placed
from limnet.prompt import Click, Voxel
from limnet.session import Session
from limnet.sweep import Task

Mask = NDArray[np.bool_]


def bars(*ranges: tuple[int, int], shape: Voxel = (6, 6, 20)) -> Mask:
    """Bars along the last axis, in line with each other."""
    block = np.zeros(shape, bool)
    for start, stop in ranges:
        block[2:4, 2:4, start:stop] = True
    return block


def cut_off(block: Mask, axis: int, anchors: list[Anchor]) -> Mask:
    """What is an island, as a block."""
    found = np.zeros_like(block)
    for position, mask in islands(block, axis, anchors).items():
        assert mask.any()
        found[(slice(None),) * axis + (position,)] = mask
    return found


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_touches_no_prompted_slice_is_an_island(axis: int) -> None:
    block = bars((1, 6), (8, 12), (14, 20))
    np.testing.assert_array_equal(cut_off(block, axis, [Anchor(2, 3)]), block & ~bars((1, 6)))
    np.testing.assert_array_equal(cut_off(block, axis, [Anchor(2, 3), Anchor(2, 17)]), bars((8, 12)))


def test_a_prompted_plane_across_holds_all_it_meets() -> None:
    block = bars((1, 6), (8, 12))
    assert not cut_off(block, 2, [Anchor(0, 2)]).any()
    block[5, 5, 9] = True  # off that plane
    assert np.argwhere(cut_off(block, 2, [Anchor(0, 2)])).tolist() == [[5, 5, 9]]


def test_a_branch_that_comes_back_belongs_to_the_object() -> None:
    block = bars((0, 20))
    block[2:4, 4:6, 18:20] = True  # over at the far end ...
    block[2:4, 5, 2:18] = True  # ... and back beside it, where only that way leads to it
    assert not cut_off(block, 2, [Anchor(2, 0)]).any()


def test_corners_do_not_hold_together() -> None:
    block = np.zeros((4, 4, 4), bool)
    block[0, 0, 0] = block[1, 1, 1] = True
    assert np.argwhere(cut_off(block, 2, [Anchor(2, 0)])).tolist() == [[1, 1, 1]]


def test_where_no_prompted_slice_holds_anything_nothing_is_known() -> None:
    assert islands(bars((4, 9)), 2, [Anchor(2, 0)]) == {}
    assert islands(bars((4, 9)), 2, []) == {}


def test_labelling_the_whole_block_says_the_same() -> None:
    from scipy import ndimage

    rng = np.random.default_rng(3)
    for _ in range(20):
        block = rng.random((7, 9, 11)) < 0.4
        anchors = [Anchor(2, 5), Anchor(0, 2)]
        labels, _ = ndimage.label(block)
        held = np.unique(np.concatenate([labels[2].ravel(), labels[:, :, 5].ravel()]))
        np.testing.assert_array_equal(cut_off(block, 1, anchors), block & ~np.isin(labels, held))


def cut_in_two(rounds: tuple[object, ...], sign: int) -> dict[int, Mask]:
    """A bar of which a round has emptied slice 9; slice 3 is prompted."""
    before = bars((1, 15)).astype(np.uint8)
    task = SimpleNamespace(mask=before, rounds=rounds, sign=sign, fusion=True)
    done = SimpleNamespace(axis=2, change=Change.of((2, 2, 9), bars((9, 10))[2:4, 2:4, 9:10]))
    extent = ((2, 2, 1), (4, 4, 15))
    return without_islands(cast(Round, done), cast(Task, task), extent, [Placed(2, Click((2, 2, 3)))])


def test_only_a_round_that_takes_away_loses_islands() -> None:
    prompted = (SimpleNamespace(prompts=(Click((2, 2, 3)),)),)
    slices = cut_in_two(prompted, sign=-1)
    assert sorted(slices) == [10, 11, 12, 13, 14] and not any(mask.any() for mask in slices.values())
    assert {mask.shape for mask in slices.values()} == {(6, 6)}
    assert cut_in_two(prompted, sign=0) == cut_in_two(prompted, sign=1) == {}


def test_a_mask_that_was_given_keeps_its_islands() -> None:
    assert cut_in_two((SimpleNamespace(prompts=()),), sign=-1) == {}


@pytest.mark.parametrize("crossing", [False, True])
def test_after_a_negative_round_all_hangs_together_with_prompted_slices(crossing: bool) -> None:
    session = Session(box_volume(), WilfulLimNet(size=64), crossing=crossing)
    session.click((12, 12, 8))
    session.propagate()
    prompted = [8]
    for _ in range(2):
        index = max(set(range(16)) - set(prompted), key=lambda k: session.slice_mask(k).sum())
        row, column = np.argwhere(session.slice_mask(index))[0]
        session.click((int(row), int(column), index), positive=False)
        prompted.append(index)
        seen = {found.index: found.mask for found in session.sweep()}
        for number, mask in seen.items():
            np.testing.assert_array_equal(mask, session.slice_mask(number), err_msg=f"slice {number}")
        anchors = [Anchor(2, index) for index in prompted]
        assert islands(session.mask > 0, 2, anchors) == {}
