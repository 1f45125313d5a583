from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its users' own name for it
from PIL import Image
from scipy.spatial.transform import Rotation

from limnet.errors import GeometryError, OutputError, VolumeError
from limnet.volume import Volume, files, read_mask, read_volume, to_world, write_mask

ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def labels(high: int = 5) -> np.ndarray:
    """(4, 5, 6), labels 0 to `high`."""
    return np.random.default_rng(3).integers(0, high + 1, (4, 5, 6))


def oblique(seed: int) -> Volume:
    """A volume of shape (4, 5, 6) turned, permuted, flipped, anisotropic and shifted."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix() if seed % 3 else np.eye(3)
    affine = np.eye(4)
    affine[:3, :3] = (turn * rng.choice((-1, 1), 3) * (0.7, 0.8, 2.5))[:, rng.permutation(3)]
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return Volume(np.arange(120, dtype=np.int16).reshape(4, 5, 6), affine)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", range(6))
def test_a_mask_lies_on_the_grid_of_its_volume_in_the_eyes_of_itk(
    ending: str, seed: int, tmp_path: Path
) -> None:
    like, path = oblique(seed), tmp_path / f"mask{ending}"
    write_mask(path, labels(), like)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), labels())
    for index in ((0, 0, 0), (3, 1, 5)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(to_world(like.affine, index), lps * (-1, -1, 1), atol=1e-3)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("seed", range(4))
def test_a_written_mask_reads_back_the_same(ending: str, seed: int, tmp_path: Path) -> None:
    like, path = oblique(seed), tmp_path / f"mask{ending}"
    write_mask(path, labels(), like)
    back = read_mask(path, like)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, labels())


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_a_text_header_keeps_the_affine_to_the_last_digit(ending: str, tmp_path: Path) -> None:
    like = oblique(1)
    write_mask(tmp_path / f"mask{ending}", labels(), like)
    np.testing.assert_allclose(
        read_volume(tmp_path / f"mask{ending}").affine, like.affine, rtol=1e-14, atol=1e-14
    )


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (4, 2), (2, 1)])
def test_a_nifti_mask_copies_sform_and_qform_of_its_volume(codes: tuple[int, int], tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(oblique(1).array, None)
    image.set_sform(oblique(1).affine if codes[0] else None, codes[0])
    image.set_qform(oblique(1).affine if codes[1] else None, codes[1])
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "ct.nii")
    write_mask(tmp_path / "mask.nii.gz", labels(), read_volume(tmp_path / "ct.nii"))
    ct, mask = nibabel.load(tmp_path / "ct.nii"), nibabel.load(tmp_path / "mask.nii.gz")
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert mask.header[name] == ct.header[name]
    np.testing.assert_array_equal(mask.affine, ct.affine)
    np.testing.assert_array_equal(mask.header.get_qform(), ct.header.get_qform())
    assert mask.get_data_dtype() == np.uint8


def test_a_nifti_mask_of_another_format_gets_sform_2_qform_1_and_mm(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.nii", labels(), oblique(1))
    mask = nibabel.load(tmp_path / "mask.nii")
    assert (int(mask.header["sform_code"]), int(mask.header["qform_code"])) == (2, 1)
    assert mask.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(mask.header.get_qform(), mask.header.get_sform(), atol=1e-5)


def test_a_moved_volume_does_not_leave_its_mask_behind(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(oblique(1).array, oblique(1).affine), tmp_path / "ct.nii")
    volume = read_volume(tmp_path / "ct.nii")
    moved = Volume(volume.array, np.diag([1.0, 2, 3, 1]), nifti_header=volume.nifti_header)
    write_mask(tmp_path / "mask.nii", labels(), moved)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "mask.nii").affine, moved.affine)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_sheared_grid_is_kept(ending: str, tmp_path: Path) -> None:
    sheared = np.array([[1, 0.3, 0, 5], [0, 2, 0, 6], [0, 0.1, 3, 7], [0, 0, 0, 1.0]])
    like = Volume(oblique(0).array, sheared)
    write_mask(tmp_path / f"mask{ending}", labels(), like)
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask{ending}", like), labels())
    np.testing.assert_allclose(read_volume(tmp_path / f"mask{ending}").affine, sheared, atol=1e-6)


@pytest.mark.parametrize(
    ("mask", "stored"),
    [(labels() > 2, np.uint8), (labels(255).astype(np.int64), np.uint8), (labels(300), np.uint16)],
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_are_stored_in_the_smallest_type_that_holds_them(
    mask: np.ndarray, stored: type, ending: str, tmp_path: Path
) -> None:
    write_mask(tmp_path / f"mask{ending}", mask, oblique(1))
    back = read_mask(tmp_path / f"mask{ending}")
    assert back.dtype == stored
    np.testing.assert_array_equal(back, mask)


def test_a_mask_of_rgb_frames_has_their_spatial_shape(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    for n in range(3):
        Image.fromarray(np.full((4, 5, 3), 40 * n, np.uint8)).save(frames / f"{n}.png")
    video = read_volume(frames)
    write_mask(tmp_path / "mask.nii.gz", np.ones(video.shape, bool), video)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert mask.shape == (5, 4, 3)
    assert mask.header.get_zooms() == (1, 1, 1)


def test_nothing_but_the_mask_is_left_in_the_folder(tmp_path: Path) -> None:
    for ending in ENDINGS:
        write_mask(tmp_path / f"mask{ending}", labels(), oblique(1))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"mask{ending}" for ending in ENDINGS} | {"mask.raw.gz", "mask.zraw"}


def test_the_same_mask_is_written_byte_for_byte_the_same(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(tmp_path / name, labels(), oblique(1))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_failed_write_leaves_the_old_mask_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.nii"
    write_mask(path, labels(), oblique(1))
    before = path.read_bytes()

    def fill_the_disk(path: Path, labels: np.ndarray, like: Volume) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files.WRITERS, ".nii", fill_the_disk)
    with pytest.raises(OutputError, match=r"mask\.nii: cannot be written: No space left on device"):
        write_mask(path, labels(), oblique(1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["mask.nii"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask.png", "cannot write masks in this format"),
        ("mask", "cannot write masks in this format"),
        ("missing/mask.nii", "does not exist; make it first"),
        ("taken.nii", "is a folder"),
        ("x" * 300 + ".nii", "cannot be written"),
        ("zero\0byte.nii", "cannot be written|does not exist"),
    ],
)
def test_an_output_that_cannot_be_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "taken.nii").mkdir()
    with pytest.raises(OutputError, match=message):
        write_mask(tmp_path / name, labels(), oblique(1))
    assert [p.name for p in tmp_path.iterdir()] == ["taken.nii"]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (labels() / 2, "threshold probabilities first"),
        (labels() - 1, "from -1 to"),
        (labels() + 70000, "must be 0 to 65535"),
    ],
)
def test_what_is_no_mask_is_not_written(mask: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=message):
        write_mask(tmp_path / "mask.nii", mask, oblique(1))


def test_a_mask_of_another_shape_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"shape \(4, 5, 5\) does not fit volume of shape \(4, 5, 6\)"):
        write_mask(tmp_path / "mask.nii", labels()[:, :, 1:], oblique(1))


def test_float_labels_become_integers(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(labels().astype(np.float64), np.eye(4)), tmp_path / "mask.nii")
    mask = read_mask(tmp_path / "mask.nii")
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, labels())


def test_an_empty_mask_can_be_read(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.nii", np.zeros((4, 5, 6), bool), oblique(1))
    assert not read_mask(tmp_path / "mask.nii", oblique(1)).any()


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e12])
def test_probabilities_are_no_labels(value: float, tmp_path: Path) -> None:
    array = labels().astype(np.float64)
    array[0, 0, 0] = value
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "mask.nii")
    with pytest.raises(VolumeError, match="are no labels, must be whole numbers"):
        read_mask(tmp_path / "mask.nii")


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.nii", labels(), oblique(1))
    with pytest.raises(GeometryError, match=r"shape \(4, 5, 6\) against \(4, 5, 7\) of ct\.nii"):
        read_mask(tmp_path / "mask.nii", Volume(np.zeros((4, 5, 7)), oblique(1).affine, source="ct.nii"))


def test_a_mask_on_another_grid_is_refused_and_told_the_difference(tmp_path: Path) -> None:
    write_mask(tmp_path / "mask.nii", labels(), oblique(1))
    shifted = oblique(1).affine.copy()
    shifted[0, 3] += 0.5
    like = Volume(np.zeros((4, 5, 6)), shifted, source="ct.nii")
    with pytest.raises(GeometryError, match=r"not on the grid of ct\.nii: corners up to 0\.5 mm apart"):
        read_mask(tmp_path / "mask.nii", like)
