"""The view against its definition, pixel by pixel, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from limnet.view import BORDER, ROOM, Plane, View, min_side_mm, view_around, whole_view

SQUARE = Plane((10, 10), (1.0, 1.0))
views = st.builds(
    lambda shape, spacing, where, share, size: View(
        Plane(shape, spacing),
        (where[0] * (shape[0] - 1), where[1] * (shape[1] - 1)),
        share * Plane(shape, spacing).longer_mm,
        size,
    ),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    spacing=st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.sampled_from([0.5, 1.0])),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    share=st.floats(0.2, 1.25),
    size=st.sampled_from([8, 16]),
)


def look_weights(length: int, centre: float, step: float, size: int) -> NDArray[np.float64]:
    """Voxels -> view pixels along one direction, (size, length), as the docstrings say it."""
    weights = np.zeros((size, length))
    for pixel in range(size):
        position = centre + (pixel - (size - 1) / 2) * step
        if position + step / 2 <= -0.5 or position - step / 2 >= length - 0.5:
            continue  # the pixel does not overlap the plane
        weights[pixel] = [max(0.0, 1 - abs(position - v) / max(1.0, step)) for v in range(length)]
        if weights[pixel].sum() < 1e-6:
            weights[pixel, 0 if position < 0 else -1] = 1  # half a voxel beyond the outermost centre
        weights[pixel] /= weights[pixel].sum()
    return weights


def paste_weights(length: int, centre: float, step: float, size: int) -> NDArray[np.float64]:
    """View pixels -> voxels along one direction, (length, size)."""
    weights = np.zeros((length, size))
    for voxel in range(length):
        if abs(voxel - centre) > size / 2 * step:
            continue
        position = (voxel - centre) / step + (size - 1) / 2
        weights[voxel] = [max(0.0, 1 - abs(position - p) / max(1.0, 1 / step)) for p in range(size)]
        weights[voxel] /= weights[voxel].sum()
    return weights


def by_definition(view: View, weights) -> list[NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    step_mm = view.side_mm / view.size
    steps = zip(view.plane.shape, view.centre, view.plane.spacing_mm, strict=True)
    return [weights(length, centre, step_mm / spacing, view.size) for length, centre, spacing in steps]


@given(views)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_look_equals_its_definition(view: View) -> None:
    image = np.random.default_rng(0).random(view.plane.shape)
    rows, columns = by_definition(view, look_weights)
    np.testing.assert_allclose(view.look(image)[0], rows @ image @ columns.T, atol=1e-4)


@given(views)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_paste_equals_its_definition(view: View) -> None:
    probability = np.random.default_rng(0).random((view.size, view.size)).astype(np.float32)
    rows, columns = by_definition(view, paste_weights)
    np.testing.assert_allclose(view.paste(probability), rows @ probability @ columns.T, atol=1e-4)


@given(views)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_an_even_slice_stays_even_inside_and_is_zero_outside(view: View) -> None:
    np.testing.assert_allclose(view.look(np.ones(view.plane.shape))[0], view.inside, atol=1e-5)


def test_look_and_pixel_agree_on_where_a_voxel_lies() -> None:
    view = View(SQUARE, (4.5, 4.5), 10.0, 80)  # voxel r lies between pixels 8 r + 3 and 8 r + 4
    rows, columns = (view.look(places)[0] for places in np.indices((10, 10)))
    for voxel in range(1, 9):
        assert view.pixel(voxel, voxel) == (8 * voxel + 3.5, 8 * voxel + 3.5)
        np.testing.assert_allclose(rows[8 * voxel + 3 : 8 * voxel + 5].mean(0), voxel, atol=1e-5)
        np.testing.assert_allclose(columns[:, 8 * voxel + 3 : 8 * voxel + 5].mean(1), voxel, atol=1e-5)


def test_a_finer_view_gives_a_mask_back_unchanged() -> None:
    mask = np.kron(np.random.default_rng(1).random((5, 5)) < 0.5, np.ones((2, 2))) > 0  # no lone voxels
    view = View(SQUARE, (4.5, 4.5), 10.0, 80)  # eight pixels per voxel
    np.testing.assert_array_equal(view.paste(view.look(mask)[0]) > 0.5, mask)


def test_colours_are_looked_at_one_by_one() -> None:
    image = np.random.default_rng(0).integers(0, 255, (10, 10, 3), np.uint8)
    view = whole_view(SQUARE, 16)
    seen = view.look(image)
    assert seen.shape == (3, 16, 16)
    np.testing.assert_array_equal(seen[1], view.look(image[..., 1])[0])


def test_a_whole_view_at_one_pixel_per_voxel_is_the_slice_with_room_around() -> None:
    plane = Plane((8, 8), (2.0, 2.0))
    image = np.arange(64.0).reshape(8, 8) + 1
    view = whole_view(plane, 10)  # 1.25 x 8 voxels in 10 pixels
    np.testing.assert_allclose(view.look(image)[0], np.pad(image, 1), atol=1e-5)
    assert view.is_whole
    assert view.grown(2) == view


def test_pixels_are_square_in_millimetres() -> None:
    view = View(Plane((10, 40), (4.0, 1.0)), (4.5, 19.5), 40.0, 40)
    assert view.pixel(4, 19) == (19.5 - 2, 19.5 - 0.5)
    assert view.pixel(5, 19)[0] - view.pixel(4, 19)[0] == 4
    assert view.pixel(4, 20)[1] - view.pixel(4, 19)[1] == 1


def test_the_nearest_pixel_stays_in_the_view() -> None:
    view = View(SQUARE, (4.0, 4.0), 4.0, 8)
    assert view.nearest_pixel(4, 4) in {(3, 3), (4, 4)}
    assert view.nearest_pixel(9, 0) == (7, 0)


def test_a_view_holds_what_is_clear_of_its_border() -> None:
    view = View(Plane((100, 100), (1.0, 1.0)), (50.0, 50.0), 40.0, 40)  # pixel = voxel - 30.5
    margin = math.ceil(BORDER * 40 + 30.5)  # 1.2 pixels
    assert view.holds(margin, 50)
    assert not view.holds(margin - 1, 50)
    assert not view.holds(50, 90)


@pytest.mark.parametrize(
    ("centre", "side", "edge", "touched"),
    [
        ((5.0, 4.5), 6.0, np.s_[0], True),  # rows 2 .. 8 of 10: the plane goes on above
        ((5.0, 4.5), 6.0, np.s_[-1], True),
        ((5.0, 4.5), 6.0, np.s_[8:24], False),  # the middle
        ((1.0, 4.5), 6.0, np.s_[0], False),  # hangs over the plane's first row
        ((1.0, 4.5), 6.0, np.s_[-1], True),
        ((8.0, 4.5), 6.0, np.s_[-1], False),
        ((4.5, 4.5), 10.0, np.s_[0], False),  # exactly the plane
        ((4.5, 4.5), 10.0, np.s_[-1], False),
    ],
)
def test_a_mask_touches_where_the_plane_goes_on_beyond(
    centre: tuple[float, float], side: float, edge: slice, touched: bool
) -> None:
    for turned in (False, True):
        mask = np.zeros((32, 32), bool)
        mask[edge, 8:24] = True
        view = View(SQUARE, centre[::-1] if turned else centre, side, 32)
        assert view.is_touched(mask.T if turned else mask) == touched


def test_growing_keeps_the_centre_until_the_whole_plane_is_seen() -> None:
    view = View(SQUARE, (2.0, 3.0), 5.0, 16)
    assert view.grown(1.5) == View(SQUARE, (2.0, 3.0), 7.5, 16)
    assert view.grown(3) == whole_view(SQUARE, 16)
    assert view.grown(3).is_whole
    assert not view.grown(1.5).is_whole


def test_a_view_around_a_box_has_its_centre_and_a_margin() -> None:
    plane = Plane((100, 100), (1.0, 2.0))
    view = view_around(plane, (10, 20), (29, 29), 2.0, 64)  # 20 x 10 voxels, 20 x 20 mm
    assert (view.centre, view.side_mm) == ((19.5, 24.5), 40.0)


def test_a_view_is_never_smaller_than_a_dozen_voxels_nor_larger_than_the_plane_with_room() -> None:
    plane = Plane((100, 50), (1.0, 0.5))
    assert view_around(plane, (5, 5), (5, 5), 2.0, 64).side_mm == min_side_mm(plane) == 6.0
    assert view_around(plane, (0, 0), (99, 49), 9.0, 64).side_mm == ROOM * 100
    assert min_side_mm(Plane((4, 3), (1.0, 1.0))) == 4.0
