"""Results out: DICOM-SEG, RTSTRUCT, label maps with names and colours; and the command for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dicom_files import write_series
from limnet.cli import main
from limnet.errors import ConfigError, GeometryError, LimNetWarning, OutputError, VolumeError
from limnet.volume import Volume, read_volume, write_mask
from limnet.volume.dicom.anatomy import ANATOMY, anatomy_of
from limnet.volume.dicom.source import Source, read_source
from limnet.volume.exchange import Kind, read_structures, start_mask, write_structures
from limnet.volume.structure import Structure

AFFINE = np.array([[-0.8, 0, 0, 50], [0, -0.6, 0, 40], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
DICOM_KINDS: list[Kind] = ["seg", "labelmap-seg", "rtstruct"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "scan"
    voxels = np.random.default_rng(0).integers(-100, 900, (14, 12, 6)).astype(np.int16)
    write_series(folder, voxels, AFFINE)
    return folder


@pytest.fixture(scope="module")
def volume(scan: Path) -> Volume:
    return read_volume(scan)


@pytest.fixture(scope="module")
def source(scan: Path) -> Source:
    return read_source(scan)


def boxes(shape: tuple[int, int, int]) -> list[Structure]:
    """A liver and a left kidney, apart from each other."""
    one, two = np.zeros(shape, bool), np.zeros(shape, bool)
    one[2:7, 3:8, 1:5] = True
    two[9:12, 2:9, 2:6] = True
    return [
        Structure.of("Liver, right lobe", one, "#ff8800", "liver"),
        Structure.of("Kidney", two, "#0044ff", "kidney-left"),
    ]


FILES: list[tuple[str, Kind]] = [
    *(("x.seg.nrrd", "labels"), ("x.nii.gz", "labels"), ("x.mha", "labels")),
    *(("a.dcm", "seg"), ("b.dcm", "labelmap-seg"), ("c.dcm", "rtstruct")),
]


@pytest.mark.parametrize(("file", "kind"), FILES)
def test_masks_names_and_colours_come_back(
    file: str, kind: Kind, volume: Volume, source: Source, tmp_path: Path
) -> None:
    structures = boxes(volume.shape)
    write_structures(tmp_path / file, structures, volume, kind=kind, source=source)
    back = read_structures(tmp_path / file, volume)
    assert [s.name for s in back] == [s.name for s in structures]
    for one, other in zip(back, structures, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert np.abs(np.array(one.rgb) - other.rgb).max() <= 1  # CIELab of 16 bits is not quite RGB


@pytest.mark.parametrize("kind", ["seg", "labelmap-seg"])
def test_a_segmentation_says_what_its_segments_are_in_codes(
    kind: Kind, volume: Volume, source: Source, tmp_path: Path
) -> None:
    write_structures(tmp_path / "s.dcm", boxes(volume.shape), volume, kind=kind, source=source)
    liver, kidney = dcmread(tmp_path / "s.dcm").SegmentSequence[-2:]
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert liver.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert [s.anatomy for s in read_structures(tmp_path / "s.dcm", volume)] == ["liver", "kidney-left"]


@pytest.mark.parametrize("kind", DICOM_KINDS)
def test_a_dicom_result_refers_to_patient_study_and_every_instance_of_its_series(
    kind: Kind, volume: Volume, source: Source, scan: Path, tmp_path: Path
) -> None:
    write_structures(tmp_path / "s.dcm", boxes(volume.shape), volume, kind=kind, source=source)
    result, first = dcmread(tmp_path / "s.dcm"), dcmread(scan / "IM0000")
    assert (result.PatientID, result.StudyInstanceUID) == (first.PatientID, first.StudyInstanceUID)
    said = str(result)
    assert first.SeriesInstanceUID in said
    assert first.FrameOfReferenceUID in said
    drawn = [dcmread(scan / f"IM000{k}").SOPInstanceUID for k in range(1, 6)]
    assert all(uid in said for uid in drawn)


def test_overlapping_structures_both_keep_their_voxels_in_a_binary_segmentation(
    volume: Volume, source: Source, tmp_path: Path
) -> None:
    one, _ = boxes(volume.shape)
    both = [one, Structure.of("inside", one.mask)]
    write_structures(tmp_path / "s.dcm", both, volume, kind="seg", source=source)
    for back in read_structures(tmp_path / "s.dcm", volume):
        np.testing.assert_array_equal(back.mask, one.mask)


def test_a_label_map_gives_shared_voxels_to_the_last_structure_and_says_so(
    volume: Volume, tmp_path: Path
) -> None:
    one, _ = boxes(volume.shape)
    with pytest.warns(LimNetWarning, match="100 voxels belong to several structures"):
        write_structures(tmp_path / "s.nii.gz", [one, Structure.of("inside", one.mask)], volume)


def test_3d_slicers_header_names_every_segment(volume: Volume, tmp_path: Path) -> None:
    write_structures(tmp_path / "s.seg.nrrd", boxes(volume.shape), volume)
    image = SimpleITK.ReadImage(str(tmp_path / "s.seg.nrrd"))
    assert image.GetMetaData("Segment0_Name") == "Liver, right lobe"
    assert image.GetMetaData("Segment1_LabelValue") == "2"
    assert image.GetMetaData("Segment1_Extent") == "9 11 2 8 2 5"
    assert [float(n) for n in image.GetMetaData("Segment0_Color").split()] == pytest.approx(
        [1, 0.5333, 0], abs=1e-3
    )


def test_3d_slicers_own_reader_finds_names_colours_codes_and_places(volume: Volume, tmp_path: Path) -> None:
    import slicerio  # by the developers of 3D Slicer

    structures = boxes(volume.shape)
    write_structures(tmp_path / "s.seg.nrrd", structures, volume)
    read = slicerio.read_segmentation(str(tmp_path / "s.seg.nrrd"))
    assert [part["name"] for part in read["segments"]] == ["Liver, right lobe", "Kidney"]
    assert np.allclose(read["segments"][0]["color"], (1, 0x88 / 255, 0), atol=1e-5)
    meanings = [part["terminology"] for part in read["segments"]]
    assert meanings[0]["type"] == ["SCT", "10200004", "Liver"]
    assert "typeModifier" not in meanings[0]
    assert meanings[1]["category"] == ["SCT", "123037004", "Anatomical Structure"]
    assert meanings[1]["type"] == ["SCT", "64033007", "Kidney"]
    assert meanings[1]["typeModifier"] == ["SCT", "7771000", "Left"]
    for part, structure in zip(read["segments"], structures, strict=True):
        np.testing.assert_array_equal(read["voxels"] == part["labelValue"], structure.mask)
    np.testing.assert_allclose(read["ijkToLPS"], np.diag([-1, -1, 1, 1]) @ volume.affine, atol=1e-6)
    assert [part.anatomy for part in read_structures(tmp_path / "s.seg.nrrd", volume)] == [
        "liver",
        "kidney-left",
    ]


def test_a_segmentation_that_3d_slicers_developers_write_is_read_with_its_names(
    volume: Volume, tmp_path: Path
) -> None:
    import slicerio

    one, two = boxes(volume.shape)
    segments = [
        {"name": part.name, "labelValue": value, "color": [n / 255 for n in part.rgb]}
        for part, value in ((one, 7), (two, 3))
    ]
    segments[1]["terminology"] = {
        "contextName": "Segmentation category and type - 3D Slicer General Anatomy list",
        "category": ["SCT", "123037004", "Anatomical Structure"],
        "type": ["SCT", "64033007", "Kidney"],
        "typeModifier": ["SCT", "24028007", "Right"],
    }
    voxels = (one.mask * 7 + two.mask * 3).astype(np.uint8)
    lps = np.diag([-1, -1, 1, 1]) @ volume.affine
    made = {"voxels": voxels, "ijkToLPS": lps, "encoding": "gzip", "segments": segments}
    slicerio.write_segmentation(str(tmp_path / "s.seg.nrrd"), made)
    kidney, liver = read_structures(tmp_path / "s.seg.nrrd", volume)  # in the order of their values
    assert (kidney.name, kidney.colour, kidney.anatomy) == ("Kidney", "#0044ff", "kidney-right")
    assert (liver.name, liver.colour, liver.anatomy) == ("Liver, right lobe", "#ff8800", "")
    np.testing.assert_array_equal(liver.mask, one.mask)


def test_itk_snaps_description_lies_beside_a_nifti(volume: Volume, tmp_path: Path) -> None:
    write_structures(tmp_path / "s.nii.gz", boxes(volume.shape), volume)
    lines = (tmp_path / "s.labels.txt").read_text().splitlines()
    assert lines[-2].split(None, 7) == ["1", "255", "136", "0", "1", "1", "1", '"Liver, right lobe"']


def test_every_code_is_in_pydicoms_dictionary() -> None:
    from pydicom.sr._concepts_dict import concepts

    known: dict[str, set[str]] = {"123037004": {"anatomical structure"}}  # as CID 7150 of the standard has it
    for versions in concepts["SCT"].values():
        for value, (meaning, _) in versions.items():
            known.setdefault(value, set()).add(meaning.lower())
    for anatomy in ANATOMY.values():
        for code in filter(None, (anatomy.category, anatomy.kind, anatomy.side)):
            assert code.meaning.lower() in known[code.value]


def test_an_unknown_anatomy_is_answered_with_near_names() -> None:
    with pytest.raises(ConfigError, match="'livr' is not known; did you mean liver"):
        anatomy_of("livr")


def test_nothing_is_written_of_empty_masks(volume: Volume, source: Source, tmp_path: Path) -> None:
    empty = [Structure.of("nothing", np.zeros(volume.shape, bool))]
    for kind in DICOM_KINDS:
        with pytest.raises(OutputError, match="every structure is empty"):
            write_structures(tmp_path / "s.dcm", empty, volume, kind=kind, source=source)
    assert not list(tmp_path.iterdir())


def test_a_volume_that_is_not_the_series_is_refused(volume: Volume, source: Source, tmp_path: Path) -> None:
    other = Volume(volume.array, volume.affine + np.diag([0.1, 0, 0, 0]))
    with pytest.raises(GeometryError, match="is not this series"):
        write_structures(tmp_path / "s.dcm", boxes(volume.shape), other, kind="seg", source=source)


def test_a_film_has_no_place_for_a_dicom_result() -> None:
    with pytest.raises(OutputError, match="without position in the patient"), pytest.warns(LimNetWarning):
        read_source(get_testdata_file("examples_ybr_color.dcm"))


def test_a_multi_frame_series_takes_results_too(tmp_path: Path) -> None:
    from dicom_files import save
    from test_dicom_series import enhanced

    save(enhanced(), tmp_path / "enhanced.dcm")
    volume, source = read_volume(tmp_path / "enhanced.dcm"), read_source(tmp_path / "enhanced.dcm")
    mask = np.zeros(volume.shape, bool)
    mask[1:4, 2:5, 1:3] = True
    write_structures(tmp_path / "s.dcm", [Structure.of("a", mask)], volume, kind="rtstruct", source=source)
    np.testing.assert_array_equal(start_mask(tmp_path / "s.dcm", volume), mask)


def test_a_session_starts_from_one_structure_only(volume: Volume, source: Source, tmp_path: Path) -> None:
    write_structures(tmp_path / "s.dcm", boxes(volume.shape), volume, kind="seg", source=source)
    with pytest.raises(VolumeError, match=r"2 structures \(Liver, right lobe, Kidney\), must be one"):
        start_mask(tmp_path / "s.dcm", volume)


def test_other_dicom_objects_are_no_segmentations(volume: Volume) -> None:
    with pytest.raises(VolumeError, match=r"DICOM, but no segmentation \(CT Image Storage"):
        read_structures(get_testdata_file("CT_small.dcm"), volume)


def test_export_turns_a_mask_into_a_named_segmentation(
    scan: Path, volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mask(tmp_path / "m.nii.gz", boxes(volume.shape)[0].mask, like=volume)
    words = ["export", str(scan), "--mask", str(tmp_path / "m.nii.gz"), "-o", str(tmp_path / "s.dcm")]
    assert main([*words, "--anatomy", "liver"]) == 0
    assert "liver  0.12 ml" in capsys.readouterr().out  # 5 x 5 x 4 voxels of 1.2 mm3
    (back,) = read_structures(tmp_path / "s.dcm", volume)
    assert (back.name, back.anatomy) == ("liver", "liver")


def test_export_puts_the_mask_of_a_conversion_back_on_its_series(
    scan: Path, volume: Volume, tmp_path: Path
) -> None:
    mask = boxes(volume.shape)[0].mask
    flipped = volume.affine.copy()
    flipped[:, 3] += flipped[:, 1] * (volume.shape[1] - 1)
    flipped[:, 1] *= -1  # as dcm2niix flips rows
    nifti = Volume(volume.array[:, ::-1], flipped)
    write_mask(tmp_path / "scan.nii.gz", (nifti.array > 400).astype(np.uint8), like=nifti)
    write_mask(tmp_path / "m.nii.gz", mask[:, ::-1], like=nifti)
    words = [
        "export",
        str(tmp_path / "scan.nii.gz"),
        "--mask",
        str(tmp_path / "m.nii.gz"),
        "--dicom",
        str(scan),
    ]
    assert main([*words, "-o", str(tmp_path / "s.dcm"), "--kind", "rtstruct"]) == 0
    np.testing.assert_array_equal(start_mask(tmp_path / "s.dcm", volume), mask)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "s.dcm"], "nothing to export"),
        (["-o", "s.dcm", "--mask", "m.nii", "--anatomy", "livr"], "did you mean liver"),
        (["-o", "s.nii", "--mask", "m.nii", "--kind", "seg"], "goes with .dcm"),
        (["-o", "s.dcm", "--mask", "missing.nii"], "no such file"),
    ],
)
def test_export_refuses_in_words(
    words: list[str], said: str, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(scan), *words]) == 2
    assert said in capsys.readouterr().err


def test_export_writes_the_objects_of_a_journal(scan: Path, volume: Volume, tmp_path: Path) -> None:
    from limnet.annotation import Annotation
    from limnet.journal import Journal

    mask = boxes(volume.shape)[0].mask
    with Journal.create(tmp_path / "work.journal", volume) as journal:
        annotation = Annotation(volume, journal=journal)
        annotation.add("Liver", "#112233").session.start_from(mask)
    words = [
        "export",
        str(scan),
        "--journal",
        str(tmp_path / "work.journal"),
        "-o",
        str(tmp_path / "s.seg.nrrd"),
    ]
    assert main(words) == 0
    (back,) = read_structures(tmp_path / "s.seg.nrrd", volume)
    assert (back.name, back.colour) == ("Liver", "#112233")
    np.testing.assert_array_equal(back.mask, mask)


def test_segment_starts_from_a_segmentation_and_corrects_it(
    scan: Path, volume: Volume, tmp_path: Path
) -> None:
    mask = boxes(volume.shape)[0].mask
    write_structures(
        tmp_path / "s.dcm", [Structure.of("a", mask)], volume, kind="seg", source=read_source(scan)
    )
    words = ["segment", str(scan), "-o", str(tmp_path / "m.nii.gz"), "--start", str(tmp_path / "s.dcm")]
    x, y, z, _ = volume.affine @ (4, 5, 3, 1)
    assert main([*words, "--click-mm", f"{-x},{-y},{z}", "--lps", "--threads", "1"]) == 0
    (back,) = read_structures(tmp_path / "m.nii.gz", volume)
    assert back.mask[4, 5, 3]


def test_a_dicom_result_without_a_series_is_told_how_to_name_one(
    volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mask(tmp_path / "scan.nii", (volume.array > 400).astype(np.uint8), like=volume)
    words = ["export", str(tmp_path / "scan.nii"), "--mask", str(tmp_path / "scan.nii")]
    assert main([*words, "-o", str(tmp_path / "s.dcm")]) == 2
    assert "name the one it was made from (--dicom FOLDER" in capsys.readouterr().err
    assert not (tmp_path / "s.dcm").exists()


def test_segment_refuses_a_name_it_cannot_write_before_it_starts(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["segment", str(scan), "-o", str(tmp_path / "m.dcm"), "--click", "1,2,3"]) == 2
    said = capsys.readouterr()
    assert "limnet export makes DICOM of it" in said.err
    assert not said.out  # no round was played


def test_segments_that_overlap_in_3d_slicer_all_come_in_whole(volume: Volume, tmp_path: Path) -> None:
    import slicerio

    one, two = boxes(volume.shape)
    inner = Structure.of("core", one.mask & (np.arange(14) < 5)[:, None, None], "#00ff00")
    segments = [
        {"name": part.name, "labelValue": value, "layer": layer, "color": [n / 255 for n in part.rgb]}
        for part, value, layer in ((one, 1, 0), (two, 2, 0), (inner, 1, 1))
    ]
    layers = np.stack([one.mask * 1 + two.mask * 2, inner.mask * 1]).astype(np.uint8)
    lps = np.diag([-1, -1, 1, 1]) @ volume.affine
    made = {"voxels": layers, "ijkToLPS": lps, "encoding": "gzip", "segments": segments}
    slicerio.write_segmentation(str(tmp_path / "s.seg.nrrd"), made)
    back = read_structures(tmp_path / "s.seg.nrrd", volume)
    for read, part in zip(back, (one, two, inner), strict=True):
        assert (read.name, read.colour) == (part.name, part.colour)
        np.testing.assert_array_equal(read.mask, part.mask)
