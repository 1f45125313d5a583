"""Zoom: the first click finds its object at the right scale."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import SIZE, FakeLimNet, box_volume
from limnet.evaluation.metrics import dice
from limnet.interaction import REFIT, PlaneClick
from limnet.lens import plane_of, slice_of
from limnet.session import Session
from limnet.view import min_side_mm, whole_view
from limnet.volume import Volume
from limnet.zoom import choose_view

Array = NDArray[np.float32]


def square(side: int, at: tuple[int, int]) -> Volume:
    """A bright square of `side` voxels whose first voxel is `at`, on 120 x 120."""
    (i, j) = at
    return box_volume((i, j, 0), (i + side, j + side, 3), (120, 120, 3))


@pytest.mark.parametrize(("side", "at"), [(60, (20, 10)), (30, (40, 50)), (10, (60, 30)), (10, (0, 110))])
def test_the_view_fits_the_object_that_was_clicked(side: int, at: tuple[int, int]) -> None:
    click = PlaneClick(at[0] + side // 3, at[1] + side // 2, True)
    view, _ = choose_view(FakeLimNet(size=64), square(side, at), 2, 1, click)
    offset = np.subtract(view.centre, np.add(at, (side - 1) / 2))
    assert np.abs(offset).max() <= 3  # as found in a coarse view
    assert REFIT * side * 0.9 <= view.side_mm <= max(REFIT * side * 1.3, min_side_mm(view.plane))


def test_an_object_too_large_for_a_view_of_its_own_is_seen_in_the_whole_plane() -> None:
    volume = square(80, (20, 10))
    view, _ = choose_view(FakeLimNet(size=64), volume, 2, 1, PlaneClick(50, 50, True))
    assert view == whole_view(plane_of(volume, 2), 64)


def test_a_click_on_nothing_sees_the_whole_plane() -> None:
    volume = square(30, (40, 50))
    view, _ = choose_view(FakeLimNet(), volume, 2, 1, PlaneClick(5, 5, True))
    assert view == whole_view(plane_of(volume, 2), SIZE)


def test_a_mask_that_scales_with_the_view_finds_no_agreement() -> None:
    """A network that answers every view with a blob is not believed before one that knows the object."""

    class Blob(FakeLimNet):
        def interaction(
            self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
        ) -> Array:
            share = (image[0] > 0.5).mean()
            if 0.02 < share < 0.6:  # the object is in sight
                return super().interaction(image, previous, clicks, hints, reference)
            blob = np.zeros((SIZE, SIZE), np.float32)
            blob[12:20, 12:20] = 1
            return blob

    view, _ = choose_view(Blob(), square(30, (40, 50)), 2, 1, PlaneClick(50, 60, True))
    assert REFIT * 30 * 0.9 <= view.side_mm <= REFIT * 30 * 1.3


def test_a_first_clicks_mask_is_seen_at_the_zoom_that_was_believed() -> None:
    """Not anew in the view around it, where this network sees nothing."""

    class Farsighted(FakeLimNet):
        def interaction(
            self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
        ) -> Array:
            found = super().interaction(image, previous, clicks, hints, reference)
            return found if (image[0] > 0.5).mean() < 0.2 else np.zeros_like(found)

    volume = square(30, (40, 50))
    session = Session(volume, Farsighted(size=128))
    mask = session.click((50, 60, 1))
    assert dice(slice_of(volume.array > 50, 2, 1), mask) > 0.95
    assert session.history.pending[0].lens.view.side_mm < 2.4 * 30  # where the object fills a fifth or more


def test_the_view_is_square_on_anisotropic_planes() -> None:
    volume = box_volume((40, 20, 0), (80, 30, 3), (120, 40, 3), (1, 4, 5))  # 40 x 40 mm
    view, _ = choose_view(FakeLimNet(), volume, 2, 1, PlaneClick(60, 25, True))
    assert view.side_mm == pytest.approx(REFIT * 40, rel=0.3)
    assert view.holds(40, 20)
    assert view.holds(79, 29)
