"""Prompts beyond clicks: boxes, scribbles, lassos, painted slices, masks to start from; going to and fro."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from doubles import CopyLimNet, FakeLimNet, WilfulLimNet, box_volume, volume_of
from limnet.errors import GeometryError, LimNetError, PromptError
from limnet.history import Deed, Undone
from limnet.journal import recompute
from limnet.journal.recompute import give
from limnet.law import Law
from limnet.model import LimNet
from limnet.prompt import Box, Click, Lasso, Painted, Scribble, Voxel
from limnet.session import Session
from limnet.volume import Volume

K = 8
Array = NDArray[np.float32]

OBJECT = np.zeros((24, 24), bool)  # on slice K of box_volume()
OBJECT[8:16, 8:16] = True


class BrightLimNet(FakeLimNet):
    """A click takes the bright region under it, and nothing else counts."""

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        return super().interaction(image, np.zeros_like(previous), clicks, hints, reference)


def session_of(model: LimNet | None = None, volume: Volume | None = None) -> Session:
    return Session(volume or box_volume(), model or BrightLimNet(), crossing=False)


def two_pieces() -> Volume:
    """Two bright squares of 5 x 5 on slices 2 .. 5."""
    array = np.zeros((24, 24, 8), np.int16)
    array[3:8, 3:8, 2:6] = array[14:19, 14:19, 2:6] = 100
    return volume_of(array, (1, 1, 3))


def test_a_box_finds_the_object_inside() -> None:
    assert np.array_equal(session_of().box((6, 6, K), (17, 17, K)), OBJECT)


def test_a_box_may_be_drawn_from_any_corner() -> None:
    session = session_of()
    session.box((17, 6, K), (6, 17, K))
    assert session.pending == (Box((6, 6, K), (17, 17, K)),)


def test_a_box_cuts_what_lies_outside_of_it() -> None:
    mask = session_of().box((8, 8, K), (11, 15, K))
    assert np.argwhere(mask)[:, 0].max() == 11


def test_what_a_negative_box_held_is_gone() -> None:
    session = session_of()
    session.click((12, 12, K))
    mask = session.box((8, 8, K), (11, 15, K), positive=False)
    assert np.array_equal(mask, OBJECT & (np.arange(24) > 11)[:, None])


def test_a_box_on_the_second_piece_keeps_the_first() -> None:
    session = session_of(volume=two_pieces())
    session.box((0, 0, 3), (10, 10, 3))
    mask = session.box((11, 11, 3), (21, 21, 3))
    assert np.array_equal(mask, two_pieces().array[:, :, 3] > 0)


def test_a_scribble_takes_every_piece_it_crosses() -> None:
    session = session_of(volume=two_pieces())
    mask = session.scribble([(5, 5, 3), (16, 16, 3)])
    assert (mask & (two_pieces().array[:, :, 3] > 0)).sum() == 50
    assert mask[np.arange(5, 17), np.arange(5, 17)].all()


def test_a_negative_scribble_takes_its_line_away() -> None:
    session = session_of()
    session.click((12, 12, K))
    mask = session.scribble([(8, 12, K), (15, 12, K)], positive=False)
    assert not mask[8:16, 12].any()


def test_a_lasso_finds_the_object_inside() -> None:
    corners = [(6, 6, K), (6, 17, K), (17, 17, K), (17, 6, K)]
    assert np.array_equal(session_of().lasso(corners), OBJECT)


def test_nothing_is_left_inside_a_negative_lasso() -> None:
    session = session_of()
    session.click((12, 12, K))
    mask = session.lasso([(8, 8, K), (8, 15, K), (15, 8, K)], positive=False)
    assert mask.sum() == 64 - 36  # the triangle with its sides holds 8 + 7 + ... + 1 voxels


def test_a_painted_slice_is_carried_exactly() -> None:
    painted = np.zeros((24, 24), bool)
    painted[3:6, 10:12] = True
    session = session_of(CopyLimNet())
    assert np.array_equal(session.paint(painted, 5), painted)
    session.propagate()
    assert np.array_equal(session.slice_mask(5), painted)
    assert np.array_equal(session.slice_mask(6), painted)


def test_an_empty_painted_slice_is_where_the_object_ends() -> None:
    model = BrightLimNet()
    session = session_of(model)
    session.click((12, 12, K))
    session.propagate()
    model.judgement = model.judgement._replace(preference=0.99)  # from now on what was there is better
    session.paint(np.zeros((24, 24)), 10)
    session.propagate()
    assert not session.slice_mask(10).any()
    assert session.slice_mask(9).any()


def test_a_click_corrects_a_painted_slice() -> None:
    session = session_of()
    session.paint(np.zeros((24, 24)), K)
    assert np.array_equal(session.click((12, 12, K)), OBJECT)


@pytest.mark.parametrize(
    ("low", "high", "axis"),
    [((6, 6, 8), (17, 17, 8), 2), ((12, 6, 3), (12, 17, 12), 0), ((6, 12, 3), (17, 12, 12), 1)],
)
def test_the_axis_of_a_box_is_the_one_it_is_flat_along(low: Voxel, high: Voxel, axis: int) -> None:
    session = session_of()
    session.box(low, high)
    assert session.axis == axis


def test_a_prompt_flat_along_several_axes_is_of_the_sessions_axis() -> None:
    session = session_of()
    session.scribble([(12, 9, K), (12, 14, K)])
    assert session.axis == 2


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (lambda s: s.box((6, 6, 8), (17, 17, 9)), "box does not lie in one slice along axis 2"),
        (lambda s: s.box((6, 6, 8), (17, 17, 8), axis=0), "box does not lie in one slice along axis 0"),
        (lambda s: s.box((6, 6, 8), (24, 17, 8)), r"box corner \(24, 17, 8\) lies outside"),
        (
            lambda s: s.box((6, 6, 8), (17, 17, 8), positive=False),
            r"box \(6, 6, 8\) is negative, but nothing",
        ),
        (lambda s: s.scribble([]), "scribble of 0 points: expected at least 1"),
        (lambda s: s.scribble([(6, 6, 8), (7, 7, 9)]), "scribble does not lie in one slice"),
        (lambda s: s.scribble([(6, 6, 8), (7, 7.5, 8)]), "expected three whole numbers"),
        (lambda s: s.lasso([(6, 6, 8), (7, 7, 8)]), "lasso of 2 points: expected at least 3"),
        (
            lambda s: s.paint(np.zeros((24, 16)), 8),
            r"painted mask of shape \(24, 16\), the slice's is \(24, 24\)",
        ),
        (lambda s: s.paint(np.zeros((24, 24)), 16), "no slice 16 along axis 2"),
        (lambda s: s.go_to_round(1), r"round 1 does not exist: expected 0 \(none\) to 0"),
    ],
)
def test_what_cannot_be_used_is_refused_and_changes_nothing(ask: Any, expected: str) -> None:
    session = session_of()
    with pytest.raises(PromptError, match=expected):
        ask(session)
    assert session.pending == ()
    assert not session.can_undo


# A mask to start from


def test_a_mask_to_start_from_is_a_round() -> None:
    session = session_of()
    done = session.start_from(box_volume().array)
    assert np.array_equal(session.mask, box_volume().array > 0)
    assert session.rounds == (done,)
    assert done.prompts == ()
    assert done.provenance.tolist() == [0 if 4 <= k < 12 else -1 for k in range(16)]


def test_undo_takes_back_the_mask_to_start_from() -> None:
    session = session_of()
    session.click((12, 12, K))
    session.propagate()
    before = session.mask
    session.start_from(np.ones((24, 24, 16)))
    session.undo()
    assert np.array_equal(session.mask, before)
    session.redo()
    assert session.mask.all()


def test_a_click_corrects_a_mask_to_start_from() -> None:
    wrong = box_volume().array > 0
    wrong[:, :, 7:] = False
    session = session_of()
    session.start_from(wrong)
    session.click((12, 12, K))
    session.propagate()
    assert np.array_equal(session.mask, box_volume().array > 0)


def test_an_empty_mask_clears_everything() -> None:
    session = session_of()
    session.start_from(np.ones((24, 24, 16)))
    session.start_from(np.zeros((24, 24, 16)))
    assert not session.mask.any()


def test_a_mask_of_another_shape_is_no_start() -> None:
    with pytest.raises(GeometryError, match=r"mask of shape \(3, 3, 3\), the volume's is"):
        session_of().start_from(np.ones((3, 3, 3)))


def test_a_mask_does_not_come_over_pending_prompts() -> None:
    session = session_of()
    session.click((12, 12, K))
    with pytest.raises(PromptError, match="prompts are pending"):
        session.start_from(np.ones((24, 24, 16)))


# To and fro


def three_rounds() -> Session:
    session = session_of()
    for k in (6, 8, 10):
        session.scribble([(10, 10, k), (13, 13, k)])
        session.propagate()
    return session


def test_going_to_a_round_is_exact_and_goes_both_ways() -> None:
    session = three_rounds()
    rounds, masks = session.rounds, []
    for number in (3, 1, 0, 2, 3):
        session.go_to_round(number)
        masks.append(session.mask)
        assert session.rounds == rounds[:number]
    assert np.array_equal(masks[0], masks[-1])
    assert not masks[2].any()


def test_going_to_a_round_drops_what_is_pending_until_redo() -> None:
    session = three_rounds()
    session.click((12, 12, 7))
    session.go_to_round(3)
    assert session.pending == ()
    session.redo()
    assert session.pending == (Click((12, 12, 7)),)


def test_undone_rounds_are_known_in_the_order_they_come_back() -> None:
    session = three_rounds()
    rounds = session.rounds
    session.go_to_round(1)
    assert session.undone_rounds == rounds[1:]
    assert session.can_redo
    session.click((12, 12, 7))
    assert session.undone_rounds == ()
    assert not session.can_redo


# Whoever must know first


class Forgetful:
    """Records nothing, and says so when asked to record an undo."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []

    def ready(self) -> None:
        pass

    def record(self, deed: Deed) -> None:
        if isinstance(deed, Undone):
            raise LimNetError("the disk is full")
        self.deeds.append(deed)


def test_every_change_is_recorded_before_it_is_made() -> None:
    recorder = Forgetful()
    session = Session(box_volume(), FakeLimNet(), recorder=recorder)
    session.click((12, 12, K))
    done = session.propagate()
    assert [type(deed).__name__ for deed in recorder.deeds] == ["Prompted", "Round"]
    assert recorder.deeds[-1] is done


def test_a_change_that_cannot_be_recorded_is_not_made() -> None:
    session = Session(box_volume(), FakeLimNet(), recorder=Forgetful())
    session.click((12, 12, K))
    session.propagate()
    before = session.mask
    with pytest.raises(LimNetError, match="the disk is full"):
        session.undo()
    assert np.array_equal(session.mask, before)
    assert len(session.rounds) == 1


# Promises over all kinds

SHAPE = (14, 12, 9)
places = st.tuples(*(st.integers(0, n - 1) for n in SHAPE))
signs = st.booleans()
axes = st.integers(0, 2)


def on_slice(points: list[Voxel], axis: int) -> tuple[Voxel, ...]:
    """The points moved onto the slice of the first."""
    moved = [tuple(points[0][a] if a == axis else n for a, n in enumerate(point)) for point in points]
    return tuple(moved)  # type: ignore[arg-type]


@st.composite
def prompts(draw: st.DrawFn) -> tuple[Any, int]:
    axis, kind = draw(axes), draw(st.sampled_from(["click", "box", "scribble", "lasso", "paint"]))
    points = on_slice(draw(st.lists(places, min_size=3, max_size=5)), axis)
    positive = draw(signs)
    if kind == "click":
        return Click(points[0], positive), axis
    if kind == "box":
        low, high = np.sort(points[:2], axis=0).tolist()
        return Box(tuple(low), tuple(high), positive), axis
    if kind == "paint":
        shape = [n for a, n in enumerate(SHAPE) if a != axis]
        mask = np.random.default_rng(draw(st.integers(0, 99))).random(shape) > 0.6
        return Painted.of(mask, axis, points[0][axis]), axis
    return (Scribble if kind == "scribble" else Lasso)(points, positive), axis


moves = st.one_of(
    st.tuples(st.just("give"), prompts()),
    st.tuples(st.sampled_from(["propagate", "undo", "redo", "abandon"]), st.none()),
    st.tuples(st.just("go"), st.integers(0, 3)),
    st.tuples(st.just("start"), st.integers(0, 9)),
)


def play(session: Session, move: tuple[str, Any]) -> None:
    what, value = move
    try:
        if what == "give":
            give(session, *value)
        elif what == "go":
            session.go_to_round(value)
        elif what == "start":
            session.start_from(np.random.default_rng(value).random(SHAPE) > 0.8)
        elif what == "abandon":
            next(session.sweep())
        else:
            getattr(session, what)()
    except PromptError:
        pass  # negative at first, another axis is pending, nothing to propagate: the user is told


def is_lawful(session: Session) -> bool:
    """Whether the mask is what the law makes of it, on every slice of the axis last swept."""
    law, axis = Law(session.history.placed(), SHAPE), session.axis
    lens = session.rounds[-1].lens
    slices = {index: session.slice_mask(index) for index in np.flatnonzero(session.rounds[-1].swept)}
    return all(np.array_equal(law.enforce(m, axis, i, lens.view), m) for i, m in slices.items())


@settings(max_examples=40, deadline=None)
@given(program=st.lists(moves, min_size=1, max_size=10))
def test_whatever_a_user_draws_the_promises_hold(program: list[tuple[str, Any]]) -> None:
    noise = volume_of(np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16), (1, 1, 2))
    session = Session(noise, WilfulLimNet())
    for move in program:
        before = session.rounds
        play(session, move)
        if len(session.rounds) > len(before) and session.rounds[-1].prompts:
            assert is_lawful(session)
    assert np.array_equal(recompute(session).mask, session.mask)
    mask, prompts_given = session.mask, session.prompts
    steps = 0
    while session.can_undo:
        session.undo()
        steps += 1
    assert not session.mask.any()
    for _ in range(steps):
        session.redo()
    assert np.array_equal(session.mask, mask)
    assert session.prompts == prompts_given


def test_the_extent_holds_the_mask_and_no_more() -> None:
    session = session_of()
    assert session.history.extent() is None
    session.click((12, 12, K))
    assert session.history.extent() == ((8, 8, 8), (16, 16, 9))
    session.propagate()
    assert session.history.extent() == ((8, 8, 4), (16, 16, 12))


def test_a_part_of_the_mask_is_that_part() -> None:
    noise: NDArray[np.bool_] = np.random.default_rng(0).random((24, 24, 16)) > 0.5
    session = session_of()
    session.start_from(noise)
    session.paint(noise[:, :, 3] ^ True, 3)
    assert np.array_equal(session.history.part((3, 4, 2), (9, 20, 5)), session.mask[3:9, 4:20, 2:5])
