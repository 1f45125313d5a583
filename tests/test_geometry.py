from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from limnet.errors import GeometryError
from limnet.volume import to_index, to_world
from limnet.volume.geometry import (
    Affine,
    affine_from_axes,
    checked_affine,
    grid_difference,
    orientation_of,
    spacing_of,
    swap_lps,
    sweep_axis_of,
)


def oblique(seed: int) -> Affine:
    """A random rotation, permutation and flip of axes, with anisotropic spacing and an offset."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix() if seed % 3 else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = (turn * rng.choice((-1, 1), 3) * rng.uniform(0.3, 5, 3))[:, rng.permutation(3)]
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


def test_spacing_is_the_length_of_each_voxel_edge() -> None:
    affine = np.array([[0, -3, 0, 9], [2, 0, 0, 9], [0, 0, 0.5, 9], [0, 0, 0, 1.0]])
    assert spacing_of(affine) == (2, 3, 0.5)


def test_orientation_names_where_each_index_grows_to() -> None:
    affine = np.array([[0, -3, 0, 9], [2, 0, 0, 9], [0, 0, 0.5, 9], [0, 0, 0, 1.0]])
    assert orientation_of(affine) == ("A", "L", "S")


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_orientation_equals_that_of_nibabel(seed: int) -> None:
    assert orientation_of(oblique(seed)) == nibabel.aff2axcodes(oblique(seed))


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_index_to_world_and_back_is_identity(seed: int) -> None:
    index = np.array([[0, 0, 0], [3.5, 10, 200]])
    world = to_world(oblique(seed), index)
    np.testing.assert_allclose(world, nibabel.affines.apply_affine(oblique(seed), index))
    np.testing.assert_allclose(to_index(oblique(seed), world), index, atol=1e-9)


def test_sweep_axis_has_the_largest_spacing() -> None:
    assert sweep_axis_of((9, 9, 9), (3.0, 1.0, 1.0)) == 0


def test_sweep_axis_is_the_last_when_spacings_are_equal_within_one_percent() -> None:
    assert sweep_axis_of((9, 9, 9), (1.005, 1.0, 1.0)) == 2


def test_sweep_axis_is_the_last_of_those_that_tie() -> None:
    assert sweep_axis_of((9, 9, 9), (2.0, 2.0, 1.0)) == 1


def test_sweep_axis_of_a_single_slice_is_its_normal() -> None:
    assert sweep_axis_of((9, 1, 9), (3.0, 1.0, 1.0)) == 1


def test_swapping_lps_twice_is_identity() -> None:
    np.testing.assert_array_equal(swap_lps(swap_lps(oblique(1))), oblique(1))


def test_a_2d_image_gets_a_third_axis_of_one_mm() -> None:
    affine = affine_from_axes([[2, 0], [0, 3]], [10, 20])
    np.testing.assert_array_equal(affine, [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_slice_in_space_gets_a_third_axis_along_its_normal() -> None:
    affine = affine_from_axes([[0, 2, 0], [0, 0, 3]], [1, 2, 3])
    np.testing.assert_array_equal(affine[:3, 2], [1, 0, 0])


def test_grids_are_the_same_in_spite_of_float32_rounding() -> None:
    rounded = oblique(4).astype(np.float32).astype(np.float64)
    assert grid_difference(oblique(4), rounded, (512, 512, 300)) is None


def test_grid_difference_names_the_spacing() -> None:
    one, two = np.diag([1.0, 1, 2, 1]), np.diag([1.0, 1, 2.5, 1])
    assert grid_difference(one, two, (9, 9, 9)) == "spacing 1 x 1 x 2 against 1 x 1 x 2.5 mm"


def test_grid_difference_names_the_orientation() -> None:
    one, two = np.diag([1.0, 1, 2, 1]), np.diag([-1.0, 1, 2, 1])
    assert grid_difference(one, two, (9, 9, 9)) == "orientation RAS against LAS"


def test_grid_difference_tells_how_far_a_shifted_grid_lies() -> None:
    shifted = np.eye(4)
    shifted[0, 3] = 0.25
    assert grid_difference(np.eye(4), shifted, (9, 9, 9)) == "corners up to 0.25 mm apart"


def test_a_tilted_grid_of_one_voxel_is_another_grid() -> None:
    tilted = np.eye(4)
    tilted[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix()
    assert grid_difference(np.eye(4), tilted, (1, 1, 1)) is not None


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.eye(3), "must be (4, 4)"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.diag([1.0, 0, 1, 1]), "singular"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
        (np.diag([1e300, 1e300, 1e300, 1]), "singular"),
    ],
)
def test_an_affine_that_is_no_place_is_refused(affine: Affine, message: str) -> None:
    with pytest.raises(GeometryError) as caught:
        checked_affine(affine, "ct.nii")
    assert message in str(caught.value)
    assert str(caught.value).startswith("ct.nii: ")
