"""Cubes: cut around an object of a case, with the prompts and the masks that a session would have."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from doubles import volume_of
from limnet.cube import SIZE, Cube, planes_around

torch = pytest.importorskip("torch")

from limnet.training.cases import TrainingCase, case_of
from limnet.training.cubes import (
    CubeConfig,
    CubeSample,
    Sampling,
    cubes_of,
    sample_cube,
    stack_cubes,
)
from limnet.training.prompted_cubes import PromptedCubes, wrong_object, wrong_slice
from limnet.training.recipe import RoundsConfig

torch.set_num_threads(1)
PLAIN = {"synthetic": 0.0, "union": 0.0, "overflow": 0.0}
SURE = RoundsConfig(given=0, alone=0, exact=1, across=0)
MIDDLE = 23


def ball_case(
    shape: tuple[int, int, int] = (48, 40, 30),
    spacing: tuple[float, float, float] = (1, 1, 1),
    at: float = 0.5,
) -> TrainingCase:
    """A bright ball in the dark, its middle at a share of each edge."""
    places = np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) * at
    labels = (np.sqrt((places**2).sum(0)) < min(shape) / 4).astype(np.uint8)
    image = 100.0 * labels + np.random.default_rng(0).normal(0, 3, shape)
    return case_of("ball", "balls", volume_of(image, spacing), labels, spacing)


def cut(case: TrainingCase, count: int = 12, seed: int = 0, **settings: float) -> list[CubeSample]:
    config, rng = CubeConfig(**settings), np.random.default_rng(seed)  # type: ignore[arg-type]
    found = [sample_cube(case, config, rng) for _ in range(count)]
    cubes = [cube for cube in found if cube is not None]
    assert len(cubes) > count / 2
    return cubes


def contrast(cube: CubeSample) -> float:
    """How differently truth and what is around it are shaded, in [0, 1]."""
    around = ndimage.binary_dilation(cube.truth, iterations=4) & ~ndimage.binary_dilation(cube.truth)
    around &= cube.image > 0
    inner = ndimage.binary_erosion(cube.truth)
    return abs(float(np.median(cube.image[inner]) - np.median(cube.image[around])))


def test_a_cube_is_an_image_in_zero_to_one_with_the_object_in_it() -> None:
    for cube in cut(ball_case()):
        assert cube.image.shape == cube.truth.shape == (SIZE, SIZE, SIZE)
        assert cube.image.dtype == np.float32 and cube.truth.dtype == bool
        assert np.isfinite(cube.image).all()
        assert 0 <= cube.image.min() <= cube.image.max() <= 1
        assert cube.truth.sum() >= CubeConfig().min_samples
        assert cube.axis in (0, 1, 2) and cube.thickness > 0


@pytest.mark.parametrize("rotated", [0.0, 1.0])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 1.1, 4.0)])
def test_truth_lies_on_the_object_however_the_cube_is_turned(
    spacing: tuple[float, float, float], rotated: float
) -> None:
    cubes = cut(ball_case((60, 56, 40), spacing), **PLAIN, rotated=rotated)
    assert np.median([contrast(cube) for cube in cubes]) > 0.4
    assert min(contrast(cube) for cube in cubes) > 0.1


def test_made_up_intensities_lie_on_the_labels() -> None:
    case = case_of("map", "maps", None, ball_case((60, 56, 40)).labels, (1, 1, 1))
    assert np.median([contrast(cube) for cube in cut(case)]) > 0.1


def test_voxels_much_finer_than_samples_are_averaged_in_place() -> None:
    """A ball of 160 voxels across."""
    cubes = cut(ball_case((200, 190, 180)), count=5, **PLAIN, min_zoom=2.8, rotated=0)
    assert np.median([contrast(cube) for cube in cubes]) > 0.4


def test_beyond_the_volume_there_is_neither_image_nor_object() -> None:
    """The ball's middle is the corner of the volume: most of the cube lies outside."""
    for cube in cut(ball_case((60, 60, 60), at=0.0), **PLAIN, min_zoom=2.8, off_centre=0, rotated=0):
        seen = cube.image > 0
        assert seen.mean() < 0.5
        bounds = ndimage.find_objects(seen.astype(int))[0]
        assert cube.truth.sum() == cube.truth[bounds].sum()


def test_zoom_decides_how_large_the_object_is_seen() -> None:
    settings = {**PLAIN, "stretch": 0.0, "rotated": 0.0}
    near, far = (cut(ball_case(), **settings, min_zoom=z, max_zoom=z) for z in (1.2, 2.8))
    shares = [np.median([cube.truth.mean() for cube in cubes]) for cubes in (near, far)]
    assert shares[0] == pytest.approx(np.pi / 6 / 1.2**3, rel=0.25)
    assert shares[1] == pytest.approx(np.pi / 6 / 2.8**3, rel=0.25)


def test_a_cube_that_overflows_is_filled() -> None:
    assert np.median([cube.truth.mean() for cube in cut(ball_case(), **PLAIN | {"overflow": 1.0})]) > 0.7


def test_a_union_is_of_two_objects() -> None:
    """A box without one corner, and that corner: together they fill their bounds."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:30, 10:30, 10:30] = 1
    labels[18:30, 18:30, 18:30] = 2
    case = case_of("box", "boxes", None, labels, (1, 1, 1))
    for union in (0.0, 1.0):
        cubes = cut(case, rotated=0, overflow=0, union=union)
        filled = [cube.truth[ndimage.find_objects(cube.truth.astype(int))[0]].mean() for cube in cubes]
        assert (min(filled) > 0.9) == (union == 1)


def test_thick_slices_are_mostly_prompted_and_told_as_thick_as_they_are_seen() -> None:
    case = ball_case((60, 60, 30), (1, 1, 5))
    settings = {**PLAIN, "min_zoom": 2.0, "max_zoom": 2.0, "stretch": 0.0}
    cubes = cut(case, count=30, **settings)
    (target,) = case.objects
    slices = 2.0 * (target.box[2].stop - target.box[2].start)  # that the cube reaches through
    thick = [cube for cube in cubes if cube.thickness == pytest.approx(SIZE / slices)]
    assert len(cubes) > len(thick) > 0.75 * len(cubes)


def test_cases_of_few_slices_give_no_cubes() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 40, 4), np.uint8)
    labels[10:30, 10:30] = 1
    case = case_of("flat", "flat", None, labels, (1, 1, 1))
    assert all(sample_cube(case, CubeConfig(), rng) is None for _ in range(5))


def test_a_long_cube_through_few_slices_can_be_cut() -> None:
    """Its side is longer than the volume by more than the voxels that are averaged."""
    labels = np.zeros((400, 60, 5), np.uint8)
    labels[20:380, 20:40, 1:4] = 1
    case = case_of("long", "long", None, labels, (1, 1, 1))
    assert all(cube.truth.any() for cube in cut(case, count=4, min_samples=1))


def test_colours_are_averaged() -> None:
    grey = ball_case()
    assert grey.image is not None
    colours = grey.image[..., None] * np.array([1.5, 1.0, 0.5], np.float16)
    coloured = TrainingCase("ball", "balls", colours, grey.labels, grey.spacing, grey.objects)
    for one, other in zip(cut(grey, 3, **PLAIN), cut(coloured, 3, **PLAIN), strict=True):
        assert np.corrcoef(one.image.ravel(), other.image.ravel())[0, 1] > 0.99


def test_a_seed_gives_the_same_cubes() -> None:
    one, same, other = (cut(ball_case(), 3, seed) for seed in (3, 3, 4))
    for first, second in zip(one, same, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(one[0].image, other[0].image)


def test_samples_are_those_of_a_cube_in_use() -> None:
    """Where it is not turned."""
    array = ndimage.gaussian_filter(np.random.default_rng(0).random((30, 40, 50)), 2)
    cube = Cube(np.array([-4.0, 3.5, 10.0]), np.array([40.0, 30.0, 48.0]), (30, 40, 50))
    sampling = Sampling.of(cube.low + cube.side / 2, cube.side, np.eye(3), array.shape)
    np.testing.assert_array_equal(sampling.inside, cube.inside)
    np.testing.assert_allclose(sampling.look(array[sampling.block]), cube.look(array), atol=1e-4)


@pytest.mark.parametrize("thickness", [0.3, 1.0, 2.0, 2.5, 4.0, 7.7])
def test_the_planes_of_a_slice_are_those_of_a_cube_in_use(thickness: float) -> None:
    side = SIZE / thickness
    for middle in (0, 1, 20, 46, 47):
        low = 5.5 - (middle + 0.5) / thickness  # the middle of slice 5 lies on this plane
        cube = Cube(np.full(3, low), np.full(3, side), (500, 500, 500))
        assert planes_around(middle, thickness) == cube.planes_of(0, 5)


def test_cubes_are_stacked_and_found_again() -> None:
    cubes = cut(ball_case((60, 60, 30), (1, 1, 5)), 3)
    for cube, again in zip(cubes, cubes_of(*stack_cubes(cubes)), strict=True):
        np.testing.assert_array_equal(cube.image, again.image)
        np.testing.assert_array_equal(cube.truth, again.truth)
        assert (cube.axis, cube.thickness) == (again.axis, pytest.approx(again.thickness))


def ball(axis: int = 2, thickness: float = 1.0, radius: int = 10) -> CubeSample:
    places = np.indices((SIZE, SIZE, SIZE)) - MIDDLE
    truth = (places**2).sum(0) <= radius**2
    noise = np.random.default_rng(0).random(truth.shape, np.float32)
    return CubeSample(0.2 + 0.6 * truth.astype(np.float32) + 0.1 * noise, truth, axis, thickness)


def prompted(cubes: list[CubeSample], config: RoundsConfig = SURE, seed: int = 0) -> PromptedCubes:
    return PromptedCubes(cubes, config, np.random.default_rng(seed))


def planes_told(cubes: PromptedCubes, number: int) -> NDArray[np.intp]:
    """The planes along a cube's axis of which something is told."""
    told = cubes.prompts.held[number] + cubes.prompts.free[number] > 0
    return np.flatnonzero(np.moveaxis(told, cubes.cubes[number].axis, 0).all((1, 2)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_first_prompt_is_a_click_in_the_object_and_its_slice(axis: int) -> None:
    cubes = prompted([ball(axis, thickness=3.0)] * 8)
    assert not cubes.masks.any() and not cubes.prompts.negative.any()
    for number, cube in enumerate(cubes.cubes):
        told = planes_told(cubes, number)
        assert told.tolist() == [*range(told[0], told[0] + 3)]  # as many as the slice is thick
        held = np.moveaxis(cubes.prompts.held[number], axis, 0)
        for plane in told:
            np.testing.assert_array_equal(held[plane], cube.truth.take(told[1], axis))
        np.testing.assert_array_equal(cubes.prompts.held[number, ...].sum(), held[told].sum())
        middle = np.argwhere(cubes.prompts.positive[number]).mean(0).round().astype(int)
        assert cube.truth[tuple(middle)] and middle[axis] == told[1]


def test_what_is_held_and_what_is_free_never_meet() -> None:
    cubes = prompted([ball(n % 3, thickness=1 + n) for n in range(6)], RoundsConfig(across=1))
    cubes.correct()
    assert not (cubes.prompts.held * cubes.prompts.free).any()


def test_a_click_may_come_alone() -> None:
    cubes = prompted([ball()], RoundsConfig(given=0, alone=1))
    assert cubes.prompts.positive.any() and not (cubes.prompts.held + cubes.prompts.free).any()


def test_the_planes_across_are_told_too_but_change_nothing_that_was() -> None:
    """On prompted slices with wrong masks, the true planes across would mend a line."""
    plain, across = (
        prompted([ball()], RoundsConfig(given=0, alone=0, exact=0, across=share), seed=2) for share in (0, 1)
    )
    (plane,) = planes_told(plain, 0)
    for one, other in zip(plain.prompts[:2], across.prompts[:2], strict=True):
        np.testing.assert_array_equal(one[0, :, :, plane], other[0, :, :, plane])
    told = across.prompts.held[0] + across.prompts.free[0]
    assert told.sum() == 3 * SIZE**2 - 3 * SIZE + 1  # three planes through one sample


def test_prompted_slices_are_wrong_now_and_then() -> None:
    cubes = prompted([ball()] * 16, RoundsConfig(given=0, alone=0, exact=0.5, across=0))
    exact = [
        np.array_equal(cubes.prompts.held[n, :, :, plane], cubes.truth[n, :, :, plane])
        for n in range(16)
        for plane in planes_told(cubes, n)
    ]
    assert 0.25 < np.mean(exact) < 0.8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_correction_is_a_click_in_the_largest_error_and_the_truth_on_its_slice(axis: int) -> None:
    cubes = prompted([ball(axis), ball(axis)])
    for maps in cubes.prompts:
        maps[:] = 0
    cubes.masks = cubes.truth.astype(np.float32)
    cubes.masks[0, 4:6, 4:6, 4:6] = 1  # a small error that is too much ...
    cubes.masks[0, 20:27, 20:27, 20:27] = 0  # ... and a large one that is missing
    cubes.masks[1, 40:46, 40:46, 40:46] = 1
    cubes.correct()
    for number, (signed, low, high) in enumerate(
        ((cubes.prompts.positive, 20, 27), (cubes.prompts.negative, 40, 46))
    ):
        place = np.argwhere(signed[number]).mean(0)
        assert ((place >= low) & (place < high)).all()
        (plane,) = planes_told(cubes, number)
        assert low <= plane < high
        held, truth = cubes.prompts.held[number], cubes.truth[number]
        np.testing.assert_array_equal(held.take(plane, axis), truth.take(plane, axis))
    assert not cubes.prompts.negative[0].any() and not cubes.prompts.positive[1].any()


def test_what_is_right_gets_no_prompt() -> None:
    cubes = prompted([ball()])
    cubes.masks = cubes.truth.astype(np.float32)
    before = [maps.copy() for maps in cubes.prompts]
    cubes.correct()
    for one, other in zip(before, cubes.prompts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_maps_tell_the_image_the_masks_and_the_prompts() -> None:
    cubes = prompted([ball(), ball(1)], RoundsConfig(given=1))
    maps = cubes.maps()
    assert maps.shape == (2, 10, SIZE, SIZE, SIZE) and maps.dtype == torch.float32
    for index, told in enumerate((cubes.image, cubes.masks, *cubes.prompts)):
        np.testing.assert_array_equal(maps[:, index].numpy(), told)


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_given_masks_are_wrong_and_of_this_object() -> None:
    rng, cube = np.random.default_rng(0), ball()
    scores = [dice(wrong_object(cube, rng), cube.truth) for _ in range(24)]
    assert max(scores) < 1
    assert 0.6 < np.median(scores) < 0.97
    assert min(scores) > 0.05


def test_given_masks_lose_an_end_or_go_on_along_the_axis_of_their_slices() -> None:
    rng, cube = np.random.default_rng(0), ball(axis=1, radius=12)
    extents = []
    for _ in range(24):
        filled = np.flatnonzero(wrong_object(cube, rng).any((0, 2)))
        extents.append((filled[0], filled[-1]))
    starts, ends = np.array(extents).T - MIDDLE
    assert min(starts) < -15 or max(ends) > 15  # past the object
    assert max(starts) > -6 or min(ends) < 6  # an end is missing


def test_as_many_cubes_start_from_a_mask_as_is_asked() -> None:
    cubes = prompted([ball()] * 24, RoundsConfig(given=0.5, alone=1))
    assert 0.25 < cubes.masks.any((1, 2, 3)).mean() < 0.75


def test_a_wrong_slice_is_never_empty_and_mostly_near_the_truth() -> None:
    rng, cube = np.random.default_rng(0), ball()
    image, truth = cube.image[:, :, MIDDLE], cube.truth[:, :, MIDDLE]
    scores = [dice(wrong_slice(image, truth, rng), truth) for _ in range(40)]
    assert min(scores) > 0 and np.median(scores) > 0.7


def test_the_smallest_object_can_be_prompted_given_and_corrected() -> None:
    truth = np.zeros((SIZE, SIZE, SIZE), bool)
    truth[0, 0, 47] = True
    cube = CubeSample(np.zeros(truth.shape, np.float32), truth, 2, 0.4)
    for seed in range(6):
        cubes = prompted([cube], RoundsConfig(given=1, alone=0), seed)
        cubes.correct()
        assert torch.isfinite(cubes.maps()).all()
