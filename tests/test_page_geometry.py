"""For any affine: what is shown lies where it lies in the body, and a click is the voxel under it."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from page_driver import Hand, Server, browser, hand, server  # noqa: F401

pytestmark = pytest.mark.slow  # a browser that draws in software

SHAPE = (40, 48, 20)
LOW, HIGH = (18, 22, 9), (36, 40, 15)  # of a bright block, half-open: off the middle, so that any flip shows
SIDES = {  # plane: world direction (RAS+) of its left, right, top and bottom letters
    "R": (0, 1),
    "L": (0, -1),
    "A": (1, 1),
    "P": (1, -1),
    "S": (2, 1),
    "I": (2, -1),
}


def turned(degrees: float, axis: int) -> NDArray[np.float64]:
    """A rotation about a world axis."""
    angle = np.deg2rad(degrees)
    a, b = (n for n in range(3) if n != axis)
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


DIRECTIONS = {
    "RAS": np.diag([1.0, 1, 1]),
    "LPS": np.diag([-1.0, -1, 1]),
    "LPI": np.diag([-1.0, -1, -1]),
    "permuted": np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]]),  # sagittal slices of a usual MR
    "oblique": turned(20, 0) @ turned(-15, 2) @ np.diag([-1.0, 1, 1]),
}
SPACING = np.array([1.0, 1.0, 2.5])


@pytest.fixture(scope="module", params=sorted(DIRECTIONS))
def direction(request: pytest.FixtureRequest) -> NDArray[np.float64]:
    """Directions of the array's axes in the world, as columns."""
    return DIRECTIONS[request.param]


@pytest.fixture
def block(hand: Hand, server: Server, direction: NDArray[np.float64], tmp_path: Path) -> Hand:
    """The page with one bright block in the dark; prompts wait."""
    array = np.zeros(SHAPE, np.int16)
    array[tuple(slice(low, high) for low, high in zip(LOW, HIGH, strict=True))] = 1000
    affine = np.eye(4)
    affine[:3, :3] = direction * SPACING
    affine[:3, 3] = (12, -7, 40)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "block.nii")
    hand.open(server.upload(tmp_path / "block.nii"))
    hand.press("a")
    return hand


def centre(hand: Hand, plane: int) -> tuple[float, float] | None:
    """The middle of the bright part of a plane's tile, as shares of its size."""
    picture = hand.picture(plane).max(-1) > 128
    rows, columns = np.nonzero(picture)
    if not len(rows):
        return None
    height, width = picture.shape
    return float((columns.mean() + 2) / (width + 4)), float((rows.mean() + 2) / (height + 4))


def test_a_click_on_the_bright_block_is_a_voxel_in_its_middle_in_every_plane(block: Hand) -> None:
    middle = (np.array(LOW) + np.array(HIGH) - 1) / 2
    for plane in (0, 1, 2):
        place = centre(block, plane)
        assert place, plane
        block.click(*place, plane=plane)
        (prompt,) = block.server.thing(block.volume)["pending"]
        index = np.array(prompt["index"])
        for axis in {0, 1, 2} - {prompt["axis"]}:
            assert abs(index[axis] - middle[axis]) <= 1, (plane, axis, index)
        block.press("Control+z")


def test_letters_name_the_side_of_the_body_in_every_plane(
    block: Hand, direction: NDArray[np.float64]
) -> None:
    """The block's offset from the volume's middle, in the world, is to the side that the letters name."""
    offset = direction @ (((np.array(LOW) + HIGH) / 2 - np.array(SHAPE) / 2) * SPACING)
    for plane in (0, 1, 2):
        place = centre(block, plane)
        assert place, plane
        tile = block.page.locator(f'.tile[data-plane="{plane}"]')
        for first, second, share in (("left", "right", place[0]), ("top", "bottom", place[1])):
            axis, sign = SIDES[tile.locator(f'[data-side="{first}"]').text_content() or ""]
            other = SIDES[tile.locator(f'[data-side="{second}"]').text_content() or ""]
            assert other == (axis, -sign)
            assert (share < 0.5) == (sign * offset[axis] > 0), (plane, first)
