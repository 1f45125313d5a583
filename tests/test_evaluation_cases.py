"""Cases are found by name, read one at a time, and whatever does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limnet.errors import CaseError, ConfigError, GeometryError
from limnet.evaluation.cases import CaseFiles, Skipped, TruthObject, find_set, objects_of, read_case
from limnet.evaluation.panel import PanelRecipe, SetRecipe, panel_sets, read_panel
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


def test_a_panel_is_every_set_below_the_root_as_its_recipe_says(tmp_path: Path) -> None:
    for name in ("heart", "abdomen"):
        touch(tmp_path / name / "images" / "a.nii.gz", tmp_path / name / "labels" / "a.nii.gz")
    touch(tmp_path / "README.md")
    recipe = PanelRecipe(sets=(SetRecipe(name="abdomen", ids=(1, 5), min_ml=20.0),))
    abdomen, heart = panel_sets(tmp_path, recipe)
    assert (abdomen.name, abdomen.ids, abdomen.min_ml) == ("abdomen", (1, 5), 20.0)
    assert (heart.name, heart.ids, heart.min_ml) == ("heart", (), 0.0)


def test_the_panel_recipe_of_the_project_is_readable() -> None:
    recipe = read_panel(Path(__file__).parents[1] / "recipes" / "panel.toml")
    assert recipe.rounds == 6
    assert recipe.cap == 15
    assert {item.name for item in recipe.sets} == {"openkbp", "totalsegmentator_examples"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round = 6", "did you mean 'rounds'"),
        ("rounds = 6\ncap = 3", "cap must be at least rounds"),
        ('[[sets]]\nname = "a"\nids = [0]', "background"),
        ('[[sets]]\nname = "a"\n[[sets]]\nname = "a"', "named twice"),
    ],
)
def test_a_wrong_recipe_is_refused_with_a_hint(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_panel(path)
