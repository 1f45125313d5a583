"""Stage 1: what the network is given, and that clicks are law."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from doubles import SIZE, FakeLimNet
from limnet.interaction import (
    NUM_ZOOMS,
    ZOOM_STEP,
    PlaneClick,
    bounds,
    obey,
    prompt_probability,
    refit,
    zoom_levels,
)
from limnet.view import Plane, View, min_side_mm, whole_view

Array = NDArray[np.float32]
PLANE = Plane((40, 40), (1.0, 1.0))
VIEW = View(PLANE, (19.5, 19.5), 32.0, SIZE)  # one pixel per voxel: pixel = voxel - 4
GREY = np.repeat(np.random.default_rng(0).random((1, SIZE, SIZE)), 3, 0).astype(np.float32)
NOTHING = np.zeros((SIZE, SIZE), np.float32)


class Recorder(FakeLimNet):
    """Says yes everywhere and keeps what it was asked."""

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        self.asked = (image, previous, clicks, hints)
        return np.ones((SIZE, SIZE), np.float32)


def test_clicks_are_drawn_where_they_lie_in_the_view() -> None:
    model = Recorder()
    prompt_probability(model, VIEW, GREY, [PlaneClick(14, 9, True), PlaneClick(30, 31, False)], NOTHING)
    _, _, maps, hints = model.asked
    assert np.argwhere(maps[0]).tolist() == [[10, 5]]
    assert np.argwhere(maps[1]).tolist() == [[26, 27]]
    assert hints[1, 10, 5] > 0.99  # geodesically near the positive, ...
    assert hints[2, 26, 27] > 0.99  # ... and the negative click


def test_clicks_outside_the_view_are_ignored() -> None:
    model = Recorder()
    prompt_probability(model, VIEW, GREY, [PlaneClick(1, 20, True), PlaneClick(20, 38, False)], NOTHING)
    assert not model.asked[2].any()
    assert not model.asked[3][1:].any()


def test_nothing_is_found_outside_the_plane() -> None:
    view = View(PLANE, (0.0, 0.0), 32.0, SIZE)
    found = prompt_probability(Recorder(), view, GREY, [PlaneClick(3, 3, True)], NOTHING)
    np.testing.assert_array_equal(found, view.inside)
    assert 0 < found.sum() < found.size


def test_zoom_levels_step_from_close_to_the_whole_plane() -> None:
    plane = Plane((256, 200), (1.0, 1.0))
    levels = zoom_levels(plane, PlaneClick(100, 50, True), SIZE)
    assert levels[-1] == whole_view(plane, SIZE)
    assert len(levels) == NUM_ZOOMS
    assert all(view.centre == (100, 50) for view in levels[:-1])
    sides = [view.side_mm for view in levels[:-1]]
    np.testing.assert_allclose(np.divide(sides[1:], sides[:-1]), ZOOM_STEP)


def test_a_small_plane_has_fewer_zoom_levels() -> None:
    plane = Plane((20, 20), (1.0, 1.0))
    levels = zoom_levels(plane, PlaneClick(5, 5, True), SIZE)
    assert 1 <= len(levels) < NUM_ZOOMS
    assert all(view.side_mm >= min_side_mm(plane) for view in levels)


def test_bounds_are_inclusive() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3] = mask[4, 3:8] = True
    assert bounds(mask) == ((2, 3), (4, 7))


def test_refit_sees_the_mask_twice_as_wide_and_the_click() -> None:
    probability = np.zeros((SIZE, SIZE), np.float32)
    probability[10:26, 12:20] = 1  # voxels 14 .. 29, 16 .. 23
    view = refit(VIEW, probability, PlaneClick(20, 20, True))
    assert (view.centre, view.side_mm) == ((21.5, 19.5), 32.0)
    assert refit(VIEW, probability, PlaneClick(6, 20, True)).centre == (17.5, 19.5)


def test_a_click_that_was_not_followed_sets_the_voxels_within_a_pixel() -> None:
    coarse = View(PLANE, (19.5, 19.5), 32.0, 16)  # two voxels per pixel
    out = obey(np.zeros((40, 40), bool), [PlaneClick(10, 20, True)], coarse)
    rows, columns = np.indices((40, 40))
    np.testing.assert_array_equal(out, (rows - 10) ** 2 + (columns - 20) ** 2 <= 4)


def test_a_click_that_was_followed_changes_nothing() -> None:
    mask = np.random.default_rng(0).random((40, 40)) < 0.5
    clicks = [PlaneClick(r, c, bool(mask[r, c])) for r, c in ((3, 4), (30, 5), (39, 39))]
    np.testing.assert_array_equal(obey(mask, clicks, VIEW), mask)


def test_of_two_clicks_on_one_voxel_the_later_counts() -> None:
    for positive in (True, False):
        clicks = [PlaneClick(7, 7, not positive), PlaneClick(7, 7, positive)]
        for mask in (np.zeros((40, 40), bool), np.ones((40, 40), bool)):
            assert obey(mask, clicks, VIEW)[7, 7] == positive


@given(
    st.lists(st.builds(PlaneClick, st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=12),
    st.booleans(),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_click_is_obeyed_however_close_they_lie(clicks: list[PlaneClick], full: bool) -> None:
    mask = np.full((40, 40), full)
    out = obey(mask, clicks, VIEW)
    last = {(click.row, click.column): click.positive for click in clicks}
    assert all(out[place] == positive for place, positive in last.items())
    np.testing.assert_array_equal(mask, full)  # the input is left alone
