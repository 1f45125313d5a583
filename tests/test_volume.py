from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from limnet.errors import GeometryError, LimNetWarning, VolumeError
from limnet.volume import Volume
from limnet.volume.intensity import usable

AFFINE = np.diag([2.0, 3.0, 5.0, 1.0])
GREY = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
RGB = Volume(np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3), AFFINE)


def test_shape_is_spatial_for_grey_and_rgb() -> None:
    assert GREY.shape == RGB.shape == (2, 3, 4)
    assert (GREY.is_rgb, RGB.is_rgb) == (False, True)


def test_spacing_orientation_and_sweep_axis_come_from_the_affine() -> None:
    assert (GREY.spacing, GREY.orientation, GREY.sweep_axis) == ((2, 3, 5), ("R", "A", "S"), 2)


@pytest.mark.parametrize(
    ("axis", "shape", "edges"), [(0, (3, 4), (3, 5)), (1, (2, 4), (2, 5)), (2, (2, 3), (2, 3))]
)
def test_a_slice_keeps_the_order_of_the_other_axes(
    axis: int, shape: tuple[int, int], edges: tuple[float, float]
) -> None:
    assert GREY.slice_at(axis, 1).shape == shape
    assert RGB.slice_at(axis, 1).shape == (*shape, 3)
    assert GREY.in_plane_spacing(axis) == edges
    np.testing.assert_array_equal(GREY.slice_at(axis, 1), GREY.array.take(1, axis))


def test_a_slice_is_a_view() -> None:
    assert np.shares_memory(GREY.slice_at(1, 2), GREY.array)


@pytest.mark.parametrize(("axis", "index"), [(0, 2), (0, -1), (3, 0), (-1, 0)])
def test_a_slice_that_does_not_exist_is_an_error(axis: int, index: int) -> None:
    with pytest.raises(GeometryError, match=r"must be 0(, 1 or 2| to 1)"):
        GREY.slice_at(axis, index)


def test_another_array_takes_the_same_place() -> None:
    mask = RGB.with_array(np.ones((2, 3, 4), bool))
    assert mask.affine is not None
    np.testing.assert_array_equal(mask.affine, AFFINE)
    assert mask.array.dtype == bool


def test_an_array_of_another_shape_is_refused() -> None:
    with pytest.raises(GeometryError, match="resample it to that grid"):
        GREY.with_array(np.ones((2, 3, 5), bool))


def test_the_affine_cannot_be_changed_behind_the_volume() -> None:
    own = AFFINE.copy()
    volume = Volume(GREY.array, own)
    own[0, 0] = 9
    assert volume.spacing[0] == 2
    with pytest.raises(ValueError, match="read-only"):
        volume.affine[0, 0] = 9


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4)),
        np.zeros((2, 3, 4, 3)),
        np.zeros((2, 3, 4, 2), np.uint8),
        np.zeros((2, 3, 4), complex),
        np.zeros((2, 0, 4)),
        np.full((2, 3, 4), "a"),
    ],
)
def test_an_array_that_is_no_volume_is_refused(array: np.ndarray) -> None:
    with pytest.raises(VolumeError, match=r"must be|holds no voxel"):
        Volume(array, AFFINE)


def test_nan_and_infinite_voxels_become_the_smallest_finite_value() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 5
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    with pytest.warns(LimNetWarning, match="3 voxels are NaN or infinite; treated as background"):
        repaired = usable(array, "ct.nii")
    assert repaired is array
    assert repaired[0, 0].tolist() == [8, 8, 8, 8]


def test_a_volume_without_a_finite_voxel_is_refused() -> None:
    with pytest.raises(VolumeError, match="every voxel is NaN or infinite"):
        usable(np.full((2, 2, 2), np.nan), "ct.nii")


def test_a_volume_whose_only_finite_value_fills_it_is_refused() -> None:
    array = np.full((2, 2, 2), 7.0)
    array[0, 0, 0] = np.nan
    with pytest.warns(LimNetWarning), pytest.raises(VolumeError, match=r"every voxel is 7\.0"):
        usable(array, "ct.nii")


def test_importing_the_room_loads_no_file_library() -> None:
    code = "import sys, limnet.volume; print({'nibabel', 'SimpleITK', 'PIL', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
