"""The stream of clips: the same for a seed, mixed by set, honest about patients; and random shapes."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from limnet.training.cases import TrainingCase, case_of
from limnet.training.clips import ClipConfig, sample_clip
from limnet.training.cubes import CubeConfig, sample_cube
from limnet.training.recipe import DataConfig, Recipe
from limnet.training.shapes import ShapeConfig, ShapeFactory
from limnet.training.stream import (
    SHAPES,
    ClipStream,
    CubeStream,
    Mixture,
    is_held_out,
    loader,
    patient,
    shape_case,
)

torch.set_num_threads(1)
SMALL = ShapeConfig(size=32, depth=16)
RECIPE = Recipe(
    network="memory", batch=3, clip=ClipConfig(size=64, slices=2), shapes=SMALL, data=DataConfig(bank=4)
)


def block_case(name: str, group: str) -> TrainingCase:
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[6:18, 6:18, 6:18] = 1
    return case_of(name, group, None, labels, (1, 1, 1))


def batches(
    recipe: Recipe, cases: list[TrainingCase], seed: int, count: int = 3
) -> list[tuple[torch.Tensor, ...]]:
    return list(islice(ClipStream(recipe, cases, seed), count))


def test_a_seed_gives_the_same_stream() -> None:
    cases = [block_case("a", "blocks")]
    one, same, other = (batches(RECIPE, cases, seed) for seed in (5, 5, 6))
    for first, second in zip(one, same, strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
    assert not torch.equal(one[0][0], other[0][0])


def test_batches_have_the_shape_of_the_recipe() -> None:
    image, truth = batches(RECIPE, [], 0, 1)[0]
    assert (image.shape, truth.shape) == ((3, 2, 3, 64, 64), (3, 2, 64, 64))
    assert image.dtype == truth.dtype == torch.float32


def test_a_seed_gives_the_same_stream_of_cubes() -> None:
    recipe = replace(RECIPE, network="overview", batch=2)
    one, same, other = (
        list(islice(CubeStream(recipe, [block_case("a", "blocks")], seed), 2)) for seed in (5, 5, 6)
    )
    for first, second in zip(one, same, strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
    assert not torch.equal(one[0][0], other[0][0])
    image, known = one[0]
    assert (image.shape, known.shape) == ((2, 48, 48, 48), (2, 3, 48, 48, 48))
    assert image.dtype == known.dtype == torch.float32


def test_a_loader_without_workers_hands_the_stream_on() -> None:
    image, _ = next(iter(loader(ClipStream(RECIPE, [], 5), workers=0)))
    assert torch.equal(image, batches(RECIPE, [], 5, 1)[0][0])


def test_sets_are_drawn_by_weight_whatever_their_number_of_cases() -> None:
    cases = [block_case(f"{n}", "many") for n in range(9)] + [
        block_case("x", "few"),
        block_case("y", "never"),
    ]
    mixture = Mixture.of(cases, DataConfig(weights={"many": 1.0, "never": 0.0}, default_weight=3.0))
    assert mixture.weights == {"many": 1.0, "few": 3.0, "never": 0.0}
    drawn: Counter[str] = Counter()

    class Counted(list[TrainingCase]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            case = super().__getitem__(index)
            drawn[case.group] += 1
            return case

    counted = Mixture({name: Counted(group) for name, group in mixture.cases.items()}, mixture.weights)
    rng = np.random.default_rng(0)
    for _ in range(200):
        counted.draw(sample_clip, ClipConfig(size=64), rng)
    assert drawn["never"] == 0
    assert 2 < drawn["few"] / drawn["many"] < 4.5


def test_data_without_any_visible_object_is_an_error() -> None:
    labels = np.zeros((24, 24, 1), np.uint8)
    labels[:6, :6] = 1
    mixture = Mixture.of([case_of("a", "a", None, labels, (1, 1, 1))], DataConfig())
    with pytest.raises(RuntimeError, match="no visible object in"):
        mixture.draw(sample_clip, ClipConfig(size=64, min_area=64 * 64 + 1), np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="no visible object in"):  # of one slice, there are no cubes
        mixture.draw(sample_cube, CubeConfig(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SC-HF-I-01_ph07", "SC-HF-I-01"),
        ("STS_001_CT", "STS_001"),
        ("case_T2w", "case"),
        ("plain_003", "plain_003"),
    ],
)
def test_a_patient_is_the_name_without_time_and_modality(name: str, expected: str) -> None:
    assert patient(name) == expected


def test_a_patient_stays_on_one_side() -> None:
    sides = {
        number: {
            is_held_out(block_case(f"P{number:03}_{kind}", "a"), DataConfig())
            for kind in ("CT", "PET", "t1", "ph9")
        }
        for number in range(100)
    }
    assert all(len(side) == 1 for side in sides.values())
    held_out = sum(side == {True} for side in sides.values())
    assert 2 <= held_out <= 18  # one in twelve


def test_random_shapes_are_labels_of_tissues_and_objects() -> None:
    config = ShapeConfig(size=32, depth=16, min_tissues=3, max_tissues=3, min_objects=5, max_objects=5)
    factory = ShapeFactory(config, seed=0)
    maps = [factory.labels() for _ in range(6)]
    assert all(labels.shape == (16, 32, 32) and labels.dtype == torch.uint8 for labels in maps)
    assert all(labels.max() <= 8 for labels in maps)
    assert np.mean([len(labels.unique()) for labels in maps]) > 5
    assert not torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], ShapeFactory(config, seed=0).labels())


def test_a_shape_case_has_objects_and_thin_or_thick_slices() -> None:
    factory, rng = ShapeFactory(SMALL, seed=0), np.random.default_rng(0)
    cases = [shape_case(factory, rng) for _ in range(8)]
    assert all(case.group == SHAPES and case.image is None and case.objects for case in cases)
    assert len({case.spacing for case in cases}) > 1
    assert all(case.labels.shape[:2] == (32, 32) for case in cases)


def test_without_shapes_and_cases_there_is_nothing_to_draw() -> None:
    recipe = replace(RECIPE, data=DataConfig(shapes=0))
    with pytest.raises(ValueError):
        next(iter(ClipStream(recipe, [], 0)))
