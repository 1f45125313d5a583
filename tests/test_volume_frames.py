from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its users' own name for it
from PIL import Image

from limnet.errors import VolumeError
from limnet.volume import read_mask, read_volume, to_world

ROWS, COLUMNS = 3, 4
GREY = np.arange(12, dtype=np.uint8).reshape(ROWS, COLUMNS)  # row, column
RGB = np.arange(36, dtype=np.uint8).reshape(ROWS, COLUMNS, 3)


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)
    return path


def folder(tmp_path: Path, **frames: np.ndarray) -> Path:
    for name, pixels in frames.items():
        save(tmp_path / f"{name}.png", pixels)
    return tmp_path


def test_a_grey_picture_is_a_volume_of_one_slice_indexed_by_column_then_row(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.png", GREY))
    assert volume.shape == (COLUMNS, ROWS, 1)
    assert volume.array[3, 1, 0] == GREY[1, 3]
    assert volume.spacing == (1, 1, 1)
    assert volume.sweep_axis == 2


def test_a_picture_lies_where_itk_puts_it(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    lps = np.array(sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint((3, 1)))
    assert to_world(read_volume(path).affine, (3, 1, 0)).tolist() == [*(-lps), 0]


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "TIFF"])
def test_colours_are_read_from_lossless_formats(ending: str, tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / f"a.{ending}", RGB))
    assert volume.is_rgb
    np.testing.assert_array_equal(volume.array[:, :, 0].swapaxes(0, 1), RGB)


def test_jpeg_is_read(tmp_path: Path) -> None:
    assert read_volume(save(tmp_path / "a.jpg", RGB)).shape == (COLUMNS, ROWS, 1)


def test_frames_come_in_natural_order_and_other_files_are_ignored(tmp_path: Path) -> None:
    folder(tmp_path, f10=GREY + 10, f2=GREY + 2, F1=GREY + 1)
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "._f3.png").write_bytes(b"junk of macOS")
    volume = read_volume(tmp_path)
    assert volume.array[0, 0].tolist() == [1, 2, 10]
    assert volume.sweep_axis == 2


def test_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.zeros((ROWS, COLUMNS), np.uint8)])
    volume = read_volume(save(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(volume.array[:, :, 0].swapaxes(0, 1), RGB)


def test_sixteen_bit_png_stays_uint16(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.png", GREY.astype(np.uint16) * 1000))
    assert volume.array.dtype == np.uint16
    assert volume.array[3, 2, 0] == 11000


def test_float_tiff_stays_float32(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.tif", GREY.astype(np.float32) / 2))
    assert volume.array.dtype == np.float32
    assert volume.array[3, 2, 0] == 5.5


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.png", GREY > 5))
    assert np.unique(volume.array).tolist() == [0, 255]


def test_grey_frames_among_rgb_ones_become_rgb(tmp_path: Path) -> None:
    volume = read_volume(folder(tmp_path, a=RGB, b=GREY))
    assert volume.is_rgb
    assert volume.array[3, 1, 1].tolist() == [GREY[1, 3]] * 3


def test_a_tiff_of_several_pages_is_a_volume_of_several_slices(tmp_path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(GREY + 1)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    assert read_volume(tmp_path / "a.tif").array[0, 0].tolist() == [0, 1]


def test_a_palette_is_colours_in_a_volume_and_labels_in_a_mask(tmp_path: Path) -> None:
    image = Image.fromarray(GREY % 3)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png").array[1, 0, 0].tolist() == [255, 0, 0]
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png")[:, :, 0].T, GREY % 3)


def test_frames_of_different_size_are_an_error_that_names_the_frame(tmp_path: Path) -> None:
    folder(tmp_path, a=GREY, b=GREY[:2])
    with pytest.raises(VolumeError, match=r"b\.png: frame of 4 x 2 pixels, must be 4 x 3 like a\.png"):
        read_volume(tmp_path)


def test_frames_of_types_that_do_not_mix_are_an_error(tmp_path: Path) -> None:
    folder(tmp_path, a=RGB, b=GREY.astype(np.uint16) * 1000)
    with pytest.raises(VolumeError, match="frames of types rgb, uint16, must be of one type"):
        read_volume(tmp_path)


def test_a_folder_without_frames_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(VolumeError, match="folder without frames"):
        read_volume(tmp_path)


def test_a_picture_cut_short_is_an_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)
    path = save(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(VolumeError, match=r"a\.png: picture cannot be read"):
        read_volume(path)


def test_a_picture_that_claims_more_pixels_than_its_bytes_hold_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bmp", GREY)
    content = bytearray(path.read_bytes())
    content[18:26] = (12000).to_bytes(4, "little") * 2  # width and height
    path.write_bytes(content)
    with pytest.raises(VolumeError, match="cannot hold 12000 x 12000 pixels"):
        read_volume(path)
