"""Supervoxels of real images: targets without labels; and the banks of cases that are made while training."""
# ruff: noqa: E402  # torch and scikit-image are optional: the imports below come after the checks for them

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from limnet.errors import CaseError
from limnet.training.bank import Bank
from limnet.training.cases import TrainingCase, case_of, read_images
from limnet.training.clips import ClipConfig
from limnet.training.recipe import DataConfig, Recipe
from limnet.training.stream import ClipStream, Mixture
from limnet.training.supervoxels import CROP, SUPERVOXELS, merge_alike, supervoxel_case, supervoxels

torch.set_num_threads(1)


def ball_case(colours: int = 1, shape: tuple[int, int, int] = (40, 40, 24)) -> TrainingCase:
    """An image without labels: a bright ball of radius 9 in the dark, a little noise everywhere."""
    grid = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2
    image = 0.2 + 0.6 * ((grid**2).sum(0) < 81) + np.random.default_rng(0).normal(0, 0.01, shape)
    if colours == 3:
        image = np.repeat(image[..., None], 3, axis=-1)
    return TrainingCase("ball", "set", image.astype(np.float16), np.zeros(shape, np.uint8), (1, 1, 1), ())


def test_supervoxels_follow_the_edge_of_a_bright_ball() -> None:
    case = ball_case()
    assert case.image is not None
    inside = case.image > 0.5
    crossing = []
    for seed in range(4):
        labels = supervoxels(case.image.astype(np.float32), case.spacing, np.random.default_rng(seed))
        shares = np.bincount(labels.ravel(), inside.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
        crossing.append(np.minimum(shares, 1 - shares)[labels].mean())
    assert np.mean(crossing) < 0.015  # share of voxels on the wrong side of their supervoxel's majority


def test_neighbours_of_one_grey_become_one_and_others_stay() -> None:
    image = np.array([[[0.1, 0.11, 0.5, 0.52]]], np.float32)
    labels = np.array([[[1, 2, 3, 4]]])
    merged = merge_alike(image, labels, closest=0.05)
    assert merged[0, 0, 0] == merged[0, 0, 1] != merged[0, 0, 2] == merged[0, 0, 3]


def test_merging_does_not_creep_along_a_slope_of_grey() -> None:
    image = np.linspace(0, 1, 41, dtype=np.float32).reshape(1, 1, 41)  # steps of 0.025
    merged = merge_alike(image, np.arange(1, 42).reshape(1, 1, 41), closest=0.03)
    assert len(np.unique(merged)) > 10


@pytest.mark.parametrize("colours", [1, 3])
def test_a_case_of_supervoxels_is_a_crop_with_objects(colours: int) -> None:
    case = supervoxel_case([ball_case(colours, (44, 110, 44))], np.random.default_rng(0))
    assert case.group == SUPERVOXELS and case.image is not None
    assert case.image.shape[:3] == case.labels.shape
    assert all(n <= most for n, most in zip(sorted(case.labels.shape), sorted(CROP), strict=True))
    assert case.objects


def test_the_fewest_slices_of_a_crop_lie_along_the_thick_ones() -> None:
    case = replace(ball_case(shape=(120, 60, 110)), spacing=(1.0, 5.0, 1.0))
    assert supervoxel_case([case], np.random.default_rng(0)).labels.shape == (96, 32, 96)


def test_nothing_stands_out_in_an_even_image() -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.02, (40, 40, 20)).astype(np.float16)
    case = TrainingCase("even", "set", noise, np.zeros(noise.shape, np.uint8), (1, 1, 1), ())
    assert not supervoxel_case([case], np.random.default_rng(0)).objects


def test_a_flat_picture_can_be_cut_too() -> None:
    case = ball_case(shape=(64, 64, 24))
    flat = replace(case, image=case.image[:, :, 12:13], labels=case.labels[:, :, 12:13])  # type: ignore[index]
    assert supervoxel_case([flat], np.random.default_rng(1)).labels.shape == (64, 64, 1)


def recipe_of(**data: float) -> Recipe:
    clip = ClipConfig(size=64, slices=2)
    return Recipe(network="memory", batch=2, clip=clip, data=DataConfig(supervoxel_bank=2, **data))  # type: ignore[arg-type]


def test_images_without_labels_serve_supervoxels_alone() -> None:
    stream = ClipStream(recipe_of(shapes=0, supervoxels=1), [ball_case()], 0)
    image, truth = next(iter(stream))
    assert image.shape == (2, 2, 3, 64, 64) and truth[:, 0].any()
    assert not Mixture.of([ball_case()], DataConfig()).cases


def test_a_recipe_without_the_weight_makes_no_supervoxels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limnet.training.stream.supervoxel_case", lambda *_: pytest.fail("was made"))
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[6:18, 6:18, 6:18] = 1
    block = case_of("block", "set", None, labels, (1, 1, 1))
    assert len(list(islice(ClipStream(recipe_of(shapes=0), [ball_case(), block], 0), 2))) == 2


def test_a_bank_is_filled_at_once_then_grows_then_is_replaced() -> None:
    made = iter(range(100))
    bank = Bank(lambda: next(made), 10, np.random.default_rng(0), made=8)  # type: ignore[arg-type, return-value]
    sizes = []
    for step in range(9):
        bank.refresh(step)
        sizes.append(len(bank.cases))
    assert sizes == [9, 9, 9, 9, 10, 10, 10, 10, 10]
    before = list(bank.cases)
    bank.refresh(19)
    assert bank.cases == before
    bank.refresh(20)
    assert sum(a != b for a, b in zip(bank.cases, before, strict=True)) == 1
    assert 10 in bank.cases


def test_images_are_read_wherever_they_lie_but_not_their_labels(tmp_path: Path) -> None:
    for place in ("one/images/a", "one/labels/a", "b"):
        path = tmp_path / f"{place}.nii"
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.arange(64.0).reshape(4, 4, 4), np.eye(4)), path)
    cases = list(read_images(tmp_path))
    assert {(case.group, case.name) for case in cases} == {(tmp_path.name, "b"), ("one", "a")}
    assert all(case.image is not None and not case.objects for case in cases)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no images; expected NIfTI"):
        list(read_images(tmp_path))
