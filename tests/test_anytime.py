"""A sweep at any time: what it has shown so far, that it stops when told to; lanes change nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import FakeLimNet, WilfulLimNet, box_volume, replayed
from limnet.errors import PromptError
from limnet.lens import SliceCache, lens_at, plane_of
from limnet.model import Carried
from limnet.runtime import Lanes
from limnet.session import Session
from limnet.view import whole_view

Array = NDArray[np.float32]
PROMPT = 8  # the prompt slice; the object lies in slices 2 to 13 of 16
CENTRE = (12, 12, PROMPT)


class LanedLimNet(WilfulLimNet):
    """Follows its input alone, on as many lanes as asked for."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = Lanes(lanes)


class CountingLimNet(FakeLimNet):
    """Counts the slices it was asked to carry a mask to."""

    num_carried = 0

    def carry(self, *inputs, **more) -> Carried:  # type: ignore[no-untyped-def]
        self.num_carried += 1
        return super().carry(*inputs, **more)


def new_session(model: FakeLimNet) -> Session:
    session = Session(box_volume((8, 8, 2), (16, 16, 14)), model)
    session.click(CENTRE)
    return session


def three_rounds(model: FakeLimNet) -> Session:
    session = new_session(model)
    session.propagate()
    for index in ((13, 12, 11), (12, 13, 5)):
        session.click(index)
        session.propagate()
    return session


def test_slices_come_nearest_first_whatever_the_lanes() -> None:
    for lanes in (1, 2, 4):
        order = [s.index for s in new_session(LanedLimNet(lanes)).sweep()]
        distances = [abs(index - PROMPT) for index in order]
        assert distances[:5] == [0, 1, 1, 2, 2]
        assert order[1:5] == [9, 7, 10, 6]  # by turns on both sides


@pytest.mark.parametrize("lanes", [2, 3, 4, 8])
def test_masks_and_rounds_do_not_depend_on_the_lanes(lanes: int) -> None:
    one, many = three_rounds(LanedLimNet(1)), three_rounds(LanedLimNet(lanes))
    np.testing.assert_array_equal(one.mask, many.mask)
    for first, second in zip(one.rounds, many.rounds, strict=True):
        assert first.change == second.change or first.change.data == second.change.data
        for name in ("provenance", "carried", "quality", "swept"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_replay_on_other_lanes_gives_the_same_mask() -> None:
    session = three_rounds(LanedLimNet(4))
    np.testing.assert_array_equal(replayed(session, LanedLimNet(2)).mask, session.mask)


def test_what_was_yielded_is_the_mask_of_the_round() -> None:
    session = new_session(LanedLimNet(2))
    shown = {s.index: s.mask for s in session.sweep()}
    for index, mask in shown.items():
        np.testing.assert_array_equal(session.mask[:, :, index] > 0, mask)


def test_a_closed_sweep_computes_nothing_more_and_changes_nothing() -> None:
    model = CountingLimNet()
    session = new_session(model)
    before = session.mask
    sweep = session.sweep()
    for _ in range(4):
        next(sweep)
    asked = model.num_carried
    sweep.close()
    assert asked <= 4  # the prompt slice came from the click; two sides advance together
    assert model.num_carried == asked
    np.testing.assert_array_equal(session.mask, before)
    assert (len(session.rounds), len(session.pending)) == (0, 1)


def test_a_slice_asked_for_carries_no_more_than_one_slice_of_each_side() -> None:
    model = CountingLimNet()
    sweep = new_session(model).sweep()
    counts = []
    for _ in range(5):
        next(sweep)
        counts.append(model.num_carried)
    assert counts == [0, 2, 2, 4, 4]


def test_a_click_while_a_sweep_runs_abandons_it_and_joins_the_next_round() -> None:
    session = new_session(FakeLimNet())
    sweep = session.sweep()
    next(sweep)
    session.click((13, 13, 10))
    with pytest.raises(PromptError, match="a prompt or undo came while the sweep ran"):
        next(sweep)
    assert session.rounds == ()
    done = session.propagate()
    assert [click.index for click in done.clicks] == [CENTRE, (13, 13, 10)]


def test_an_abandoned_sweep_does_not_show_in_the_next_round() -> None:
    disturbed, calm = new_session(LanedLimNet(2)), new_session(LanedLimNet(2))
    sweep = disturbed.sweep()
    for _ in range(3):
        next(sweep)
    for session in (disturbed, calm):
        session.click((13, 13, 10))
    with pytest.raises(PromptError):
        list(sweep)
    disturbed.propagate(), calm.propagate()
    np.testing.assert_array_equal(disturbed.mask, calm.mask)


def test_a_click_of_another_thread_may_come_at_any_slice() -> None:
    model = LanedLimNet(2)
    session = new_session(model)
    sweep = session.sweep()
    next(sweep)
    clicking = threading.Thread(target=session.click, args=((13, 13, 10),))
    clicking.start()
    next(sweep, None)
    clicking.join()
    with pytest.raises(PromptError):
        list(sweep)
    assert len(session.pending) == 2


def test_lanes_over_the_number_of_sides_encode_the_next_slices() -> None:
    model = LanedLimNet(4)
    sweep = new_session(model).sweep()
    for _ in range(3):  # the prompt slice, then one slice of each side
        next(sweep)
    assert model.num_queries == 3
    next(sweep)
    assert model.num_queries == 5 + 2  # slices 10 and 6 were asked for, 11 and 5 come next


def test_slices_are_encoded_once_though_several_threads_ask() -> None:
    volume, model = box_volume(), FakeLimNet()
    lens = lens_at(volume, 2, PROMPT, whole_view(plane_of(volume, 2), 32))
    cache = SliceCache(volume, lens, model)
    cache.prepare(3)
    jobs: list[Callable[[], object]] = [lambda: cache[3]] * 8
    Lanes(4).together(jobs)
    assert model.num_queries == 1
