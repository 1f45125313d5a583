"""Training cases from folders: which files, which objects, and what is left out."""
# torch is optional: the imports below come after the check for it

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from doubles import volume_of

pytest.importorskip("torch")

from limnet.errors import CaseError, LimNetWarning
from limnet.training.cases import MAX_COMPONENTS, MAX_OBJECTS, case_of, read_cases, training_objects

LABELS = np.zeros((12, 10, 8), np.uint8)
LABELS[1:5, 1:5, 1:5] = 3  # 64 voxels
LABELS[7:11, 2:6, 2:6] = 7  # 64 voxels
LABELS[11, 9, 7] = 9  # one voxel
IMAGE = np.random.default_rng(0).normal(0, 50, LABELS.shape).astype(np.float32)


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def test_objects_are_the_labels_that_are_large_enough() -> None:
    objects = training_objects(LABELS)
    assert [(o.label, o.voxels) for o in objects] == [(3, 64), (7, 64)]
    assert objects[0].box == (slice(1, 5),) * 3
    assert [o.label for o in training_objects(LABELS, min_voxels=1)] == [3, 7, 9]


def test_ids_of_any_size_become_small_numbers() -> None:
    wide = LABELS.astype(np.int32) * 100_000
    case = case_of("a", "set", volume_of(IMAGE), wide, (1, 1, 1))
    assert case.labels.dtype == np.uint8
    np.testing.assert_array_equal(
        case.labels, np.searchsorted([3, 7, 9], LABELS) * (LABELS > 0) + (LABELS > 0)
    )


def test_of_too_many_labels_the_largest_are_kept() -> None:
    labels = np.arange(1, 301).repeat(2).reshape(600, 1, 1)
    labels[:60] = 1  # larger than the rest
    case = case_of("a", "set", None, labels, (1, 1, 1))
    assert len(np.unique(case.labels)) <= MAX_OBJECTS + 1
    assert (case.labels[:60] == case.labels[0]).all() and case.labels[0] > 0


def test_components_become_objects_of_their_own() -> None:
    case = case_of("a", "set", None, LABELS, (1, 1, 1), split_components=True)
    assert sorted(o.voxels for o in case.objects) == [64, 64]
    dots = np.zeros((60, 60, 1), np.uint8)
    dots[::4, ::4] = 1
    assert case_of("a", "set", None, dots, (1, 1, 1), split_components=True).labels.max() == MAX_COMPONENTS


def test_negative_ids_are_background() -> None:
    case = case_of("a", "set", None, np.where(LABELS == 3, -1, LABELS.astype(np.int16)), (1, 1, 1))
    assert [o.voxels for o in case.objects] == [64]


def test_intensities_are_scaled_and_rare_extremes_clipped() -> None:
    image = np.random.default_rng(0).normal(0, 50, (40, 40, 40))
    image[0, 0, 0], image[1, 1, 1] = 1e6, -1e6
    case = case_of("a", "set", volume_of(image), np.ones((40, 40, 40), np.uint8), (1, 1, 1))
    assert case.image is not None
    assert (case.image.min(), case.image.max(), case.image.dtype) == (0, 1, np.float16)
    assert np.median(case.image) == pytest.approx(0.5, abs=0.05)


def test_a_folder_of_sets_is_read_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write(tmp_path / "one" / "images" / f"{name}.nii.gz", IMAGE)
        write(tmp_path / "one" / "labels" / f"{name}.nii.gz", LABELS)
    write(tmp_path / "maps" / "c.nii.gz", LABELS)
    cases = list(read_cases(tmp_path))
    assert [(case.group, case.name, case.image is None) for case in cases] == [
        ("maps", "c", True),
        ("one", "a", False),
        ("one", "b", False),
    ]
    assert cases[0].spacing == (1, 1, 2)
    assert [o.voxels for o in cases[1].objects] == [64, 64]


def test_excluded_cases_are_not_read(tmp_path: Path) -> None:
    for name in ("brain1", "brain10"):
        write(tmp_path / "maps" / f"{name}.nii.gz", LABELS)
    assert [case.name for case in read_cases(tmp_path, exclude=["brain1"])] == ["brain10"]


def test_a_case_that_cannot_be_used_is_named_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "one" / "images" / "good.nii.gz", IMAGE)
    for name in ("good", "alone", "shorter"):
        write(tmp_path / "one" / "labels" / f"{name}.nii.gz", LABELS)
    write(tmp_path / "one" / "images" / "shorter.nii.gz", IMAGE[:5])
    with pytest.warns(LimNetWarning) as warned:
        cases = list(read_cases(tmp_path))
    assert [case.name for case in cases] == ["good"]
    text = " ".join(str(w.message) for w in warned)
    assert "alone.nii.gz: no image of that name" in text
    assert "shorter" in text


def test_a_folder_without_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"no training cases; expected SET/images/CASE\.nii\.gz") as error:
        list(read_cases(tmp_path))
    assert str(error.value).startswith(str(tmp_path))
