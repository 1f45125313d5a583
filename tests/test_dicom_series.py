"""DICOM in: series, stacks, gaps, values, colours, compression, and what must be refused or kept quiet."""

from __future__ import annotations

import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from dicom_files import PATIENT, header_of, put_pixels, random_affine, save, write_series
from limnet import read_volume
from limnet.cli import main
from limnet.errors import GeometryError, LimNetWarning, VolumeError
from limnet.volume.dicom import list_series

AFFINE = np.array([[-0.8, 0, 0, 50], [0, -0.6, 0, 40], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])


def ramp(shape: tuple[int, int, int] = (7, 6, 5)) -> NDArray[np.int16]:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "scan", ramp(), AFFINE)
    return tmp_path / "scan"


def test_a_folder_of_slices_is_read_as_it_was_written(series: Path) -> None:
    volume = read_volume(series)
    np.testing.assert_array_equal(volume.array, ramp())
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.array.dtype == np.int16


def test_slices_are_ordered_by_position_and_not_by_name_or_number(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "scan", ramp(), AFFINE)
    for n, path in enumerate(paths):
        header = dcmread(path)
        header.InstanceNumber = 99 - n
        save(header, tmp_path / "scan" / f"file{(n * 3) % 5}")
        path.unlink()
    np.testing.assert_array_equal(read_volume(tmp_path / "scan").array, ramp())


def test_simpleitk_sees_the_same_voxels_in_the_same_place(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(), random_affine(np.random.default_rng(5)))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0), volume.array)
    x, y, z = image.TransformIndexToPhysicalPoint((3, 2, 4))
    np.testing.assert_allclose(volume.affine @ (3, 2, 4, 1), (-x, -y, z, 1), atol=1e-4)


def test_a_series_may_lie_in_nested_folders_beside_other_files(series: Path) -> None:
    (series / "deep" / "er").mkdir(parents=True)
    shutil.move(series / "IM0002", series / "deep" / "er" / "IM0002")
    (series / "notes.txt").write_text("not DICOM")
    np.testing.assert_array_equal(read_volume(series).array, ramp())


def test_a_gantry_tilt_stays_in_the_affine(tmp_path: Path) -> None:
    tilted = AFFINE.copy()
    tilted[1, 2] = 0.7
    write_series(tmp_path, ramp(), tilted)
    np.testing.assert_allclose(read_volume(tmp_path).affine, tilted)


def test_several_series_are_listed_and_one_is_chosen_by_its_uid(
    series: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = generate_uid()
    write_series(series / "other", ramp() + 1, AFFINE, series=other)
    with pytest.raises(VolumeError, match=r"2 series, choose one with --series UID: .*MR, 5 images of 7 x 6"):
        read_volume(series)
    assert read_volume(series, series=other).array.min() == 1
    assert main(["info", str(series)]) == 0
    assert other in capsys.readouterr().out


def test_an_unknown_series_is_answered_with_those_there_are(series: Path) -> None:
    with pytest.raises(VolumeError, match=r"no series '1\.2\.3'; there is: "):
        read_volume(series, series="1.2.3")


def test_a_localiser_within_a_series_becomes_a_stack_of_its_own(series: Path) -> None:
    (first,) = list_series(series)
    turned = AFFINE[:, [0, 2, 1, 3]]
    uid = dcmread(series / "IM0000").FrameOfReferenceUID
    write_series(series / "scout", ramp((4, 4, 1)), turned, series=first.name, frame_of_reference=uid)
    stacks = list_series(series)
    assert [s.name for s in stacks] == [f"{first.name}/1", f"{first.name}/2"]
    np.testing.assert_array_equal(read_volume(series, series=f"{first.name}/1").array, ramp())


def test_echoes_at_the_same_positions_become_stacks(series: Path) -> None:
    (first,) = list_series(series)
    header = dcmread(series / "IM0000")
    same = {"frame_of_reference": header.FrameOfReferenceUID, "study": header.StudyInstanceUID}
    for path in series.iterdir():
        header = dcmread(path)
        header.EchoNumbers = 1
        save(header, path)
    write_series(series / "two", ramp() * 2, AFFINE, series=first.name, EchoNumbers=2, **same)
    second = read_volume(series, series=f"{first.name}/2")
    np.testing.assert_array_equal(second.array, ramp() * 2)


def test_missing_slices_are_refused_and_named_by_position(series: Path) -> None:
    (series / "IM0002").unlink()
    with pytest.raises(GeometryError, match=r"1 slice is missing, at -25\.00 mm .* --allow-gaps"):
        read_volume(series)


def test_missing_slices_become_background_when_gaps_are_allowed(series: Path) -> None:
    (series / "IM0002").unlink()
    with pytest.warns(LimNetWarning, match="filled with background"):
        volume = read_volume(series, allow_gaps=True)
    expected = ramp()
    expected[:, :, 2] = 0
    np.testing.assert_array_equal(volume.array, expected)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_uneven_spacing_is_refused_and_named(series: Path) -> None:
    header = dcmread(series / "IM0004")
    header.ImagePositionPatient[2] += 0.8
    save(header, series / "IM0004")
    with pytest.raises(GeometryError, match=r"unevenly spaced slices: 3\.3 mm after the slice at -22\.50 mm"):
        read_volume(series)


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[2, 2] = 0.625
    for path in write_series(tmp_path, ramp(), affine):
        header = dcmread(path)
        header.ImagePositionPatient = [round(float(n), 1) for n in header.ImagePositionPatient]
        save(header, path)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(0.625, abs=0.03)


def test_a_file_copied_twice_counts_once(series: Path) -> None:
    shutil.copy(series / "IM0001", series / "copy of IM0001")
    np.testing.assert_array_equal(read_volume(series).array, ramp())


def test_two_different_images_at_one_position_are_refused(series: Path) -> None:
    header = dcmread(series / "IM0001")
    header.SOPInstanceUID = generate_uid()
    save(header, series / "again")
    with pytest.raises(GeometryError, match=r"more than one image at -27\.50 mm"):
        read_volume(series)


def test_two_patients_in_one_series_are_refused(series: Path) -> None:
    header = dcmread(series / "IM0001")
    header.PatientID = "someone else"
    save(header, series / "IM0001")
    with pytest.raises(VolumeError, match="files of 2 patients in one series"):
        read_volume(series)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1, -1024, np.int16), (2, 0, np.int32), (0.5, 0, np.float32)]
)
def test_values_are_rescaled_in_the_narrowest_exact_type(
    tmp_path: Path, slope: float, intercept: float, dtype: type
) -> None:
    stored = ramp().astype(np.int16) + (20_000 if slope == 2 else 0)
    write_series(tmp_path, stored, AFFINE, RescaleSlope=slope, RescaleIntercept=intercept)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, stored.astype(float) * slope + intercept)
    assert volume.array.dtype == dtype


def test_a_modality_lut_is_applied(tmp_path: Path) -> None:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [100, 200, 400, 800])
    table.ModalityLUTType = "US"
    write_series(tmp_path, (ramp((2, 2, 2)) % 4).astype(np.uint8), AFFINE, ModalityLUTSequence=[table])
    assert sorted(set(read_volume(tmp_path).array.ravel())) == [100, 200, 400, 800]


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    values = {"PhotometricInterpretation": "MONOCHROME1"}
    write_series(tmp_path, ramp((2, 3, 2)).astype(np.uint8), AFFINE, **values)
    np.testing.assert_array_equal(read_volume(tmp_path).array, 255 - ramp((2, 3, 2)))


SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_way_of_coding_elements_is_read(series: Path, syntax: str) -> None:
    for path in series.iterdir():
        header = dcmread(path)
        big = syntax == ExplicitVRBigEndian
        header.PixelData = header.pixel_array.astype(">i2" if big else "<i2").tobytes()
        header.set_original_encoding(syntax == ImplicitVRLittleEndian, not big)
        header["PixelData"].VR = "OW"
        save(header, path, syntax)
    np.testing.assert_array_equal(read_volume(series).array, ramp())


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_compressed_slices_are_read(tmp_path: Path, syntax: str) -> None:
    for path in write_series(tmp_path, ramp((70, 65, 3)), AFFINE):
        header = dcmread(path)
        header.compress(syntax, generate_instance_uid=False)
        header.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path).array, ramp((70, 65, 3)))


@pytest.mark.parametrize(
    "name", ["SC_rgb_jpeg_gdcm.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm", "SC_rgb_rle_16bit.dcm"]
)
def test_colours_of_any_coding_become_rgb(name: str) -> None:
    with pytest.warns(LimNetWarning, match="no position in the patient"):
        volume = read_volume(get_testdata_file(name))
    assert volume.is_rgb
    np.testing.assert_allclose(volume.array[50, 5, 0], (255, 0, 0), atol=3)  # the top bar of the test picture


def test_a_palette_becomes_rgb_as_pydicom_has_it() -> None:
    from pydicom.pixels import apply_color_lut, pixel_array

    path = get_testdata_file("examples_palette.dcm")
    with pytest.warns(LimNetWarning, match="no position"):
        volume = read_volume(path)
    expected = apply_color_lut(pixel_array(path), dcmread(path)) >> 8  # its entries have 16 bits
    np.testing.assert_array_equal(volume.array[..., 0, :].swapaxes(0, 1), expected)


def test_a_cine_loop_is_an_rgb_volume_whose_last_axis_is_time() -> None:
    with pytest.warns(LimNetWarning, match="no position"):
        volume = read_volume(get_testdata_file("examples_ybr_color.dcm"))
    assert (volume.shape, volume.is_rgb) == ((320, 240, 30), True)


def test_a_multi_frame_file_is_a_volume(tmp_path: Path) -> None:
    save(enhanced(), tmp_path / "enhanced.dcm")
    volume = read_volume(tmp_path / "enhanced.dcm")
    np.testing.assert_array_equal(volume.array, ramp() * 2 - 5)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_a_secondary_capture_says_its_slope_once_for_all_frames(tmp_path: Path) -> None:
    header = enhanced()
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.3"
    del header.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    header.RescaleSlope, header.RescaleIntercept = 3, -7
    save(header, tmp_path / "capture.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path / "capture.dcm").array, ramp() * 3 - 7)


def enhanced() -> Dataset:
    """An enhanced MR file of `ramp()` at AFFINE, slope 2 and intercept -5, its frames in reverse order."""
    header = header_of("MR", study=generate_uid(), series=generate_uid())
    header.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    header.FrameOfReferenceUID = generate_uid()
    put_pixels(header, np.ascontiguousarray(ramp().transpose(2, 1, 0)[::-1]))
    measures, orientation, values, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.6, 0.8], 2.5
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2, -5, "US"
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    shared.PixelValueTransformationSequence = [values]
    header.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for k in reversed(range(5)):
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = [-50, -40, -30 + 2.5 * k]
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = frames
    return header


@pytest.mark.parametrize("step", [1, -1])
def test_a_nuclear_tomogram_keeps_its_place_in_its_detector(step: int, tmp_path: Path) -> None:
    header = header_of("US", study=generate_uid(), series=generate_uid())
    header.SOPClassUID, header.Modality = "1.2.840.10008.5.1.4.1.1.20", "NM"
    put_pixels(header, np.ascontiguousarray(ramp().transpose(2, 1, 0)[::step]))
    detector = Dataset()
    detector.ImagePositionPatient = [-50, -40, -30 if step == 1 else -20]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.DetectorInformationSequence = [detector]
    header.PixelSpacing, header.SpacingBetweenSlices = [0.6, 0.8], 2.5 * step  # below 0: against the normal
    save(header, tmp_path / "nm.dcm")
    volume = read_volume(tmp_path / "nm.dcm")
    np.testing.assert_array_equal(volume.array, ramp())
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_doses_are_read_on_their_grid_as_simpleitk_reads_them() -> None:
    path = get_testdata_file("rtdose.dcm")
    volume, image = read_volume(path), SimpleITK.ReadImage(path)
    scale = float(dcmread(path).DoseGridScaling)
    pixels = SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_allclose(volume.array, pixels * (scale if pixels.max() > 1e3 else 1), rtol=1e-6)
    assert volume.shape == image.GetSize()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rtplan.dcm", "no DICOM images .there is RT Plan Storage"),
        ("test-SR.dcm", "no DICOM images .there is Comprehensive SR"),
        ("liver_1frame.dcm", "no DICOM images .there is Segmentation Storage"),
        ("MR_truncated.dcm", "too few for the 8,192 bytes of pixels"),
        ("JPEG-lossy.dcm", "cannot be decoded .JPEG Extended"),
    ],
)
def test_what_holds_no_image_says_what_it_is(name: str, words: str) -> None:
    with pytest.raises(VolumeError, match=words), warnings.catch_warnings():
        warnings.simplefilter("ignore", LimNetWarning)
        read_volume(get_testdata_file(name))


def test_pictures_and_folders_without_dicom_are_read_as_before(tmp_path: Path) -> None:
    from PIL import Image

    for n in range(3):
        Image.fromarray(np.full((4, 5), 60 * n, np.uint8)).save(tmp_path / f"{n}.png")
    write_series(tmp_path / "scan", ramp(), AFFINE)
    assert read_volume(tmp_path).shape == (5, 4, 3)


def test_no_output_or_log_names_the_patient(
    series: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    content = (series / "IM0001").read_bytes()
    (series / "IM0001").write_bytes(content.replace(b"20240102", b"SURNAME4"))  # pydicom warns of such a date
    (series / "IM0003").write_bytes((series / "IM0003").read_bytes()[:700])
    for words in (["info", str(series)], ["info", str(series), "--series", "1.2"]):
        main(words)
    said = "".join([*capsys.readouterr(), caplog.text])
    assert "IM0003" in said
    assert not any(secret in said for secret in (*PATIENT, "SURNAME", "4711"))


def test_click_mm_hits_the_voxel_at_that_place(series: Path) -> None:
    from limnet.cli.rounds import click_at_mm

    volume = read_volume(series)
    x, y, z, _ = volume.affine @ (4, 2, 3, 1)
    assert click_at_mm(f"{x + 0.1},{y},{z}", volume, is_lps=False).index == (4, 2, 3)
    assert click_at_mm(f"{-x},{-y},{z}:-", volume, is_lps=True).index == (4, 2, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--click-mm", "1,2,3"], "needs one of --lps"),
        (["--click-mm", "1,2", "--ras"], "expected three numbers"),
        (["--click-mm", "900,2,3", "--lps"], "outside the volume"),
    ],
)
def test_click_mm_is_refused_in_words(
    series: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(series), "-o", str(series.parent / "m.nii"), *words]) == 2
    assert said in capsys.readouterr().err


def test_the_missing_extra_is_named(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from limnet.errors import ConfigError

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"DICOM needs pydicom: pip install 'limnet\[dicom\]'"):
        read_volume(series)
