"""What archives really hold: rounded numbers, stripped headers, repeated images, names in any language."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from dicom_files import save, write_series
from geometry_judges import TOOLS, scene
from limnet.errors import GeometryError, LimNetWarning, VolumeError
from limnet.volume import Volume, read_volume
from limnet.volume.dicom import list_series
from limnet.volume.dicom.reading import guarded
from limnet.volume.dicom.source import MAY_BE_EMPTY, read_source
from limnet.volume.exchange import Kind, read_structures, write_structures
from limnet.volume.structure import Structure

AFFINE = np.array([[-0.8, 0, 0, 50], [0, -0.6, 0, 40], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
ONE = {"series": "1.2.3.4", "study": "1.2.3", "frame_of_reference": "1.2.5"}
DICOM_KINDS: list[Kind] = ["seg", "labelmap-seg", "rtstruct"]


def ramp(slices: int = 6) -> NDArray[np.int16]:
    return np.arange(12 * 10 * slices, dtype=np.int16).reshape(12, 10, slices)


def edit(paths: Iterable[Path], change: Callable[[int, Dataset], None]) -> None:
    for n, path in enumerate(sorted(paths)):
        header = dcmread(path)
        change(n, header)
        save(header, path)


def two_bars() -> Structure:
    """Two contours in each of four slices."""
    mask = np.zeros((12, 10, 6), bool)
    mask[2:5, 3:8, 1:5] = mask[7:10, 3:8, 1:5] = True
    return Structure.of("bars", mask)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_series(tmp_path / "scan", ramp(), AFFINE)
    return tmp_path / "scan"


def written(scan: Path, path: Path, structure: Structure, kind: Kind) -> Volume:
    volume = read_volume(scan)
    write_structures(path, [structure], volume, kind=kind, source=read_source(scan))
    return volume


def test_directions_that_differ_in_the_sixth_digit_are_one_stack(scan: Path) -> None:
    def wobble(n: int, header: Dataset) -> None:
        turn = 0.0005 + 1e-6 * (-1) ** n  # where rounding to three digits would part them
        header.ImageOrientationPatient = [1, turn, 0, -turn, 1, 0]

    edit(scan.iterdir(), wobble)
    np.testing.assert_array_equal(read_volume(scan).array, ramp())


def test_an_echo_that_lacks_a_slice_is_still_a_stack_of_its_own(tmp_path: Path) -> None:
    for echo in (1, 2):
        paths = write_series(tmp_path / str(echo), ramp() * echo, AFFINE, EchoNumbers=echo, **ONE)
    paths[2].unlink()
    assert [len(s.planes) for s in list_series(tmp_path)] == [6, 5]
    np.testing.assert_array_equal(read_volume(tmp_path, series="1.2.3.4/1").array, ramp())
    with pytest.raises(GeometryError, match="1 slice is missing"):
        read_volume(tmp_path, series="1.2.3.4/2")


def test_acquisitions_that_overlap_are_stacks(tmp_path: Path) -> None:
    further = AFFINE.copy()
    further[2, 3] += 4 * AFFINE[2, 2]  # two slices of the first come again
    write_series(tmp_path / "a", ramp(), AFFINE, AcquisitionNumber=1, **ONE)
    write_series(tmp_path / "b", ramp(5), further, AcquisitionNumber=2, **ONE)
    np.testing.assert_array_equal(read_volume(tmp_path, series="1.2.3.4/1").array, ramp())
    np.testing.assert_allclose(read_volume(tmp_path, series="1.2.3.4/2").affine, further)


def test_phases_of_a_heart_that_beats_unevenly_are_stacks(tmp_path: Path) -> None:
    for phase in range(3):
        paths = write_series(tmp_path / str(phase), ramp() + phase, AFFINE, **ONE)
        edit(paths, lambda n, header, p=phase: setattr(header, "TriggerTime", str(p * (30 + 0.37 * n))))  # type: ignore[misc]  # bound now
    assert len(list_series(tmp_path)) == 3
    for phase in range(3):
        volume = read_volume(tmp_path, series=f"1.2.3.4/{phase + 1}")
        np.testing.assert_array_equal(volume.array, ramp() + phase)


def test_a_dose_may_name_the_place_of_every_frame(tmp_path: Path) -> None:
    header = dcmread(get_testdata_file("rtdose.dcm"))
    away = read_volume(get_testdata_file("rtdose.dcm"))
    first = float(header.ImagePositionPatient[2])
    header.GridFrameOffsetVector = [first + float(n) for n in header.GridFrameOffsetVector]
    header.save_as(tmp_path / "dose.dcm")
    volume = read_volume(tmp_path / "dose.dcm")
    np.testing.assert_allclose(volume.affine, away.affine)
    origin = SimpleITK.ReadImage(str(tmp_path / "dose.dcm")).GetOrigin()
    np.testing.assert_allclose(volume.affine[:3, 3] * (-1, -1, 1), origin)


def test_a_dose_whose_places_contradict_each_other_is_refused(tmp_path: Path) -> None:
    header = dcmread(get_testdata_file("rtdose.dcm"))
    header.GridFrameOffsetVector = [7.0 + float(n) for n in header.GridFrameOffsetVector]
    header.save_as(tmp_path / "dose.dcm")
    with pytest.raises(VolumeError, match="damaged"):
        read_volume(tmp_path / "dose.dcm")


def test_two_patients_without_identifiers_are_told_apart_by_name(scan: Path) -> None:
    def strip(n: int, header: Dataset) -> None:
        header.PatientID, header.PatientName = "", "A" if n else "B"

    edit(scan.iterdir(), strip)
    with pytest.raises(VolumeError, match="files of 2 patients in one series"):
        read_volume(scan)


def test_contours_of_one_slice_may_differ_by_rounding(scan: Path, tmp_path: Path) -> None:
    volume = written(scan, tmp_path / "r.dcm", two_bars(), "rtstruct")
    header = dcmread(tmp_path / "r.dcm")
    for n, contour in enumerate(header.ROIContourSequence[0].ContourSequence):
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        points[:, 2] += 0.03 * (-1) ** n  # of 2.5 mm
        contour.ContourData = [f"{x:.4f}" for x in points.ravel()]
    header.save_as(tmp_path / "r.dcm")
    (back,) = read_structures(tmp_path / "r.dcm", volume)
    np.testing.assert_array_equal(back.mask, two_bars().mask)


def test_a_contour_that_is_a_line_encloses_nothing_and_harms_nothing(scan: Path, tmp_path: Path) -> None:
    volume = written(scan, tmp_path / "r.dcm", two_bars(), "rtstruct")
    header = dcmread(tmp_path / "r.dcm")
    line = Dataset()
    line.ContourGeometricType, line.NumberOfContourPoints = "CLOSED_PLANAR", 3
    line.ContourData = ["-3", "-4", "-27.5", "-3", "-6", "-27.5", "-3", "-8", "-27.5"]
    header.ROIContourSequence[0].ContourSequence.insert(0, line)
    header.save_as(tmp_path / "r.dcm")
    (back,) = read_structures(tmp_path / "r.dcm", volume)
    np.testing.assert_array_equal(back.mask, two_bars().mask)


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_results_of_an_anonymised_series_can_be_written(kind: Kind, scan: Path, tmp_path: Path) -> None:
    def strip(_: int, header: Dataset) -> None:
        for word in MAY_BE_EMPTY:
            if word in header:
                delattr(header, word)
        header.PatientSex = "ANON"

    edit(scan.iterdir(), strip)
    volume = written(scan, tmp_path / "s.dcm", two_bars(), kind)
    (back,) = read_structures(tmp_path / "s.dcm", volume)
    np.testing.assert_array_equal(back.mask, two_bars().mask)
    assert dcmread(tmp_path / "s.dcm").PatientSex in ("", None)


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_names_in_any_language_come_back_and_the_patients_stays(
    kind: Kind, scan: Path, tmp_path: Path
) -> None:
    def rename(_: int, header: Dataset) -> None:
        header.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        header.PatientName = "Yamada^Tarou=山田^太郎"

    edit(scan.iterdir(), rename)
    structures = [Structure.of(name, two_bars().mask) for name in ("Läsion\\links", "肿瘤", "πύλη\n2")]
    volume = read_volume(scan)
    write_structures(tmp_path / "s.dcm", structures[-1:], volume, kind=kind, source=read_source(scan))
    assert [s.name for s in read_structures(tmp_path / "s.dcm", volume)] == ["πύλη 2"]
    if kind != "labelmap-seg":  # in which they would hide each other
        write_structures(tmp_path / "s.dcm", structures, volume, kind=kind, source=read_source(scan))
        names = [s.name for s in read_structures(tmp_path / "s.dcm", volume)]
        assert names == ["Läsion/links", "肿瘤", "πύλη 2"]
    assert str(dcmread(tmp_path / "s.dcm").PatientName) == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_dciodvfy_finds_no_fault_in_results(kind: Kind, scan: Path, tmp_path: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: apt-get install dicom3tools)")
    structure = Structure.of("Niere, links", two_bars().mask, anatomy="kidney-left")
    written(scan, tmp_path / "s.dcm", structure, kind)
    found = subprocess.run([program, "-new", tmp_path / "s.dcm"], capture_output=True, text=True, check=False)
    assert "Error" not in found.stdout + found.stderr


def test_explicit_pixels_behind_an_implicit_header_are_read_as_simpleitk_reads_them() -> None:
    path = get_testdata_file("SC_rgb_jpeg.dcm")
    seen = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).transpose(2, 1, 0, 3)
    with pytest.warns(LimNetWarning, match="no position in the patient"):
        np.testing.assert_array_equal(read_volume(path).array, seen)


def test_a_segmentation_that_dcmqi_writes_is_read_to_the_voxel(tmp_path: Path) -> None:
    program = TOOLS / "itkimage2segimage"
    if not program.exists():
        pytest.skip("dcmqi has no wheel for this machine")
    volume, structure = scene(tmp_path / "scan", 31)
    write_structures(tmp_path / "m.nrrd", [structure], volume)
    code = {"CodingSchemeDesignator": "SCT"}
    segment = {
        "labelID": 1,
        "SegmentLabel": "Leber",
        "SegmentAlgorithmType": "MANUAL",
        "SegmentedPropertyCategoryCodeSequence": code | {"CodeValue": "123037004", "CodeMeaning": "Anatomy"},
        "SegmentedPropertyTypeCodeSequence": code | {"CodeValue": "10200004", "CodeMeaning": "Liver"},
        "recommendedDisplayRGBValue": [221, 130, 101],
    }
    (tmp_path / "about.json").write_text(
        json.dumps({"ContentCreatorName": "Reader", "segmentAttributes": [[segment]]})
    )
    words = ["--inputImageList", tmp_path / "m.nrrd", "--inputDICOMDirectory", tmp_path / "scan"]
    words += ["--inputMetadata", tmp_path / "about.json", "--outputDICOM", tmp_path / "s.dcm"]
    subprocess.run([program, *words], check=True, capture_output=True)
    (back,) = read_structures(tmp_path / "s.dcm", volume)
    assert (back.name, back.colour, back.anatomy) == ("Leber", "#dd8265", "liver")
    np.testing.assert_array_equal(back.mask, structure.mask)


def test_a_structure_set_that_plastimatch_writes_is_read_to_the_voxel(tmp_path: Path) -> None:
    program = TOOLS / "plastimatch"
    if not program.exists():
        pytest.skip("plastimatch has no wheel for this machine")
    volume, structure = scene(tmp_path / "scan", 32)
    write_structures(tmp_path / "m.nrrd", [structure], volume)
    words = ["--input-ss-img", tmp_path / "m.nrrd", "--referenced-ct", tmp_path / "scan"]
    subprocess.run(
        [program, "convert", *words, "--output-dicom", tmp_path / "out"], check=True, capture_output=True
    )
    (path,) = (tmp_path / "out").iterdir()
    (back,) = read_structures(path, volume)
    np.testing.assert_array_equal(back.mask, structure.mask)


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_nothing_is_logged_or_warned_of_while_a_result_is_written(
    kind: Kind, scan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # highdicom quotes such a name, and logs what it copies
    edit(scan.iterdir(), lambda _, header: setattr(header, "PatientName", "SURNAME GIVEN"))
    caplog.set_level(logging.DEBUG)
    written(scan, tmp_path / "s.dcm", two_bars(), kind)
    assert not [r for r in caplog.records if r.name.partition(".")[0] in ("highdicom", "pydicom")]


def test_a_thread_that_is_done_does_not_turn_the_warnings_of_another_on() -> None:
    entered, left = threading.Event(), threading.Event()
    said: list[str] = []

    def read() -> None:
        with guarded("one"):
            entered.set()
            left.wait(10)
            try:
                warnings.warn("SURNAME", UserWarning, stacklevel=1)  # an error here, where nobody silences it
            except UserWarning as warning:
                said.append(str(warning))

    thread = threading.Thread(target=read)
    with guarded("other"):
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join()
    assert not said
    with pytest.raises(UserWarning):
        warnings.warn("on again", UserWarning, stacklevel=1)


def test_a_label_map_segmentation_says_which_voxels_it_could_not_keep(scan: Path, tmp_path: Path) -> None:
    volume = read_volume(scan)
    twice = [two_bars(), Structure.of("same", two_bars().mask)]
    with pytest.warns(LimNetWarning, match="120 voxels belong to several structures"):
        write_structures(tmp_path / "s.dcm", twice, volume, kind="labelmap-seg", source=read_source(scan))


def test_contours_that_are_points_are_passed_by_with_a_word(scan: Path, tmp_path: Path) -> None:
    volume = written(scan, tmp_path / "r.dcm", two_bars(), "rtstruct")
    header = dcmread(tmp_path / "r.dcm")
    for contour in header.ROIContourSequence[0].ContourSequence[:2]:
        contour.ContourGeometricType = "POINT"
    header.save_as(tmp_path / "r.dcm")
    with pytest.warns(LimNetWarning, match="2 contours are points or open lines"):
        (back,) = read_structures(tmp_path / "r.dcm", volume)
    assert back.mask.sum() == 90  # of 120
