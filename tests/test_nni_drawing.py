"""Points, boxes, scribble and lasso images of other programs, as prompts; images as volumes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from doubles import box_volume
from limnet.compat import given
from limnet.compat.order import volume_of
from limnet.compat.outline import outline, walk
from limnet.errors import GeometryError, PromptError, VolumeError
from limnet.prompt import Box, Click, Lasso, Scribble, fill, in_plane, trace

EVERY = np.ones((3, 3), int)
VOLUME = box_volume()  # (24, 24, 16), spacing (1, 1, 2): slices along the last axis, their first
PIECES = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def drawn_voxels(step: given.Step) -> set[tuple[int, int, int]]:
    """What the prompts of a step hold, in theirs order."""
    found = set()
    for placed in step.prompts:
        corners = [in_plane(point, placed.axis) for point in placed.prompt.corners]
        plane = in_plane(VOLUME.shape, placed.axis)
        if isinstance(placed.prompt, Lasso):
            pixels = [(int(r), int(c)) for r, c in np.argwhere(fill(corners, plane))]
        else:
            pixels = trace(corners)
        for row, column in pixels:
            i, j, k = np.insert((row, column), placed.axis, placed.index).tolist()
            found.add((k, j, i))
    return found


def test_a_point_is_rounded_and_turned_round() -> None:
    (placed,) = given.point(VOLUME, [10.2, 3.6, 5.0], positive=True).prompts
    assert (placed.axis, placed.prompt) == (2, Click((5, 4, 10)))


def test_a_bare_point_of_equal_spacings_lies_on_a_slice_of_their_first_axis() -> None:
    volume = box_volume(spacing=(1, 1, 1))
    assert given.point(volume, [1, 2, 3], positive=True).axis == 2


@pytest.mark.parametrize(
    "coordinates", [[16, 0, 0], [-1, 0, 0], [0, 0], "abc", None, [0, 0, float("nan")], [0, 0, 10**400]]
)
def test_a_point_that_is_none_is_refused(coordinates: object) -> None:
    with pytest.raises(PromptError, match="point"):
        given.point(VOLUME, coordinates, positive=True)


@pytest.mark.parametrize(
    ("coords", "axis", "low", "high"),
    [
        ([[5, 6], [2, 9], [3, 8]], 2, (3, 2, 5), (7, 8, 5)),
        ([[2.0, 9.0], [5.0, 6.0], [3.4, 8.6]], 1, (3, 5, 2), (8, 5, 8)),
        ([[2, 9], [3, 8], [5, 6]], 0, (5, 3, 2), (5, 7, 8)),
        ([[15, 17], [-3, 9], [3, 99]], 2, (3, 0, 15), (23, 8, 15)),
        ([[5, 5], [2, 9], [3, 8]], 2, (3, 2, 5), (7, 8, 5)),
    ],
)
def test_a_box_lies_on_the_slice_along_whose_axis_it_is_flat(
    coords: object, axis: int, low: tuple[int, int, int], high: tuple[int, int, int]
) -> None:
    (placed,) = given.box(VOLUME, coords, positive=False).prompts
    assert (placed.axis, placed.prompt) == (axis, Box(low, high, positive=False))


@pytest.mark.parametrize(
    "coords", [[[0, 4], [0, 4], [0, 4]], [[50, 51], [0, 4], [0, 4]], [[0, 1], [0, 4]], 7, [["a", 1]] * 3]
)
def test_a_box_that_is_not_flat_outside_or_none_is_refused(coords: object) -> None:
    with pytest.raises(PromptError, match="box"):
        given.box(VOLUME, coords, positive=True)


@settings(max_examples=100, deadline=None)
@over(PIECES)
def test_the_line_of_a_scribble_visits_what_was_drawn_and_nothing_else(mask: NDArray[np.bool_]) -> None:
    pieces, count = ndimage.label(mask, EVERY)
    for number in range(1, count + 1):
        piece = pieces == number
        assert set(trace(walk(piece))) == {(int(r), int(c)) for r, c in np.argwhere(piece)}


@settings(max_examples=100, deadline=None)
@over(PIECES)
def test_the_outline_of_a_lasso_holds_exactly_what_it_was_drawn_around(mask: NDArray[np.bool_]) -> None:
    pieces, count = ndimage.label(mask, EVERY)
    for number in range(1, count + 1):
        piece = ndimage.binary_fill_holes(pieces == number)
        np.testing.assert_array_equal(fill(outline(piece), piece.shape), piece)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("is_cut", [True, False])
@pytest.mark.parametrize("kind", [given.scribble, given.lasso])
def test_a_drawing_keeps_its_voxels_on_every_axis_cut_or_whole(axis: int, is_cut: bool, kind: object) -> None:
    whole = np.zeros((16, 24, 24), np.uint8)
    box: list[slice] = [slice(4, 9), slice(6, 13), slice(3, 14)]
    box[axis] = slice(7, 8)
    whole[tuple(box)] = 1
    image, bbox = (whole[tuple(box)], [[side.start, side.stop] for side in box]) if is_cut else (whole, None)
    step = kind(VOLUME, image, bbox, True)  # type: ignore[operator]
    assert step.axis == 2 - axis
    assert drawn_voxels(step) == {tuple(int(n) for n in voxel) for voxel in np.argwhere(whole)}


def test_a_drawing_in_two_pieces_is_one_step_of_two_lines() -> None:
    image = np.zeros((1, 5, 5), np.uint8)
    image[0, 0, :2] = image[0, 4, 3:] = 1
    step = given.scribble(VOLUME, image, [[2, 3], [0, 5], [0, 5]], positive=True)
    assert [type(placed.prompt) for placed in step.prompts] == [Scribble, Scribble]


def test_a_closed_line_is_a_lasso_around_what_it_holds() -> None:
    ring = np.ones((1, 5, 6), np.uint8)
    ring[0, 1:-1, 1:-1] = 0
    step = given.lasso(VOLUME, ring, [[2, 3], [4, 9], [4, 10]], positive=True)
    assert len(drawn_voxels(step)) == 30


@pytest.mark.parametrize(
    ("shape", "bbox"),
    [
        ((1, 5, 5), [[2, 3], [0, 5], [0, 6]]),
        ((1, 5, 5), None),
        ((1, 5, 5), [[16, 17], [0, 5], [0, 5]]),
        ((1, 5, 5), [[-1, 0], [0, 5], [0, 5]]),
        ((5, 5), [[2, 3], [0, 5], [0, 5]]),
        ((1, 5, 5), "here"),
    ],
)
def test_a_drawing_that_does_not_fit_is_refused(shape: tuple[int, ...], bbox: object) -> None:
    with pytest.raises(PromptError):
        given.scribble(VOLUME, np.ones(shape, np.uint8), bbox, positive=True)


def test_an_empty_drawing_is_refused() -> None:
    with pytest.raises(PromptError, match="empty"):
        given.lasso(VOLUME, np.zeros((1, 5, 5), bool), [[2, 3], [0, 5], [0, 5]], positive=True)


def test_a_painted_area_is_too_much_for_a_scribble() -> None:
    volume, _ = volume_of(np.arange(40_000).reshape(1, 1, 200, 200))
    with pytest.raises(PromptError, match="at most 20000"):
        given.scribble(volume, np.ones((1, 200, 200), bool), None, positive=True)


def test_an_image_is_turned_round_with_its_spacing() -> None:
    image = np.arange(24, dtype=np.int16).reshape(1, 2, 3, 4)
    volume, notes = volume_of(image, [3.0, 2.0, 1.0])
    assert (volume.shape, volume.spacing, volume.sweep_axis, notes) == ((4, 3, 2), (1.0, 2.0, 3.0), 2, ())
    assert volume.array[3, 2, 1] == image[0, 1, 2, 3]
    assert volume.orientation == ("L", "P", "S")


def test_three_channels_of_bytes_are_a_colour_image() -> None:
    image = (np.arange(72) % 256).reshape(3, 2, 3, 4).astype(np.float32)
    volume, _ = volume_of(image)
    assert volume.is_rgb
    assert volume.array[3, 2, 1].tolist() == image[:, 1, 2, 3].tolist()


def test_of_other_channels_the_first_is_seen_and_said_to_be() -> None:
    volume, notes = volume_of(np.arange(48, dtype=np.int16).reshape(2, 2, 3, 4))
    assert volume.array.max() == 23
    assert notes == ("of 2 channels only the first is seen",)


def test_voxels_that_are_not_finite_become_background_and_the_callers_array_stays() -> None:
    image = np.arange(24, dtype=np.float16).reshape(1, 2, 3, 4)
    image[0, 0, 0, :2] = np.nan, np.inf
    volume, notes = volume_of(image)
    assert volume.array[:3, 0, 0].tolist() == [2, 2, 2]
    assert np.isnan(image[0, 0, 0, 0])
    assert notes[0].startswith("2 voxels")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 3, 4)),
        np.zeros((1, 2, 3, 4)),
        np.full((1, 2, 3, 4), np.nan),
        np.zeros((1, 0, 3, 4)),
        np.zeros((1, 2, 3, 4), complex),
    ],
)
def test_an_image_with_nothing_to_see_is_refused(image: NDArray[np.generic]) -> None:
    with pytest.raises(VolumeError):
        volume_of(image)


def test_a_flat_image_may_come_with_two_spacings() -> None:
    volume, _ = volume_of(np.arange(12).reshape(1, 1, 3, 4), [0.5, 0.25])
    assert (volume.spacing, volume.sweep_axis) == ((0.25, 0.5, 1.0), 2)


@pytest.mark.parametrize("spacing", [[1, 0, 1], [1], [1, 2, 3, 4], "mm", [1, 1, float("inf")], {"a": 1}, 3])
def test_a_spacing_that_is_none_is_refused(spacing: object) -> None:
    with pytest.raises(GeometryError, match="spacing"):
        volume_of(np.arange(24).reshape(1, 2, 3, 4), spacing)
