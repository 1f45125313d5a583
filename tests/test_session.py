"""The session's promises: clicks are law, rounds are values, undo and replay are exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from doubles import (
    CopyLimNet,
    FakeLimNet,
    WilfulLimNet,
    box_volume,
    exported_folder,
    replayed,
    volume_of,
)
from limnet.errors import PromptError
from limnet.memory import BankConfig
from limnet.model import LimNet, load_model
from limnet.prompt import Click, Voxel
from limnet.session import Session
from limnet.sweep import PATIENCE
from limnet.volume import Volume

Array = NDArray[np.float32]

INSIDE = (12, 12, 8)  # of the box of box_volume(): voxels 8 .. 15, 8 .. 15, 4 .. 11


def session_of(model: LimNet | None = None, volume: Volume | None = None, fusion: bool = True) -> Session:
    """One that goes along one axis: what crosses it is tested in test_crossing.py."""
    return Session(volume or box_volume(), model or CopyLimNet(), fusion=fusion, crossing=False)


def at(index: int) -> Voxel:
    """A voxel of the box on one of its slices."""
    return (12, 12, index)


def state(session: Session) -> tuple[object, ...]:
    """All that a user can see of a session, and its lens."""
    return (
        session.mask.tobytes(),
        session.rounds,  # rounds are equal only when they are the same
        session.pending,
        session.axis,
        session.quality.tobytes(),
        session.suggest_slice(),
        session._current_lens(),
    )


def obeys(session: Session) -> bool:
    """Whether each click, the later one of two on a voxel, is where it says in the mask."""
    mask, last = session.mask, {click.index: click.positive for click in session.clicks}
    return all(mask[index] == positive for index, positive in last.items())


# Sweeps


def test_every_slice_is_visited_once_the_nearest_first() -> None:
    session = session_of()
    session.click(INSIDE)
    assert [s.index for s in session.sweep()] == [8, 9, 7, 10, 6, 11, 5, 12, 4, 13, 3, 14, 2, 15, 1, 0]


def test_the_slices_of_a_sweep_are_the_session_mask() -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    seen = list(session.sweep())
    for slice_mask in seen:
        assert slice_mask.axis == 2
        np.testing.assert_array_equal(slice_mask.mask, session.mask[..., slice_mask.index])
    unseen = sorted(set(range(16)) - {s.index for s in seen})
    assert not session.mask[..., unseen].any()


def test_the_object_of_the_volume_is_found() -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    session.propagate()
    box = session.volume.array > 0
    assert session.mask[box].all()
    assert session.mask[..., 4:12].sum() < 1.6 * box.sum()  # views are coarse: at most one voxel more
    assert not session.mask[..., [*range(4), *range(12, 16)]].any()


def test_a_sweep_stops_once_the_object_has_ended_for_some_slices() -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    done = session.propagate()
    assert np.flatnonzero(done.swept).tolist() == list(range(4 - PATIENCE, 12 + PATIENCE))


def test_a_sweep_goes_on_where_the_round_before_found_something() -> None:
    """What an earlier round left behind is reached and replaced, not forgotten."""
    model = CopyLimNet()
    session = session_of(model, fusion=False)
    session.click(INSIDE)
    session.propagate()
    session.model = FakeLimNet()  # now the mask ends with the box
    session.click(at(7))
    done = session.propagate()
    assert np.flatnonzero(done.swept).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not session.mask[..., :4].any()
    assert session.mask[..., 12:].any()  # beyond the anchor 8: not this round's business


def test_sweeps_stop_at_anchors() -> None:
    session = session_of()
    session.click(at(8))
    session.propagate()
    session.click(at(12))
    assert [s.index for s in session.sweep()] == [12, *(13,), *(14, 10), *(15, 9, 11)]


def test_slices_between_two_prompts_come_once_both_sides_have_met() -> None:
    session = session_of()
    session.click(at(4))
    session.click(at(11))
    order = [4, 11, *(12, 3), *(13, 2), *(14, 1), *(15, 0, 7, 8), *(6, 9), *(5, 10)]
    assert [s.index for s in session.sweep()] == order


def test_between_two_prompts_both_masks_count_by_nearness() -> None:
    session = session_of()
    session.click(at(8))  # carried unchanged: all slices of the view are full
    session.click((0, 0, 13), positive=False)  # carried unchanged: empty
    session.propagate()
    assert [bool(session.mask[..., index].any()) for index in range(9, 13)] == [True, True, False, False]


@given(st.sets(st.integers(0, 15), min_size=1, max_size=5), st.sets(st.integers(0, 15), max_size=3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_every_slice_but_the_older_anchors_is_visited_once(pending: set[int], older: set[int]) -> None:
    session = session_of()
    for index in older:
        session.click(at(index))
    if older:
        session.propagate()
    for index in pending:
        session.click(at(index))

    def beside(index: int) -> set[int]:
        """The prompted slices nearest to a slice, on both sides."""
        prompted = pending | older
        return {
            max((p for p in prompted if p < index), default=-1),
            min((p for p in prompted if p > index), default=-1),
        }

    visited = [s.index for s in session.sweep()]
    between = {index for index in range(16) if index not in pending | older and beside(index) & pending}
    assert sorted(visited) == sorted(pending | between)


def test_two_clicks_on_a_slice_are_one_prompt() -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    session.click((9, 9, 8), positive=False)
    seen = [s.index for s in session.sweep()]
    assert seen.count(8) == 1
    assert session.mask[INSIDE] == 1
    assert session.mask[9, 9, 8] == 0
    assert session.rounds[0].clicks == (Click(INSIDE), Click((9, 9, 8), positive=False))


def test_an_empty_prompt_slice_says_where_the_object_ends() -> None:
    session = session_of()
    session.click(at(8))
    session.click((0, 0, 12), positive=False)
    session.propagate()
    assert session.mask[..., 9].any()
    assert not session.mask[..., 10:].any()


def test_a_second_round_through_the_same_view_encodes_nothing() -> None:
    model = CopyLimNet()
    session = session_of(model)
    session.click(at(8))
    session.propagate()
    encoded = model.num_queries
    session.click(at(10))
    session.propagate()
    assert encoded == model.num_queries == 16


def test_anchors_are_remembered_up_to_the_banks_limit() -> None:
    model = CopyLimNet()
    session = Session(box_volume(), model, crossing=False, memory=BankConfig(max_anchors=2, write_every=100))
    for index in (4, 7, 10):
        session.click(at(index))
    session.propagate()
    assert set(model.memory_lengths) == {2 * 4}  # two anchors of 2 x 2 positions


def pyramid_volume() -> Volume:
    """A square that is 6 voxels wide on slice 0 and 2 wider on each further one."""
    array = np.zeros((64, 64, 20), np.int16)
    for index in range(20):
        array[32 - 3 - index : 32 + 3 + index, 32 - 3 - index : 32 + 3 + index, index] = 100
    return volume_of(array, (1, 1, 2))


def test_the_view_grows_with_the_object_and_all_slices_are_seen_through_one_view() -> None:
    session = session_of(FakeLimNet(), pyramid_volume())
    session.click((32, 32, 0))
    lens = session._current_lens()
    indices = [s.index for s in session.sweep()]
    done = session.rounds[0]
    assert done.lens.view.side_mm > lens.view.side_mm
    assert sorted(set(indices)) == list(range(20)) and len(indices) > 20  # they came again
    assert indices[-20:] == list(range(20))
    assert session.mask[session.volume.array > 0].mean() > 0.99
    session.undo()
    assert session._current_lens() is None


# Rounds as values


def test_undo_after_a_click_is_identity() -> None:
    session = session_of(FakeLimNet())
    blank = state(session)
    session.click(INSIDE)
    session.undo()
    assert state(session) == blank
    session.click(INSIDE)
    session.propagate()
    before = state(session)
    session.click((2, 2, 8), positive=False, axis=0)
    assert state(session) != before
    session.undo()
    assert state(session) == before


def test_undo_and_redo_with_nothing_left_do_nothing() -> None:
    session = session_of()
    blank = state(session)
    session.undo()
    session.redo()
    assert state(session) == blank


def test_a_new_click_ends_what_could_be_redone() -> None:
    session = session_of()
    session.click(at(8))
    session.propagate()
    session.undo()
    session.click(at(9))
    before = state(session)
    session.redo()
    assert state(session) == before


def test_undo_takes_back_a_round_with_its_clicks() -> None:
    session = session_of()
    session.click(at(5))
    session.click(at(10))
    session.propagate()
    session.undo()
    assert not session.mask.any()
    assert session.clicks == session.pending == ()
    session.redo()
    assert session.clicks == (Click(at(5)), Click(at(10)))


voxels = st.tuples(*[st.integers(0, n - 1) for n in (12, 10, 8)])
clicks = st.tuples(st.just("click"), voxels, st.booleans(), st.integers(0, 2))
steps = st.one_of(
    clicks, clicks, st.just(("propagate",)), st.sampled_from([("undo",), ("redo",), ("abandon",)])
)


def perform(session: Session, step: tuple) -> None:  # type: ignore[type-arg]
    """One action of a restless user; what the session refuses is left out."""
    match step:
        case ("click", index, positive, axis):
            axis = session.history.pending[-1].axis if session.history.pending else axis
            if positive or session.mask.any() or session.pending:
                session.click(index, positive, axis)
        case ("propagate",) if session.pending:
            session.propagate()
        case ("undo",):
            session.undo()
        case ("redo",):
            session.redo()
        case ("abandon",) if session.pending:
            sweep = session.sweep()
            for _ in range(3):
                next(sweep, None)
            sweep.close()


@pytest.fixture(scope="module")
def noise() -> Volume:
    return volume_of(np.random.default_rng(0).random((12, 10, 8)).astype(np.float32), (1, 1, 1.5))


@given(program=st.lists(steps, min_size=6, max_size=20), fusion=st.booleans())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_a_user_does_the_promises_hold(noise: Volume, program: list[tuple], fusion: bool) -> None:  # type: ignore[type-arg]
    session = Session(noise, WilfulLimNet(), fusion=fusion)
    for step in program:
        perform(session, step)
        assert obeys(session)
        assert session.mask.shape == noise.shape and session.mask.max() <= 1
    # undo to the beginning and redo to the end restore every state on the way
    states = [state(session)]
    while session.clicks:
        session.undo()
        states.append(state(session))
    assert not session.mask.any()
    for expected in reversed(states[:-1]):
        session.redo()
        assert state(session) == expected
    # the same clicks give the same mask
    again = replayed(session, WilfulLimNet())
    np.testing.assert_array_equal(again.mask, session.mask)
    np.testing.assert_array_equal(again.quality, session.quality)


def test_a_sweep_closed_midway_leaves_the_session_unchanged() -> None:
    session, other = session_of(WilfulLimNet()), session_of(WilfulLimNet())
    for one in (session, other):
        one.click(at(8))
        one.propagate()
        one.click(at(4))
    before = state(session)
    sweep = session.sweep()
    for _ in range(3):
        next(sweep)
    assert state(session) == before
    sweep.close()
    assert state(session) == before
    assert session.pending == (Click(at(4)),)
    session.propagate()
    other.propagate()
    np.testing.assert_array_equal(session.mask, other.mask)


@pytest.mark.parametrize("interrupt", [lambda s: s.click(at(9)), lambda s: s.undo(), lambda s: s.propagate()])
def test_a_sweep_that_was_interrupted_is_no_round(interrupt: Callable[[Session], object]) -> None:
    session = session_of()
    session.click(at(8))
    sweep = session.sweep()
    next(sweep)
    interrupt(session)
    before = state(session)
    with pytest.raises(PromptError, match="call propagate"):
        list(sweep)
    assert state(session) == before


def test_the_mask_is_a_copy() -> None:
    session = session_of()
    session.click(INSIDE)[...] = True
    session.propagate()
    before = state(session)
    session.mask[...] = 1
    session.slice_mask(8)[...] = True
    session.quality[...] = 0
    assert state(session) == before


def test_provenance_and_swept_agree() -> None:
    session = session_of(FakeLimNet(), fusion=False)
    session.click(at(8))
    first = session.propagate()
    assert np.array_equal(first.provenance >= 0, first.swept)
    session.click(at(11))
    second = session.propagate()
    assert set(second.provenance[second.swept]) == {1}
    np.testing.assert_array_equal(second.provenance[~second.swept], first.provenance[~second.swept])
    np.testing.assert_array_equal(np.isnan(second.quality), ~(first.swept | second.swept))
    assert {a.shape for a in (first.provenance, first.carried, first.swept, first.quality)} == {(16,)}


def test_a_round_knows_how_far_each_mask_was_carried() -> None:
    session = session_of(fusion=False)
    session.click(at(4))
    session.click(at(11))
    assert session.propagate().carried.tolist() == [4, 3, 2, 1, 0, 1, 2, 3, 3, 2, 1, 0, 1, 2, 3, 4]
    session.click(at(13))
    assert session.propagate().carried.tolist() == [4, 3, 2, 1, 0, 1, 2, 3, 3, 2, 1, 0, 1, 0, 1, 2]


def test_what_nobody_carried_is_minus_one_and_a_kept_mask_keeps_its_distance() -> None:
    session = session_of(FakeLimNet())
    session.click(at(8))
    first = session.propagate()
    assert np.array_equal(first.carried >= 0, first.swept)
    kept = two_rounds(preference=0.9, fusion=True)
    assert kept.rounds[1].carried.tolist() == [*range(8, 0, -1), 0, 1, 2, 3, 0, 5, 6, 7]


def test_fusion_is_told_how_far_both_masks_were_carried() -> None:
    class Recorder(ForgetfulLimNet):
        def judge(self, image, previous, current, nearness, reference):  # type: ignore[no-untyped-def]
            told.append([round(float(10 / n - 10)) for n in nearness])
            return self.judgement

    told: list[list[int]] = []
    session = session_of()
    session.click(at(8))
    session.propagate()
    session.model = Recorder()
    session.click((12, 12, 12), positive=False)
    visited = [s.index for s in session.sweep()]
    nearest = [min(abs(i - 8), abs(i - 12)) for i in visited[1:]]  # a blend is as near as its nearer side
    assert told == [[0, 0], *([abs(i - 8), now] for i, now in zip(visited[1:], nearest, strict=True))]


# Fusion


class ForgetfulLimNet(CopyLimNet):
    """Carries nothing."""

    def carried_mask(self, image: Array, probability: Array) -> Array:
        return np.zeros_like(probability)


def two_rounds(preference: float, fusion: bool) -> Session:
    """First the prompt mask is on all slices; then 9 .. 15 are swept from 12 and found empty but there.

    The prompts there say both what is the object and what is not, so that the network is asked.
    """
    session = session_of(CopyLimNet(), fusion=fusion)
    session.click(at(8))
    session.propagate()
    session.model = ForgetfulLimNet(preference, previous_quality=0.9, quality=0.6)
    session.click(at(12))
    session.click((12, 12, 12), positive=False)
    session.propagate()
    assert np.flatnonzero(session.rounds[1].swept).tolist() == list(range(9, 16))
    return session


def filled(session: Session) -> list[int]:
    return np.flatnonzero(session.mask.any((0, 1))).tolist()


def test_fusion_keeps_the_previous_masks_but_on_the_prompt_slice() -> None:
    session = two_rounds(preference=0.9, fusion=True)
    assert filled(session) == list(range(16))
    assert session.rounds[1].provenance.tolist() == [0] * 12 + [1] + [0] * 3
    assert session.quality[[11, 12]].tolist() == pytest.approx([0.9, 0.6])  # of the mask that was kept


def test_an_undecided_fusion_keeps_what_is_nearer_to_its_prompt_and_else_takes_the_new_masks() -> None:
    session = two_rounds(preference=0.5, fusion=True)  # 9 to 15 are empty now, none of them farther carried
    assert filled(session) == [*range(9), 12]
    assert session.rounds[1].provenance.tolist() == [0] * 9 + [1] * 7


@pytest.mark.parametrize("preference", [0.0, 1.0])
@pytest.mark.parametrize(("positive", "slices"), [(True, range(16)), (False, [*range(9), 12])])
def test_a_click_only_adds_or_only_takes_away_whatever_the_network_says(
    positive: bool, slices: Sequence[int], preference: float
) -> None:
    session = session_of(CopyLimNet())
    session.click(at(8))
    session.propagate()
    session.model = ForgetfulLimNet(preference)
    session.click(at(12) if positive else (12, 12, 12), positive)
    session.propagate()
    assert filled(session) == list(slices)  # the slices beside it were found empty


def test_a_negative_click_adds_nothing_on_any_slice() -> None:
    session = Session(volume_of(np.random.default_rng(0).random((24, 20, 16))), WilfulLimNet())
    session.click((12, 10, 8))
    session.propagate()
    for _ in range(4):
        before = session.mask > 0
        i, j, k = (int(n) for n in np.argwhere(before)[before.sum() // 3])
        session.click((i, j, k), positive=False)
        session.propagate()
        assert not ((session.mask > 0) & ~before).any()


def test_without_fusion_the_new_masks_always_count() -> None:
    session = two_rounds(preference=0.9, fusion=False)
    assert filled(session) == [*range(9), 12]
    assert session.rounds[1].provenance.tolist() == [0] * 9 + [1] * 7


def test_without_fusion_the_quality_is_that_of_the_new_masks() -> None:
    assert two_rounds(preference=0.9, fusion=False).quality[9:].tolist() == pytest.approx([0.6] * 7)


def test_the_quality_of_a_mask_falls_with_the_doubt_with_which_it_was_carried() -> None:
    class Doubtful(CopyLimNet):
        def carried_mask(self, image: Array, probability: Array) -> Array:
            return np.where(probability > 0.5, np.float32(0.6), np.float32(0))

    session = session_of(Doubtful(quality=0.8))
    session.click(at(8))
    session.propagate()
    expected = 2 * 0.6 / (1 + 0.6)
    assert session.quality[[7, 8, 9]].tolist() == pytest.approx([0.8 * expected, 0.8, 0.8 * expected])


def test_fusion_never_overrules_a_click() -> None:
    session = session_of(CopyLimNet(preference=1.0))
    session.click(at(8))
    session.propagate()
    for index, positive in (((12, 12, 10), False), ((1, 1, 10), True), ((2, 20, 3), True)):
        session.click(index, positive)
        session.propagate()
        assert obeys(session)


def test_suggest_slice_is_the_worst_nobody_clicked() -> None:
    class Judge(FakeLimNet):
        def judge(self, image, previous, current, nearness, reference):  # type: ignore[no-untyped-def]
            return self.judgement._replace(quality=next(qualities))

    qualities = iter([0.1, 0.9, 0.3, 0.8, 0.7, 0.2, *[0.95] * 50])
    session = session_of(Judge())
    assert session.suggest_slice() is None
    session.click(INSIDE)
    assert [s.index for s in session.sweep()][:6] == [8, 9, 7, 10, 6, 11]
    assert session.suggest_slice() == 11  # 8 is worse, but was clicked
    assert session.quality[8] == np.float32(0.1)


def test_quality_is_unknown_before_and_where_nothing_was_propagated() -> None:
    session = session_of(FakeLimNet())
    assert np.isnan(session.quality).all() and session.quality.shape == (16,)
    session.click(INSIDE)
    done = session.propagate()
    assert np.isnan(session.quality[~done.swept]).all()
    assert (session.quality[done.swept] == np.float32(0.6)).all()


# Prompts


def test_a_click_gives_the_mask_of_its_slice_at_once() -> None:
    session = session_of(FakeLimNet())
    mask = session.click(INSIDE)
    assert (mask.shape, mask.dtype) == ((24, 24), bool)
    assert mask[12, 12]
    np.testing.assert_array_equal(session.mask[..., 8], mask)
    np.testing.assert_array_equal(session.slice_mask(8), mask)
    assert session.mask.sum() == mask.sum()
    assert session.rounds == ()


@pytest.mark.parametrize(
    "axis",
    [
        0,
        1,
        2,
    ],
)
def test_slice_mask_is_a_plane_of_the_mask_along_any_axis(axis: int) -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    np.testing.assert_array_equal(
        session.slice_mask(12 if axis < 2 else 8, axis), session.mask.take(12 if axis < 2 else 8, axis)
    )


@pytest.mark.parametrize("index", [-1, 99])
def test_slice_mask_of_a_slice_that_does_not_exist_is_an_error(index: int) -> None:
    with pytest.raises(PromptError):
        session_of().slice_mask(index)


def test_a_click_sees_the_slices_mask_so_far() -> None:
    session = session_of(FakeLimNet())
    session.click(INSIDE)
    session.click((2, 2, 8))  # in the dark: a spot
    assert session.mask[INSIDE] == session.mask[2, 2, 8] == 1


@pytest.mark.parametrize("index", [(24, 0, 0), (0, 24, 0), (0, 0, 16), (-1, 0, 0)])
def test_a_click_outside_the_volume_is_refused(index: Voxel) -> None:
    session = session_of()
    with pytest.raises(
        PromptError, match=r"click \(.*\) lies outside the volume of shape \(24, 24, 16\)"
    ) as error:
        session.click(index)
    assert "\n" not in str(error.value)
    assert session.pending == ()


@pytest.mark.parametrize("index", [(1.5, 2, 3), (1, 2), (1, 2, 3, 4), "abc", None, ("1", 2, 3)])
def test_a_click_that_is_no_voxel_is_refused(index: object) -> None:
    with pytest.raises(PromptError, match="expected three whole numbers"):
        session_of().click(index)  # type: ignore[arg-type]


def test_numpy_integers_are_voxels() -> None:
    session = session_of()
    session.click(tuple(np.array(INSIDE)))
    assert session.pending == (Click(INSIDE),)
    assert all(type(n) is int for n in session.pending[0].index)


def test_a_first_click_cannot_be_negative() -> None:
    session = session_of()
    with pytest.raises(PromptError, match="give a positive click inside the object first"):
        session.click(INSIDE, positive=False)
    session.click(INSIDE)
    session.undo()
    with pytest.raises(PromptError, match="negative"):
        session.click(INSIDE, positive=False)
    session.click(INSIDE)
    session.click((9, 9, 8), positive=False)


def test_clicks_along_two_axes_do_not_share_a_round() -> None:
    session = session_of()
    session.click(INSIDE)
    before = state(session)
    with pytest.raises(PromptError, match="prompts along axis 2 are pending"):
        session.click(INSIDE, axis=0)
    assert state(session) == before


@pytest.mark.parametrize("axis", [3, -1, "2", 1.5])
def test_an_axis_that_does_not_exist_is_refused(axis: object) -> None:
    with pytest.raises(PromptError, match="expected 0, 1 or 2"):
        session_of().click(INSIDE, axis=axis)  # type: ignore[arg-type]


def test_nothing_to_propagate_is_an_error() -> None:
    session = session_of()
    with pytest.raises(PromptError, match="call click"):
        session.propagate()
    session.click(INSIDE)
    session.propagate()
    with pytest.raises(PromptError, match="call click"):
        next(session.sweep())


def test_rounds_along_all_axes_add_up_and_obey_all_clicks() -> None:
    session = session_of(WilfulLimNet())
    rng = np.random.default_rng(0)
    for number, axis in enumerate((2, 0, 1, 0, 2)):
        index = tuple(int(rng.integers(n)) for n in session.volume.shape)
        session.click(index, number != 3, axis)  # type: ignore[arg-type]
        assert obeys(session)
        done = session.propagate()
        assert obeys(session)
        assert done.axis == session.axis == axis
        assert done.swept.shape == session.quality.shape == (session.volume.shape[axis],)
    np.testing.assert_array_equal(replayed(session, WilfulLimNet()).mask, session.mask)


def test_the_axis_is_that_of_the_widest_spacing_until_somebody_says_otherwise() -> None:
    session = session_of(volume=box_volume((4, 8, 8), (12, 16, 16), (16, 24, 24), (3, 1, 1)))
    assert session.axis == 0
    session.click((8, 12, 12), axis=1)
    assert session.axis == 1
    session.propagate()
    assert session.axis == 1
    session.undo()
    assert session.axis == 0


# Kinds of volumes


def coloured(volume: Volume) -> Volume:
    array = (volume.array / volume.array.max() * 255).astype(np.uint8)
    return volume.with_array(np.stack([array, array // 2, 10 + array // 3], -1))


@pytest.mark.parametrize(
    ("volume", "index"),
    [
        (box_volume(), INSIDE),
        (coloured(box_volume()), INSIDE),
        (box_volume((8, 8, 0), (16, 16, 1), (24, 24, 1)), (12, 12, 0)),
        (coloured(box_volume((8, 8, 0), (16, 16, 1), (24, 24, 1))), (12, 12, 0)),
        (box_volume((0, 8, 8), (1, 16, 16), (1, 24, 24)), (0, 12, 12)),
        (box_volume((12, 2, 4), (36, 6, 12), (48, 8, 16), (0.5, 3, 5)), (24, 4, 8)),
        (box_volume((2, 6, 8), (5, 18, 40), (7, 24, 64), (6, 2, 0.7)), (3, 12, 20)),
        (volume_of(box_volume().array > 0, (1, 1, 2)), INSIDE),
        (volume_of(box_volume().array.astype(np.float64) * 1e-6 - 5, (1, 1, 2)), INSIDE),
        (volume_of(np.asfortranarray(box_volume().array.astype(">u2")), (1, 1, 2)), INSIDE),
    ],
    ids=[
        *("grey", "RGB", "2D", "2D-RGB", "2D-first-axis", "anisotropic", "thick-first", "bool", "float64"),
        "big-endian",
    ],
)  # fmt: skip
def test_any_kind_of_volume_is_segmented_on_its_own_grid(volume: Volume, index: Voxel) -> None:
    session = session_of(FakeLimNet(size=64), volume)
    session.click(index)
    session.propagate()
    grey = volume.array if volume.array.ndim == 3 else volume.array[..., 0]
    truth = grey > (int(grey.max()) + int(grey.min())) / 2 if grey.dtype != bool else grey
    if grey.dtype.kind == "f":
        truth = grey > grey.mean()
    mask = session.mask
    assert (mask.shape, mask.dtype) == (volume.shape, np.uint8)
    np.testing.assert_array_equal(volume.with_array(mask).affine, volume.affine)
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.85
    assert mask[truth].mean() > 0.97


def test_a_plane_narrower_than_a_pixel_of_the_view_is_seen() -> None:
    """A 2D image cut across: its plane is a line, 300 x 1 voxels."""
    session = session_of(FakeLimNet(size=64), volume_of(np.random.default_rng(0).random((300, 300, 1))))
    session.click((150, 150, 0), axis=0)
    assert obeys(session)


def test_the_volume_is_never_written_to() -> None:
    volume = box_volume()
    before = volume.array.copy()
    volume.array.setflags(write=False)
    session = session_of(WilfulLimNet(), volume)
    session.click(INSIDE)
    session.propagate()
    np.testing.assert_array_equal(volume.array, before)


# Real graphs


@pytest.fixture(scope="module")
def networks() -> LimNet:
    pytest.importorskip("torch")
    return load_model(exported_folder(), threads=1)


def test_with_exported_networks_the_promises_hold_too(networks: LimNet) -> None:
    volume = volume_of(np.random.default_rng(0).random((20, 18, 6)).astype(np.float32), (1, 1, 2))
    session = Session(volume, networks)
    session.click((9, 9, 3))
    session.propagate()
    session.click((4, 4, 1), bool(session.mask[4, 4, 1] == 0))
    session.propagate()
    assert obeys(session)
    states = [state(session)]
    session.undo()
    states.append(state(session))
    session.redo()
    assert state(session) == states[0]
    np.testing.assert_array_equal(replayed(session, networks).mask, session.mask)
    session.undo()
    assert state(session) == states[1]


def test_colours_reach_the_exported_networks(networks: LimNet) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (20, 18, 3, 3), np.uint8)
    session = Session(volume_of(colours), networks)
    session.click((9, 9, 1))
    session.propagate()
    assert obeys(session)
    assert session.mask.shape == (20, 18, 3)


def test_boxes_cut_along_any_axis_are_found_alike() -> None:
    """Turning the volume turns the mask."""
    volume = box_volume((6, 7, 5), (14, 16, 12), (24, 24, 24), (1, 1, 1))
    masks = []
    for axis in range(3):
        turned = volume_of(np.moveaxis(volume.array, 2, axis), (1, 1, 1))
        session = session_of(FakeLimNet(), turned)
        index = [10, 11]
        index.insert(axis, 8)
        session.click((index[0], index[1], index[2]), axis=axis)
        session.propagate()
        masks.append(np.moveaxis(session.mask, axis, 2))
    for first, second in product(masks, masks):
        np.testing.assert_array_equal(first, second)


def test_fusion_finds_where_an_object_has_ended_in_the_first_round() -> None:
    class EndJudge(CopyLimNet):
        """Prefers the empty mask on slices more than two away from the prompt."""

        def judge(self, image, previous, current, nearness, reference):  # type: ignore[no-untyped-def]
            assert not previous.any() or np.array_equal(previous, current)
            carried = round(float(10 / nearness[1] - 10))
            return self.judgement._replace(preference=1.0 if carried > 2 else 0.0)

    session = session_of(EndJudge())
    session.click(at(8))
    session.propagate()
    assert filled(session) == [6, 7, 8, 9, 10]
    assert np.flatnonzero(session.rounds[0].swept).tolist() == [3, 4, 5, *range(6, 11), 11, 12, 13]


def test_the_reference_is_the_nearest_prompted_slice_with_the_object() -> None:
    class Recorder(ForgetfulLimNet):
        def judge(self, image, previous, current, nearness, reference):  # type: ignore[no-untyped-def]
            shown.append(bool(reference.mask.any()))
            return self.judgement

    session = session_of()
    session.click(at(8))
    session.propagate()
    shown: list[bool] = []
    session.model = Recorder()
    session.click((12, 12, 12), positive=False)
    session.propagate()
    assert shown and all(shown)
