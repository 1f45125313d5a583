"""Public data sets are known by their official layouts; what is not complete is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from limnet.errors import CaseError, ConfigError
from limnet.evaluation.cases import CaseFiles, EvaluationSet, TruthObject, objects_of, read_case
from limnet.evaluation.colour_frames import ColourFrames
from limnet.evaluation.datasets import LAYOUTS, find_dataset, recognise

Builder = Callable[[Path], None]


def volume(path: Path, channels: int = 1) -> None:
    """A volume of 4 x 4 x 2 voxels, from 0 on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(32 * channels, dtype=np.int16).reshape(4, 4, 2, channels)
    nibabel.save(nibabel.Nifti1Image(array[..., 0] if channels == 1 else array, np.eye(4)), path)


def labels(path: Path, *found: int) -> None:
    """A label map on the same grid with two voxels of each label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(32, np.uint8)
    for n, label in enumerate(found):
        array[2 * n : 2 * n + 2] = label
    nibabel.save(nibabel.Nifti1Image(array.reshape(4, 4, 2), np.eye(4)), path)


def decathlon(root: Path) -> None:
    task = root / "Task01_BrainTumour"
    volume(task / "imagesTr" / "BRATS_001.nii.gz", channels=4)
    labels(task / "labelsTr" / "BRATS_001.nii.gz", 1, 3)
    (task / "imagesTr" / "._BRATS_001.nii.gz").touch()
    described = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
        "test": ["./imagesTs/BRATS_485.nii.gz"],
    }
    (task / "dataset.json").write_text(json.dumps(described))


def kits19(root: Path) -> None:
    volume(root / "data" / "case_00000" / "imaging.nii.gz")
    labels(root / "data" / "case_00000" / "segmentation.nii.gz", 1, 2)
    volume(root / "data" / "case_00210" / "imaging.nii.gz")  # a test case


def kits21(root: Path) -> None:
    case = root / "kits21" / "data" / "case_00000"
    volume(case / "imaging.nii.gz")
    for vote in ("AND", "MAJ", "OR"):
        labels(case / f"aggregated_{vote}_seg.nii.gz", 1, 2, 3)


def kits23(root: Path) -> None:
    volume(root / "dataset" / "case_00400" / "imaging.nii.gz")
    labels(root / "dataset" / "case_00400" / "segmentation.nii.gz", 1, 2, 3)


def btcv(root: Path) -> None:
    volume(root / "RawData" / "Training" / "img" / "img0001.nii.gz")
    labels(root / "RawData" / "Training" / "label" / "label0001.nii.gz", 6, 13)


def btcv_averaged(root: Path) -> None:
    volume(root / "averaged-training-images" / "DET0000101_avg.nii.gz")
    labels(root / "averaged-training-labels" / "DET0000101_avg_seg.nii.gz", 6, 13)
    volume(root / "averaged-testing-images" / "DET0000301_avg.nii.gz")


def amos(root: Path) -> None:
    for part, name in (("Tr", "amos_0001"), ("Va", "amos_0008"), ("Tr", "amos_0507")):
        volume(root / "amos22" / f"images{part}" / f"{name}.nii.gz")
        labels(root / "amos22" / f"labels{part}" / f"{name}.nii.gz", 9, 15)
    volume(root / "amos22" / "imagesTs" / "amos_0002.nii.gz")
    (root / "amos22" / "dataset.json").write_text(json.dumps({"labels": {"0": "background"}, "training": []}))


def acdc(root: Path) -> None:
    for part, name in (("training", "patient001"), ("testing", "patient101")):
        for frame in ("frame01", "frame12"):
            volume(root / part / name / f"{name}_{frame}.nii.gz")
            labels(root / part / name / f"{name}_{frame}_gt.nii.gz", 1, 3)
        volume(root / part / name / f"{name}_4d.nii.gz", channels=2)
        (root / part / name / "Info.cfg").touch()


def totalsegmentator(root: Path) -> None:
    for name in ("s0000", "s0001"):
        volume(root / name / "ct.nii.gz")
        labels(root / name / "segmentations" / "aorta.nii.gz", *([1] if name == "s0001" else []))
        labels(root / name / "segmentations" / "kidney_left.nii.gz", 1)
    (root / "meta.csv").touch()


def picture(path: Path, *colours: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([colours, colours], np.uint8)).save(path)  # two rows


SHAFT, KIDNEY = (0, 255, 0), (255, 55, 0)
CLASSES = [
    {"name": "background-tissue", "color": [0, 0, 0], "classid": 0},
    {"name": "instrument-shaft", "color": list(SHAFT), "classid": 1},
    {"name": "kidney-parenchyma", "color": list(KIDNEY), "classid": 4},
]


def sequence(place: Path, num_frames: int = 2) -> None:
    for n in range(num_frames):
        picture(place / "left_frames" / f"frame{n:03d}.png", (n, 0, 1), (2, 3, 4))
        picture(place / "right_frames" / f"frame{n:03d}.png", (n, 0, 1), (2, 3, 4))
        picture(place / "labels" / f"frame{n:03d}.png", (0, 0, 0), SHAFT)


def endovis(root: Path) -> None:
    release = root / "miccai_challenge_2018_release_1" / "miccai_challenge_2018_release_1"
    for name in ("seq_1", "seq_2", "seq_10"):
        sequence(release / name)
    (release / "labels.json").write_text(json.dumps(CLASSES))
    sequence(root / "miccai_challenge_2018_release_1" / "__MACOSX" / "seq_3")
    picture(root / "repairs" / "seq_1_frame001.png", KIDNEY, KIDNEY)
    test = root / "test_data" / "test_data"
    sequence(test / "seq_1-20180911T033501Z-1-001" / "seq_1")
    with_alpha = [entry | {"color": [*entry["color"], 128]} for entry in CLASSES]
    (test / "labels.json").write_text(json.dumps({"classes": with_alpha}))


def challenge(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    imgs = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    for name in ("CT_Abdomen_1", "MR_Brain_1"):
        np.savez_compressed(root / f"{name}.npz", imgs=imgs, gts=imgs // 16, spacing=(1.0, 1.0, 5.0))


def challenge_validation(root: Path) -> None:
    for folder in ("3D_val_npz", "3D_val_gt_interactive_seg"):
        (root / folder).mkdir(parents=True)
    imgs = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    np.savez_compressed(root / "3D_val_npz" / "CT_1.npz", imgs=imgs, spacing=(1.0, 1.0, 5.0))
    np.savez_compressed(root / "3D_val_gt_interactive_seg" / "CT_1.npz", gts=imgs // 16)


def plain(root: Path) -> None:
    volume(root / "images" / "a.nii.gz")
    labels(root / "labels" / "a.nii.gz", 5)


def panel(root: Path) -> None:
    plain(root / "hearts")
    plain(root / "lungs")


BUILDERS: dict[str, list[Builder]] = {
    "msd": [decathlon],
    "kits": [kits19, kits21, kits23],
    "btcv": [btcv, btcv_averaged],
    "amos": [amos],
    "acdc": [acdc],
    "totalsegmentator": [totalsegmentator],
    "endovis18": [endovis],
    "cvpr25": [challenge, challenge_validation],
    "plain": [plain],
    "panel": [panel],
}
EACH = [pytest.param(name, build, id=build.__name__) for name in BUILDERS for build in BUILDERS[name]]


def first_objects(a_set: EvaluationSet) -> dict[int, str]:
    """Id and name of the objects of the first case."""
    found = objects_of(read_case(a_set.cases[0], a_set.name), a_set.ids)
    return {item.object_id: item.name for item in found if isinstance(item, TruthObject)}


def built(build: Builder, root: Path, layout: str) -> list[EvaluationSet]:
    build(root)
    return find_dataset(layout, root)


def test_every_layout_is_tested() -> None:
    assert BUILDERS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize(("layout", "build"), EACH)
def test_a_data_set_is_recognised_by_its_layout(layout: str, build: Builder, tmp_path: Path) -> None:
    build(tmp_path)
    assert recognise(tmp_path) == layout


@pytest.mark.parametrize(("layout", "build"), EACH)
def test_every_case_of_a_layout_can_be_read(layout: str, build: Builder, tmp_path: Path) -> None:
    sets = built(build, tmp_path, layout)
    for a_set in sets:
        for files in a_set.cases:
            found = list(objects_of(read_case(files, a_set.name)))
            assert found
            assert all(isinstance(item, TruthObject) for item in found)
    assert not any(a_set.failures for a_set in sets)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_that_are_not_there_are_named_with_what_to_do(layout: str, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(CaseError) as caught:
        find_dataset(layout, absent)
    message = str(caught.value)
    assert message.startswith(f"{absent}: {LAYOUTS[layout].title}: not there; get {LAYOUTS[layout].source}")
    assert message.endswith(f"so that this folder holds {LAYOUTS[layout].expects}")
    assert "\n" not in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_folder_is_no_data_set(layout: str, tmp_path: Path) -> None:
    assert not LAYOUTS[layout].recognises(tmp_path)
    with pytest.raises(CaseError, match="not there"):
        find_dataset(layout, tmp_path)


def test_an_unknown_layout_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data set layout 'kitz'; known: amos, msd, kits"):
        find_dataset("kitz", tmp_path)


def test_a_limit_keeps_the_first_cases_of_each_set(tmp_path: Path) -> None:
    acdc(tmp_path)
    sets = find_dataset("acdc", tmp_path, limit=1)
    assert [[case.name for case in a_set.cases] for a_set in sets] == [
        ["patient001_frame01"],
        ["patient101_frame01"],
    ]


def test_a_decathlon_task_names_its_labels_and_uses_its_first_channel(tmp_path: Path) -> None:
    (only,) = built(decathlon, tmp_path, "msd")
    assert only.name == "Task01_BrainTumour"
    assert only.names == {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
    assert first_objects(only) == {1: "edema", 3: "enhancing tumour"}
    assert read_case(only.cases[0]).volume.array.ravel()[:3].tolist() == [0, 4, 8]


def test_a_decathlon_task_may_be_the_root_itself(tmp_path: Path) -> None:
    decathlon(tmp_path)
    task = tmp_path / "Task01_BrainTumour"
    assert recognise(task) == "msd"
    assert [a_set.name for a_set in find_dataset("msd", task)] == ["Task01_BrainTumour"]


def test_labels_of_a_newer_dataset_json_are_the_other_way_round(tmp_path: Path) -> None:
    decathlon(tmp_path)
    path = tmp_path / "Task01_BrainTumour" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"labels": {"background": 0, "oedema": 1}}))
    assert find_dataset("msd", tmp_path)[0].names == {1: "oedema"}


def test_a_damaged_dataset_json_is_named(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "Task01_BrainTumour" / "dataset.json").write_text("{")
    with pytest.raises(CaseError, match=r"dataset\.json: not JSON"):
        find_dataset("msd", tmp_path)


@pytest.mark.parametrize("build", BUILDERS["kits"])
def test_the_organ_of_kits_is_kidney_tumour_and_cyst_together(build: Builder, tmp_path: Path) -> None:
    (only,) = built(build, tmp_path, "kits")
    voxels = {
        item.name: int(item.truth.sum())
        for item in objects_of(read_case(only.cases[0]))
        if isinstance(item, TruthObject)
    }
    assert only.name == build.__name__
    expected = {"organ": 4, "tumour": 2} if build is kits19 else {"organ": 6, "tumour": 2, "cyst": 2}
    assert voxels == expected


def test_a_case_of_kits_without_labels_is_a_test_case_not_a_failure(tmp_path: Path) -> None:
    (only,) = built(kits19, tmp_path, "kits")
    assert [case.name for case in only.cases] == ["case_00000"]
    assert only.failures == ()


def test_labels_of_kits_whose_images_were_not_downloaded_say_so(tmp_path: Path) -> None:
    labels(tmp_path / "case_00000" / "segmentation.nii.gz", 1)
    with pytest.raises(
        CaseError, match=r"1 cases, none complete \(.*imaging\.nii\.gz: no such file; images come"
    ):
        find_dataset("kits", tmp_path)


def test_a_missing_image_is_a_failure_beside_the_others(tmp_path: Path) -> None:
    kits23(tmp_path)
    labels(tmp_path / "dataset" / "case_00401" / "segmentation.nii.gz", 1)
    (only,) = find_dataset("kits", tmp_path)
    assert [case.name for case in only.cases] == ["case_00400"]
    assert [failure.case for failure in only.failures] == ["case_00401"]


@pytest.mark.parametrize("build", BUILDERS["btcv"])
def test_btcv_has_13_organs_in_either_form(build: Builder, tmp_path: Path) -> None:
    (only,) = built(build, tmp_path, "btcv")
    assert len(only.names) == 13
    assert first_objects(only) == {6: "liver", 13: "left adrenal gland"}


def test_amos_is_apart_by_modality_and_part(tmp_path: Path) -> None:
    sets = built(amos, tmp_path, "amos")
    assert {a_set.name: [case.name for case in a_set.cases] for a_set in sets} == {
        "amos_ct_training": ["amos_0001"],
        "amos_ct_validation": ["amos_0008"],
        "amos_mr_training": ["amos_0507"],
    }
    assert first_objects(sets[0]) == {9: "inferior vena cava", 15: "prostate or uterus"}


def test_acdc_has_two_frames_per_patient(tmp_path: Path) -> None:
    training, testing = built(acdc, tmp_path, "acdc")
    assert (training.name, testing.name) == ("acdc_training", "acdc_testing")
    assert [case.name for case in training.cases] == ["patient001_frame01", "patient001_frame12"]
    assert first_objects(training) == {1: "right ventricle", 3: "left ventricle"}


def test_patients_of_acdc_may_lie_in_the_root(tmp_path: Path) -> None:
    acdc(tmp_path)
    (only,) = find_dataset("acdc", tmp_path / "training")
    assert (only.name, len(only.cases)) == ("acdc", 2)


def test_structures_of_totalsegmentator_have_the_same_id_in_every_subject(tmp_path: Path) -> None:
    (only,) = built(totalsegmentator, tmp_path, "totalsegmentator")
    assert only.name == "totalsegmentator_ct"
    assert only.names == {1: "aorta", 2: "kidney left"}
    assert first_objects(only) == {2: "kidney left"}  # the aorta of s0000 is empty


def test_the_mr_subjects_of_totalsegmentator_are_a_set_of_their_own(tmp_path: Path) -> None:
    totalsegmentator(tmp_path)
    for name in ("s0000", "s0001"):
        (tmp_path / name / "ct.nii.gz").rename(tmp_path / name / "mri.nii.gz")
    (only,) = find_dataset("totalsegmentator", tmp_path)
    assert (only.name, len(only.cases)) == ("totalsegmentator_mr", 2)


def test_a_sequence_of_endovis_is_a_volume_with_an_object_per_class(tmp_path: Path) -> None:
    training, test = built(endovis, tmp_path, "endovis18")
    assert (training.name, test.name) == ("endovis18_training", "endovis18_test")
    assert [case.name for case in training.cases] == ["seq_1", "seq_2", "seq_10"]
    assert training.names == test.names == {1: "instrument-shaft", 4: "kidney-parenchyma"}
    case = read_case(training.cases[1])
    assert (case.volume.shape, case.volume.is_rgb, case.volume.sweep_axis) == ((2, 2, 2), True, 2)
    (shaft,) = objects_of(case)
    assert shaft.truth.all(axis=(1, 2)).tolist() == [False, True]  # the right one of two columns


def test_repaired_labels_of_endovis_count_for_training_alone(tmp_path: Path) -> None:
    training, test = built(endovis, tmp_path, "endovis18")
    assert first_objects(training) == {1: "instrument-shaft", 4: "kidney-parenchyma"}
    assert first_objects(test) == {1: "instrument-shaft"}


def test_a_sequence_that_is_there_twice_is_named(tmp_path: Path) -> None:
    endovis(tmp_path)
    sequence(tmp_path / "again" / "seq_2")
    training = find_dataset("endovis18", tmp_path)[0]
    assert [failure.case for failure in training.failures] == ["seq_2"]
    assert len(training.cases) == 3


def test_a_sequence_without_labels_json_is_named(tmp_path: Path) -> None:
    endovis(tmp_path)
    sequence(tmp_path / "miccai_challenge_release_2" / "seq_5")
    (failure,) = find_dataset("endovis18", tmp_path)[0].failures
    assert failure.case == "seq_5"
    assert "no labels.json beside it or above" in failure.message


def test_colours_of_endovis_come_from_labels_json(tmp_path: Path) -> None:
    truth = built(endovis, tmp_path, "endovis18")[1].cases[0].labels
    assert isinstance(truth, ColourFrames)
    assert truth.colours == (((0, 0, 0), 0), (SHAFT, 1), (KIDNEY, 4))


def test_files_of_the_challenge_are_apart_by_modality(tmp_path: Path) -> None:
    sets = built(challenge, tmp_path, "cvpr25")
    assert [(a_set.name, [case.name for case in a_set.cases]) for a_set in sets] == [
        ("cvpr25_ct", ["CT_Abdomen_1"]),
        ("cvpr25_mr", ["MR_Brain_1"]),
    ]
    path = tmp_path / "CT_Abdomen_1.npz"
    assert sets[0].cases[0] == CaseFiles("CT_Abdomen_1", path, path)


def test_truth_of_the_challenge_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (only,) = built(challenge_validation, tmp_path, "cvpr25")
    assert only.cases[0].labels == tmp_path / "3D_val_gt_interactive_seg" / "CT_1.npz"


def test_a_file_of_the_challenge_without_truth_is_named(tmp_path: Path) -> None:
    challenge(tmp_path)
    np.savez_compressed(tmp_path / "CT_2.npz", imgs=np.zeros((2, 2, 2)), spacing=(1, 1, 1))
    (failure,) = find_dataset("cvpr25", tmp_path)[0].failures
    assert (failure.case, "no 'gts' there" in failure.message) == ("CT_2", True)


def test_a_set_of_a_panel_without_labels_is_not_passed_over(tmp_path: Path) -> None:
    panel(tmp_path)
    volume(tmp_path / "spleens" / "images" / "a.nii.gz")
    sets = find_dataset("panel", tmp_path)
    assert [(a_set.name, len(a_set.cases), len(a_set.failures)) for a_set in sets] == [
        ("hearts", 1, 0),
        ("lungs", 1, 0),
        ("spleens", 0, 1),
    ]
