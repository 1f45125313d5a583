"""Large uncompressed voxels are mapped: same numbers, no memory of their own, the file never written."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its users' own name for it

from limnet import read_volume
from limnet.errors import LimNetWarning, VolumeError
from limnet.volume import payload
from limnet.volume.intensity import is_finite


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAPPED", 1)


def counting(dtype: str = "int16") -> np.ndarray:
    """(5, 6, 7), every voxel different."""
    return np.arange(210).reshape(5, 6, 7).astype(dtype)


def written(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".nii":
        nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(array.transpose(2, 1, 0).copy()), path, useCompression=False)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_what_is_mapped_is_what_was_written(name: str, dtype: str, tmp_path: Path) -> None:
    array = read_volume(written(tmp_path / name, counting(dtype))).array
    np.testing.assert_array_equal(array, counting(dtype))
    assert (array.dtype, array.flags.writeable) == (np.dtype(dtype), False)


def test_the_other_byte_order_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    image = nibabel.Nifti1Image(counting(), np.eye(4), header)
    nibabel.save(image, path)
    np.testing.assert_array_equal(read_volume(path).array, counting())


def test_memory_that_was_let_go_is_fetched_again(tmp_path: Path) -> None:
    array = read_volume(written(tmp_path / "a.mha", counting())).array
    payload.release(array)
    np.testing.assert_array_equal(array, counting())


def test_letting_go_of_what_is_no_file_changes_nothing() -> None:
    array = counting()
    payload.release(array)
    np.testing.assert_array_equal(array, counting())


def test_voxels_that_are_not_finite_are_repaired_in_memory_and_not_in_the_file(tmp_path: Path) -> None:
    array = counting("float32")
    array[1, 2, 3] = np.nan
    path = written(tmp_path / "a.nii", array)
    content = path.read_bytes()
    with pytest.warns(LimNetWarning, match="1 voxels are NaN"):
        volume = read_volume(path)
    assert volume.array[1, 2, 3] == 0
    assert path.read_bytes() == content


def test_a_truncated_file_is_not_mapped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mha", counting())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VolumeError, match="truncated"):
        read_volume(path)


def test_a_packed_file_is_unpacked_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(counting(), np.eye(4)), path)
    assert read_volume(path).array.flags.writeable


@pytest.mark.parametrize(
    ("voxel", "finite"), [(1.0, True), (np.nan, False), (np.inf, False), (-np.inf, False)]
)
def test_one_voxel_decides_whether_all_are_finite(voxel: float, finite: bool) -> None:
    array = np.zeros((4, 4, 70), np.float32)
    array[3, 3, 69] = voxel
    assert is_finite(array) is finite
