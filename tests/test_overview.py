"""The overview: where it is sure of the whole object, a round follows it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import SIZE, CopyLimNet, box_volume, exported_folder, replayed
from limnet.model import LimNet, load_model
from limnet.session import Session
from limnet.volume import Volume

Array = NDArray[np.float32]

INSIDE = (12, 12, 8)  # of the box of box_volume(): voxels 8 .. 15, 8 .. 15, 4 .. 11


class Overseer(CopyLimNet):
    """Sweeps copy the mask to both ends; the overview is sure of all that is bright, and only of that."""

    has_overview = True

    def __init__(self, sure: float = 0.9, size: int = SIZE) -> None:
        super().__init__(size=size)
        self.sure = sure
        self.seen: list[Array] = []

    def overview(self, maps: Array) -> Array:
        self.seen.append(maps)
        probability: Array = np.where(maps[0] > 0.5, self.sure, 1 - self.sure).astype(np.float32)
        return probability


def session_of(model: LimNet | None = None, volume: Volume | None = None, overview: bool = True) -> Session:
    networks = model or Overseer(size=128)
    return Session(volume or box_volume(), networks, fusion=False, crossing=False, overview=overview)


def truth_of(volume: Volume) -> NDArray[np.uint8]:
    return (volume.array > 50).astype(np.uint8)


def test_what_it_is_sure_of_is_followed() -> None:
    alone, session = session_of(overview=False), session_of()
    for one in (alone, session):
        one.click(INSIDE)
        one.propagate()
    assert alone.mask[12, 12].all()  # copied to both ends of the volume
    np.testing.assert_array_equal(session.mask, truth_of(session.volume))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_so_it_is_from_a_slice_of_any_axis(axis: int) -> None:
    session = session_of()
    session.click(INSIDE, axis=axis)
    session.propagate()
    np.testing.assert_array_equal(session.mask, truth_of(session.volume))


def test_thick_slices_are_overseen_too() -> None:
    volume = box_volume((8, 8, 2), (16, 16, 6), (24, 24, 10), (1, 1, 9))
    session = session_of(volume=volume)
    session.click((12, 12, 3))
    session.propagate()
    np.testing.assert_array_equal(session.mask, truth_of(volume))


def test_what_it_is_unsure_of_stays() -> None:
    alone, session = session_of(overview=False), session_of(Overseer(sure=0.55, size=128))
    for one in (alone, session):
        one.click(INSIDE)
        one.propagate()
    np.testing.assert_array_equal(session.mask, alone.mask)


def test_prompted_slices_stay_and_clicks_are_law() -> None:
    class Emptier(Overseer):
        """Sure that there is nothing."""

        def overview(self, maps: Array) -> Array:
            return np.zeros_like(maps[0])

    session = session_of(Emptier(size=128))
    prompted = session.click(INSIDE)
    session.propagate()
    np.testing.assert_array_equal(session.slice_mask(8), prompted)
    assert np.flatnonzero(session.mask.any((0, 1))).tolist() == [8]
    session.click((12, 12, 3))
    session.propagate()
    assert session.mask[12, 12, 3] and session.mask[12, 12, 8]


class Fickle(Overseer):
    """Sure of nothing in the first round, and in every later one that the whole cube is object, or none."""

    def __init__(self, later: float) -> None:
        super().__init__(sure=0.5, size=128)
        self.later = later

    def overview(self, maps: Array) -> Array:
        first = super().overview(maps)
        return first if len(self.seen) == 1 else np.full_like(first, self.later)


@pytest.mark.parametrize("later", [0.0, 1.0])
@pytest.mark.parametrize("positive", [True, False])
def test_after_a_prompt_of_one_sign_it_goes_no_other_way(positive: bool, later: float) -> None:
    session = Session(box_volume(), Fickle(later), crossing=False)
    session.click(INSIDE)
    session.propagate()
    before = session.mask
    session.click((12, 12, 6), positive)
    session.propagate()
    gained, lost = (session.mask & ~before) > 0, (before & ~session.mask) > 0
    if positive:
        assert not lost.any() and gained.any() == (later == 1)
    else:
        assert not gained.any() and lost.any()


def test_a_later_round_is_followed_only_where_it_is_surer() -> None:
    session = session_of(Fickle(0.8))
    session.click(INSIDE)
    session.propagate()
    before = session.mask
    session.click((12, 12, 6))
    session.propagate()
    np.testing.assert_array_equal(session.mask, before)


def test_it_is_told_of_the_object_the_prompted_slices_and_the_clicks() -> None:
    model = Overseer(size=128)
    session = session_of(model)
    session.click(INSIDE)
    session.propagate()
    session.click((12, 12, 6))
    session.propagate()
    image, mask, held, free, positive, negative = model.seen[-1][:6]
    assert (mask[image > 0.9] > 0.5).all()
    assert held.any() and not (held * free).any()
    assert (held * (image < 0.3)).sum() == 0  # of the object's own slices only what is bright
    assert positive.any() and not negative.any()
    session.click((12, 12, 1), positive=False)
    session.propagate()
    assert model.seen[-1][5].any()  # the negative click


def test_quality_is_tempered_by_the_dice_that_it_expects() -> None:
    """The same masks, less and less sure: only the prompted slice, which somebody has seen, stays."""
    sessions = [session_of(Overseer(sure, size=128)) for sure in (1.0, 0.9, 0.7)]
    for session in sessions:
        session.click(INSIDE)
        session.propagate()
    sure, less, least = (session.quality for session in sessions)
    held = [index for index in range(4, 12) if index != INSIDE[2]]
    assert (sure[held] > less[held]).all() and (less[held] > least[held]).all()
    assert sure[INSIDE[2]] == least[INSIDE[2]]
    np.testing.assert_array_equal(sessions[0].mask, sessions[-1].mask)


def test_slices_come_as_they_end() -> None:
    session = session_of()
    session.click(INSIDE)
    last = {shown.index: shown.mask for shown in session.sweep()}
    assert set(last) >= set(range(4, 12))
    for index, mask in last.items():
        np.testing.assert_array_equal(mask, session.slice_mask(index))


def test_a_round_can_be_undone_and_a_session_replayed() -> None:
    session = session_of()
    session.click(INSIDE)
    session.propagate()
    done = session.mask
    session.undo()
    assert not session.mask.any()
    session.redo()
    np.testing.assert_array_equal(session.mask, done)
    np.testing.assert_array_equal(replayed(session, session.model).mask, done)


def test_weights_without_it_do_without() -> None:
    model = load_model(exported_folder())
    assert not model.has_overview
    session = Session(box_volume(), model)
    session.click(INSIDE)
    session.propagate()
    assert session.rounds
