"""Volumes read from each format, judged by nibabel and SimpleITK reading or writing the same file."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its users' own name for it
from scipy.spatial.transform import Rotation

from limnet.errors import LimNetWarning
from limnet.volume import Volume, read_volume, to_world

ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64")
CORNER = (4, 1, 3)


def counting(dtype: str = "int16") -> np.ndarray:
    """(5, 6, 7), every voxel different."""
    return np.arange(210).reshape(5, 6, 7).astype(dtype)


def direction(seed: int) -> np.ndarray:
    """A rotation whose axes are also permuted and flipped; every third one is not oblique."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix() if seed % 3 else np.eye(3)
    return (turn * rng.choice((-1, 1), 3))[:, rng.permutation(3)]


def itk_image(array: np.ndarray, seed: int = 1) -> sitk.Image:
    """`array` (I, J, K) somewhere in LPS space."""
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0).copy())
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetDirection(direction(seed).ravel().tolist())
    image.SetOrigin((-10.25, 20.5, 300.125))
    return image


def assert_as_itk(volume: Volume, image: sitk.Image, *, atol: float = 1e-9) -> None:
    """Same voxels at the same places, in ITK's eyes."""
    itk_array = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(volume.array, itk_array.transpose(2, 1, 0, *range(3, itk_array.ndim)))
    assert volume.array.dtype == itk_array.dtype
    for index in ((0, 0, 0), CORNER):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(to_world(volume.affine, index), lps * (-1, -1, 1), atol=atol)


@pytest.mark.parametrize("ending", ITK_ENDINGS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_what_itk_writes_is_read_at_the_same_place(
    ending: str, packed: bool, seed: int, tmp_path: Path
) -> None:
    image = itk_image(counting(), seed)
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(image, str(path), packed)
    assert_as_itk(read_volume(path), image)


@pytest.mark.parametrize("ending", (*ITK_ENDINGS, ".nii.gz"))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_is_kept_as_it_came(ending: str, dtype: str, tmp_path: Path) -> None:
    image = itk_image(counting(dtype))
    path = tmp_path / f"ct{ending}"
    sitk.WriteImage(image, str(path), True)
    assert_as_itk(read_volume(path), image, atol=1e-4)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("seed", range(6))
def test_nibabel_itk_and_limnet_agree_where_a_nifti_voxel_lies(
    ending: str, seed: int, tmp_path: Path
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = direction(seed) * (0.7, 0.8, 2.5)
    affine[:3, 3] = -10.25, 20.5, 300.125
    image = nibabel.Nifti1Image(counting(), affine)
    image.set_qform(affine, 1)
    path = tmp_path / f"ct{ending}"
    nibabel.save(image, path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.affine, nibabel.load(path).affine)
    assert_as_itk(volume, sitk.ReadImage(str(path)), atol=1e-3)


def nifti(tmp_path: Path, array: np.ndarray, name: str = "ct.nii.gz", **fields: Any) -> Path:
    """A NIfTI file of 1 mm voxels with some header fields set."""
    image = nibabel.Nifti1Image(array, np.eye(4))
    for field, value in fields.items():
        image.header[field] = value
    nibabel.save(image, tmp_path / name)
    return tmp_path / name


def test_the_qform_counts_when_there_is_no_sform(tmp_path: Path) -> None:
    affine = np.array([[0, -2, 0, 5], [3, 0, 0, 6], [0, 0, -4, 7], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(counting(), None)
    image.set_qform(affine, 1)
    nibabel.save(image, tmp_path / "ct.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "ct.nii").affine, affine, atol=1e-6)


def test_slope_and_intercept_are_applied_in_float32(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(counting("int16"), np.eye(4))
    image.header.set_slope_inter(0.5, -100)
    nibabel.save(image, tmp_path / "ct.nii")
    volume = read_volume(tmp_path / "ct.nii")
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, nibabel.load(tmp_path / "ct.nii").get_fdata())
    assert volume.array[0, 0, 5] == 5 * 0.5 - 100


def test_big_endian_voxels_become_native(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(counting(">i2"), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "ct.nii")
    volume = read_volume(tmp_path / "ct.nii")
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, counting())


def test_nifti_2_is_read(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti2Image(counting(), np.diag([1, 2, 3, 1])), tmp_path / "ct.nii")
    assert read_volume(tmp_path / "ct.nii").spacing == (1, 2, 3)


def test_a_header_extension_is_stepped_over(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(counting(), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"hello"))
    nibabel.save(image, tmp_path / "ct.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "ct.nii").array, counting())


def test_microns_become_millimetres(tmp_path: Path) -> None:
    assert read_volume(nifti(tmp_path, counting(), xyzt_units=3)).spacing == pytest.approx((1e-3,) * 3)


@pytest.mark.parametrize("shape", [(5, 42), (5, 42, 1), (5, 42, 1, 1)])
def test_a_2d_nifti_is_a_volume_of_one_slice(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = nifti(tmp_path, counting().reshape(shape))
    assert read_volume(path).shape == (5, 42, 1)


def test_a_4d_nifti_with_one_volume_is_that_volume(tmp_path: Path) -> None:
    assert read_volume(nifti(tmp_path, counting()[..., None])).shape == (5, 6, 7)


def test_a_nifti_of_colours_is_rgb(tmp_path: Path) -> None:
    colours = np.arange(360, dtype=np.uint16).astype(np.uint8).reshape(4, 5, 6, 3)
    rgb = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    volume = read_volume(nifti(tmp_path, rgb))
    assert volume.is_rgb
    np.testing.assert_array_equal(volume.array, colours)


@pytest.mark.parametrize(
    ("name", "packed"), [("ct.nii", True), ("ct.nii.gz", False), ("ct", True), ("ct.png", False)]
)
def test_content_counts_when_the_name_lies(name: str, packed: bool, tmp_path: Path) -> None:
    content = nifti(tmp_path, counting(), "honest.nii").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    np.testing.assert_array_equal(read_volume(tmp_path / name).array, counting())


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_itk_colours_are_rgb(ending: str, tmp_path: Path) -> None:
    pixels = np.arange(180, dtype=np.uint8).reshape(3, 4, 5, 3)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    sitk.WriteImage(image, str(tmp_path / f"rgb{ending}"))
    volume = read_volume(tmp_path / f"rgb{ending}")
    assert volume.is_rgb
    np.testing.assert_array_equal(volume.array, pixels.transpose(2, 1, 0, 3))


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_a_2d_itk_image_is_a_volume_of_one_slice(ending: str, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(counting()[:, :, 0])
    image.SetSpacing((0.5, 0.25))
    image.SetOrigin((3, 4))
    path = tmp_path / f"slice{ending}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
    assert volume.shape == (6, 5, 1)
    assert volume.spacing == (0.5, 0.25, 1)
    assert to_world(volume.affine, (0, 0, 0)).tolist() == [-3, -4, 0]


NRRD = """NRRD0004
type: {type}
dimension: 3
{space}
sizes: 2 2 2
space directions: (1,0,0) (0,2,0) (0,0,3)
encoding: raw
space origin: (10,20,30)
"""


@pytest.mark.parametrize(
    ("space", "world"),
    [
        ("left-posterior-superior", [-10, -20, 30]),
        ("right-anterior-superior", [10, 20, 30]),
        ("RAS", [10, 20, 30]),
        ("left-anterior-superior", [-10, 20, 30]),
    ],
)
def test_the_space_of_an_nrrd_is_turned_to_ras(space: str, world: list[float], tmp_path: Path) -> None:
    path = tmp_path / "ct.nrrd"
    header = NRRD.format(type="uchar", space=f"space: {space}")
    path.write_bytes(header.encode() + b"\n" + bytes(range(8)))
    volume = read_volume(path)
    assert to_world(volume.affine, (0, 0, 0)).tolist() == world
    if space != "RAS":
        assert_as_itk_first_voxel(volume, path)


def assert_as_itk_first_voxel(volume: Volume, path: Path) -> None:
    lps = np.array(sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((0, 0, 0)))
    np.testing.assert_allclose(to_world(volume.affine, (0, 0, 0)), lps * (-1, -1, 1))


def test_an_nrrd_space_without_a_name_is_lps_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "ct.nrrd"
    path.write_bytes(NRRD.format(type="uchar", space="space dimension: 3").encode() + b"\n" + bytes(range(8)))
    with pytest.warns(LimNetWarning, match="taken as left-posterior-superior"):
        volume = read_volume(path)
    assert_as_itk_first_voxel(volume, path)


@pytest.mark.parametrize(
    ("skip", "before"), [("byte skip: 5", b"12345"), ("byte skip: -1", b"any"), ("line skip: 1", b"x\n")]
)
def test_a_detached_nrrd_may_skip_the_start_of_its_data(skip: str, before: bytes, tmp_path: Path) -> None:
    header = NRRD.format(type="short\nendian: big", space="space: LPS") + f"{skip}\ndata file: ct.raw\n"
    (tmp_path / "ct.nhdr").write_text(header)
    (tmp_path / "ct.raw").write_bytes(before + np.arange(8, dtype=">i2").tobytes())
    np.testing.assert_array_equal(
        read_volume(tmp_path / "ct.nhdr").array, np.arange(8).reshape(2, 2, 2, order="F")
    )


def test_a_metaimage_by_hand_is_read_with_a_warning_for_what_it_leaves_out(tmp_path: Path) -> None:
    lines = "NDims = 3\nDimSize = 2 2 2\nElementSpacing = 1 2 3\nElementType = MET_USHORT\nHeaderSize = -1\n"
    (tmp_path / "ct.mhd").write_text(lines + "ElementByteOrderMSB = True\nElementDataFile = ct.raw\n")
    (tmp_path / "ct.raw").write_bytes(b"header" + np.arange(8, dtype=">u2").tobytes())
    with pytest.warns(LimNetWarning, match="no (TransformMatrix|Offset); taken as"):
        volume = read_volume(tmp_path / "ct.mhd")
    np.testing.assert_array_equal(volume.array, np.arange(8).reshape(2, 2, 2, order="F"))
    assert volume.spacing == (1, 2, 3)


def test_reading_takes_hardly_more_memory_than_the_array(tmp_path: Path) -> None:
    import tracemalloc

    array = np.random.default_rng(0).integers(0, 99, (128, 128, 128)).astype(np.int16)  # 4 MiB
    for path in (nifti(tmp_path, array), nifti(tmp_path, array, "ct.nii")):
        read_volume(path)
        tracemalloc.start()
        volume = read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.3 * volume.array.nbytes
