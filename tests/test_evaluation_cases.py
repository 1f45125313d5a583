"""Cases are found by name, read one at a time, and whatever does not fit is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from limnet.errors import CaseError, GeometryError, LimNetWarning, VolumeError
from limnet.evaluation.cases import (
    CaseFiles,
    NamedObject,
    Skipped,
    TruthObject,
    find_set,
    objects_of,
    read_case,
    select,
)
from limnet.evaluation.colour_frames import ColourFrames
from limnet.evaluation.truth import MaskFile
from limnet.volume import Volume, write_mask


def write(path: Path, array: np.ndarray, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, array, like=Volume(array, np.diag([spacing, spacing, spacing, 1.0])))
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_are_matched_by_name_whatever_their_format(tmp_path: Path) -> None:
    images, labels = tmp_path / "hearts" / "images", tmp_path / "hearts" / "labels"
    touch(
        images / "b.nii.gz", images / "a.1.png", images / "SOURCE.md", labels / "b.mha", labels / "a.1.nii.gz"
    )
    found = find_set(images, labels)
    assert found.name == "hearts"
    assert found.cases == (
        CaseFiles("a.1", images / "a.1.png", labels / "a.1.nii.gz"),
        CaseFiles("b", images / "b.nii.gz", labels / "b.mha"),
    )
    assert found.failures == ()


def test_a_folder_of_frames_is_one_image(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "video.1" / "0.png", tmp_path / "labels" / "video.1.nii.gz")
    (only,) = find_set(tmp_path / "images", tmp_path / "labels").cases
    assert only.name == "video.1"


def test_files_without_a_partner_are_failures_that_name_them(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images / "a.nii.gz", images / "b.nii.gz", labels / "b.nii.gz", labels / "c.nii.gz")
    found = find_set(images, labels)
    assert [files.name for files in found.cases] == ["b"]
    assert [failure.case for failure in found.failures] == ["a", "c"]
    assert str(images / "a.nii.gz") in found.failures[0].message
    assert str(labels / "c.nii.gz") in found.failures[1].message


def test_two_files_of_one_name_are_a_failure(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images / "a.nii.gz", images / "a.mha", labels / "a.nii.gz")
    (failure,) = find_set(images, labels).failures
    assert "2 files are called 'a'" in failure.message


def test_a_limit_keeps_the_first_cases(tmp_path: Path) -> None:
    for name in "cab":
        touch(tmp_path / "images" / f"{name}.nii.gz", tmp_path / "labels" / f"{name}.nii.gz")
    found = find_set(tmp_path / "images", tmp_path / "labels", limit=2)
    assert [files.name for files in found.cases] == ["a", "b"]


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(CaseError, match="no such folder"):
        find_set(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels").mkdir()
    with pytest.raises(CaseError, match="no image in it"):
        find_set(tmp_path / "images", tmp_path / "labels")


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "images" / "a.nii.gz", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    labels = write(tmp_path / "labels" / "a.nii.gz", np.ones((4, 4, 5), np.uint8))
    with pytest.raises(GeometryError, match="shape"):
        read_case(CaseFiles("a", image, labels))


def test_objects_that_are_empty_or_too_small_are_skipped_with_a_reason(tmp_path: Path) -> None:
    image = write(tmp_path / "i.nii.gz", np.arange(1000, dtype=np.int16).reshape(10, 10, 10), spacing=2.0)
    label_map = np.zeros((10, 10, 10), np.uint8)
    label_map[0:5, 0:5, 0:5] = 2  # 125 voxels of 8 mm³: 1 ml
    label_map[9, 9, 9] = 3
    case = read_case(CaseFiles("a", image, write(tmp_path / "l.nii.gz", label_map, spacing=2.0)), "set")
    first, second, third = objects_of(case, ids=(1, 2, 3), min_ml=0.5)
    assert first == Skipped("set", "a", 1, "empty in truth")
    assert isinstance(second, TruthObject)
    assert second.volume_ml == pytest.approx(1.0)
    assert second.truth.sum() == 125
    assert third == Skipped("set", "a", 3, "0.01 ml, smaller than 0.5 ml")


def test_every_label_but_the_background_is_an_object(tmp_path: Path) -> None:
    array = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    case = read_case(CaseFiles("a", write(tmp_path / "i.nii.gz", array), write(tmp_path / "l.nii.gz", array)))
    assert [item.object_id for item in objects_of(case)] == [1, 2, 3, 4, 5, 6, 7]


RAMP = np.arange(64, dtype=np.int16).reshape(4, 4, 4)


def label_map(**voxels: int) -> np.ndarray:
    """As many voxels of a label as asked for, label1=3, from the first voxel on; 4 x 4 x 4 in all."""
    flat = np.zeros(64, np.uint8)
    start = 0
    for name, count in voxels.items():
        flat[start : start + count] = int(name.removeprefix("label"))
        start += count
    return flat.reshape(4, 4, 4)


def test_several_labels_can_make_one_object(tmp_path: Path) -> None:
    image, labels = write(tmp_path / "i.nii", RAMP), write(tmp_path / "l.nii", label_map(label1=5, label2=3))
    organ, tumour = NamedObject(1, "organ", (1, 2)), NamedObject(2, "tumour", (2,))
    found = list(objects_of(read_case(CaseFiles("a", image, labels, (organ, tumour)))))
    assert all(isinstance(item, TruthObject) for item in found)
    assert [(item.object_id, item.name, item.truth.sum()) for item in found] == [
        (1, "organ", 8),
        (2, "tumour", 3),
    ]


def test_declared_objects_that_are_not_in_a_case_are_passed_over(tmp_path: Path) -> None:
    image, labels = write(tmp_path / "i.nii", RAMP), write(tmp_path / "l.nii", label_map(label2=3))
    declared = (NamedObject(1, "spleen", (1,)), NamedObject(2, "liver", (2,)))
    case = read_case(CaseFiles("a", image, labels, declared), "set")
    assert [item.object_id for item in objects_of(case)] == [2]
    assert next(objects_of(case, ids=(1,))) == Skipped("set", "a", 1, "empty in truth")


def test_a_case_without_any_object_is_skipped_by_name(tmp_path: Path) -> None:
    image, labels = write(tmp_path / "i.nii", RAMP), write(tmp_path / "l.nii", label_map())
    case = read_case(CaseFiles("a", image, labels), "set")
    assert list(objects_of(case)) == [Skipped("set", "a", None, "no object in its truth")]


def test_an_object_that_the_set_does_not_declare_is_skipped_with_those_it_has(tmp_path: Path) -> None:
    image, labels = write(tmp_path / "i.nii", RAMP), write(tmp_path / "l.nii", label_map(label1=3, label9=2))
    case = read_case(CaseFiles("a", image, labels, (NamedObject(1, "spleen", (1,)),)), "set")
    (only,) = objects_of(case, ids=(9,))
    assert only == Skipped("set", "a", 9, "no such object; the set has 1 spleen")


def test_ids_that_a_set_does_not_declare_fail_once_for_the_set(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.nii", tmp_path / "labels" / "a.nii")
    named = replace(
        find_set(tmp_path / "images", tmp_path / "labels", name="set"), names={1: "organ", 2: "tumour"}
    )
    chosen = select(named, ids=(2, 7), min_ml=1.5)
    assert (chosen.ids, chosen.min_ml, len(chosen.cases)) == ((2,), 1.5, 1)
    assert [(item.object_id, item.message) for item in chosen.failures] == [
        (7, "no object 7; the set has 1 organ, 2 tumour")
    ]


def test_no_case_remains_when_all_ids_are_unknown(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.nii", tmp_path / "labels" / "a.nii")
    named = replace(find_set(tmp_path / "images", tmp_path / "labels"), names={1: "organ"})
    assert select(named, ids=(7,)).cases == ()


def test_a_set_without_names_takes_any_id(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "a.nii", tmp_path / "labels" / "a.nii")
    chosen = select(find_set(tmp_path / "images", tmp_path / "labels"), ids=(7,))
    assert (chosen.ids, chosen.failures) == ((7,), ())


def test_objects_with_a_file_each_may_overlap(tmp_path: Path) -> None:
    image = write(tmp_path / "i.nii", RAMP)
    one = write(tmp_path / "one.nii", label_map(label1=5))
    two = write(tmp_path / "two.nii", label_map(label1=8))
    declared = (NamedObject(1, "one", (1,)), NamedObject(2, "two", (2,)))
    files = CaseFiles("a", image, (MaskFile(1, one), MaskFile(2, two)), declared)
    assert [item.truth.sum() for item in objects_of(read_case(files))] == [5, 8]


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    image = write(tmp_path / "i.nii", RAMP)
    mask = MaskFile(1, write(tmp_path / "one.nii", label_map(label1=5), spacing=2.0))
    with pytest.raises(GeometryError, match="not on the grid"):
        list(objects_of(read_case(CaseFiles("a", image, (mask,)))))


def test_one_channel_of_an_image_with_four_axes_is_the_volume(tmp_path: Path) -> None:
    channels = np.stack([RAMP, RAMP * 10], axis=-1)
    nibabel.save(nibabel.Nifti1Image(channels, np.diag([1.0, 2.0, 3.0, 1.0])), tmp_path / "i.nii.gz")
    labels = tmp_path / "l.nii.gz"
    write_mask(labels, label_map(label1=3), like=Volume(RAMP, np.diag([1.0, 2.0, 3.0, 1.0])))
    case = read_case(CaseFiles("a", tmp_path / "i.nii.gz", labels, channel=1))
    assert np.array_equal(case.volume.array, RAMP * 10)
    assert case.volume.spacing == (1.0, 2.0, 3.0)


def test_a_channel_that_is_not_there_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.stack([RAMP, RAMP], axis=-1), np.eye(4)), tmp_path / "i.nii.gz")
    with pytest.raises(VolumeError, match=r"\(4, 4, 4, 2\), must be .* with channel 2"):
        read_case(CaseFiles("a", tmp_path / "i.nii.gz", tmp_path / "l.nii.gz", channel=2))


RED, GREEN = (255, 0, 0), (0, 255, 0)


def save_frame(path: Path, colours: list[list[tuple[int, int, int]]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(colours, np.uint8)).save(path)
    return path


def video(tmp_path: Path, number: int = 2) -> CaseFiles:
    """Frames of 3 x 1 pixels; in all label frames the middle pixel is red, the others are black."""
    for n in range(number):
        save_frame(tmp_path / "frames" / f"frame{n}.png", [[(n, 1, 2), (3, 4, 5), (6, 7, 8)]])
        save_frame(tmp_path / "truth" / f"frame{n}.png", [[(0, 0, 0), RED, (0, 0, 0)]])
    truth = ColourFrames(tmp_path / "truth", (((0, 0, 0), 0), (RED, 1), (GREEN, 2)))
    return CaseFiles("video", tmp_path / "frames", truth)


def test_coloured_frames_are_labels_whose_last_axis_is_time(tmp_path: Path) -> None:
    case = read_case(video(tmp_path))
    (only,) = objects_of(case)
    assert case.volume.is_rgb
    assert only.truth.tolist() == [[[False, False]], [[True, True]], [[False, False]]]  # (3, 1, 2)


def test_frames_are_matched_by_name_in_natural_order(tmp_path: Path) -> None:
    files = video(tmp_path, 11)
    save_frame(tmp_path / "truth" / "frame10.png", [[GREEN, GREEN, GREEN]])
    (_, green) = objects_of(read_case(files))
    assert np.flatnonzero(green.truth.any(axis=(0, 1))).tolist() == [10]


def test_a_repaired_frame_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    files = video(tmp_path)
    repaired = save_frame(tmp_path / "repairs" / "seq_1_frame1.png", [[GREEN, RED, RED]])
    truth = replace(files.labels, repaired=(("frame1", repaired),))
    (red, green) = objects_of(read_case(replace(files, labels=truth)))
    assert (red.truth.sum(), green.truth.sum()) == (3, 1)


def test_a_video_frame_without_labels_is_named(tmp_path: Path) -> None:
    files = video(tmp_path)
    (tmp_path / "truth" / "frame1.png").unlink()
    with pytest.raises(CaseError, match=r"1 of 2 frames \(missing: frame1\)"):
        read_case(files)


def test_colours_without_a_meaning_are_counted_and_become_background(tmp_path: Path) -> None:
    files = video(tmp_path)
    save_frame(tmp_path / "truth" / "frame1.png", [[(1, 1, 1), RED, (1, 1, 1)]])
    with pytest.warns(LimNetWarning, match="2 pixels of colours that labels.json does not name"):
        case = read_case(files)
    assert case.truth.labels == (1,)


def test_files_of_a_case_can_be_sent_to_another_process(tmp_path: Path) -> None:
    files = video(tmp_path)
    assert pickle.loads(pickle.dumps(files)) == files
