"""Contours: never more than half a pixel from their mask, and back to the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from limnet.volume.dicom.contour import contours_of, filled


def drawn(text: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


def test_a_single_pixel_is_a_diamond_around_its_centre() -> None:
    (polygon,) = contours_of(drawn("... .#. ..."))
    assert sorted(map(tuple, polygon)) == [(0.5, 1.0), (1.0, 0.5), (1.0, 1.5), (1.5, 1.0)]


def test_pixels_that_touch_at_a_corner_are_two_contours() -> None:
    assert len(contours_of(drawn("#. .#"))) == 2


def test_an_empty_mask_has_no_contour() -> None:
    assert contours_of(np.zeros((4, 5), bool)) == []


def test_holes_and_islands_in_them_come_back() -> None:
    mask = drawn("#######.. #.....#.# #.###.#.. #.#.#.### #.###.#.# #.....### #######..")
    polygons = contours_of(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)


@pytest.mark.parametrize("seed", range(6))
def test_any_mask_comes_back_with_one_polygon_per_region(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((23, 31)) < 0.15 * (seed + 1)
    polygons = contours_of(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)


@pytest.mark.parametrize("turn", ["union", "nonzero"])
def test_a_hole_is_a_hole_for_readers_that_unite_contours(turn: str) -> None:
    """A keyhole: each polygon alone, by winding number as well as even-odd, leaves the hole out."""
    from matplotlib.path import Path

    mask = drawn("##### #...# #.#.# #...# #####")
    points = np.argwhere(np.ones_like(mask)).astype(float)
    inside = np.zeros(mask.size, bool)
    for polygon in contours_of(mask):
        alone = filled([polygon], mask.shape).ravel()
        inside |= alone if turn == "union" else Path(polygon, closed=False).contains_points(points)
    np.testing.assert_array_equal(inside.reshape(mask.shape), mask)


def test_no_point_of_a_contour_is_further_than_half_a_pixel_from_the_edge_of_the_mask() -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(1).random((40, 40)), 3) > 0.5
    fine = np.kron(np.pad(mask, 1), np.ones((8, 8), bool))  # eight cells per pixel, for the true edge
    edge = np.argwhere(fine ^ ndimage.binary_erosion(fine)) / 8 - 1 - 0.5 + 1 / 16
    for polygon in contours_of(mask):
        for point in polygon:
            assert np.linalg.norm(edge - point, axis=1).min() <= 0.5 + 1 / 8


def test_points_far_outside_are_cut_off_at_the_border() -> None:
    mask = filled([np.array([[-1e5, -1e5], [-1e5, 1e5], [1e5, 1e5], [1e5, -1e5]])], (3, 4))
    assert mask.all()
