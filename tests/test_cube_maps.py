"""Maps of a cube: what the overview network is told."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from limnet.cube import SIZE
from limnet.cube_maps import (
    NUM_MAPS,
    Prompts,
    cube_maps,
    double,
    geodesic_nearness,
    grown,
    halve,
    held_likeness,
)

GRID = np.indices((SIZE, SIZE, SIZE))
BALL = ((GRID - 24) ** 2).sum(0) < 100  # radius 10, around the middle
IMAGE = np.where(BALL, 0.8, 0.2).astype(np.float32)


def told() -> Prompts:
    prompts = Prompts.none(1)
    prompts.tell_slice(0, 2, range(24, 25), BALL[:, :, 24])
    prompts.tell_click(0, (24, 24, 24), True)
    return prompts


def test_a_prompted_slice_says_what_is_held_and_what_is_free_on_it_alone() -> None:
    prompts = told()
    np.testing.assert_array_equal(prompts.held[0, :, :, 24], BALL[:, :, 24])
    np.testing.assert_array_equal(prompts.free[0, :, :, 24], ~BALL[:, :, 24])
    assert prompts.held.sum() + prompts.free.sum() == SIZE**2
    prompts.tell_slice(0, 2, range(24, 25), np.zeros((SIZE, SIZE), bool))  # said anew: the object is not here
    assert not prompts.held.any()


def test_a_click_is_a_small_ball_of_its_sign() -> None:
    prompts = Prompts.none(2)
    prompts.tell_click(1, (0, 10, 47), False)
    assert not prompts.positive.any() and not prompts.negative[0].any()
    assert prompts.negative[1, 0, 10, 47] == 1 and 5 < prompts.negative.sum() < 20


def test_of_an_object_in_one_grey_the_maps_tell_it_from_what_is_around() -> None:
    maps = cube_maps(IMAGE[None], np.zeros_like(IMAGE)[None], told())
    assert maps.shape == (1, NUM_MAPS, SIZE, SIZE, SIZE) and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1
    inner, outer = ndimage.binary_erosion(BALL, iterations=3), ~ndimage.binary_dilation(BALL, iterations=3)
    likeness, near, far = maps[0, 6:9]
    assert likeness[inner].min() > 0.8 and likeness[outer].max() < 0.2
    assert near[inner].min() > near[outer].max()
    assert far[inner].mean() < far[outer].mean()
    assert not maps[0, 9].any()  # no negative click


def test_without_prompts_hints_say_nothing() -> None:
    maps = cube_maps(IMAGE[None], np.zeros_like(IMAGE)[None], Prompts.none(1))
    np.testing.assert_array_equal(maps[0, 0], IMAGE)
    assert not maps[0, 1:].any()


def test_each_cube_of_a_batch_stands_alone() -> None:
    images = np.stack([IMAGE, 1 - IMAGE])
    masks = np.zeros_like(images)
    prompts = Prompts.none(2)
    for number in range(2):
        prompts.tell_slice(number, number, range(20, 22), BALL.take(20, number))
    both = cube_maps(images, masks, prompts)
    for number in range(2):
        alone = Prompts(*(map_[number : number + 1] for map_ in prompts))
        np.testing.assert_array_equal(
            both[number], cube_maps(images[number : number + 1], masks[:1], alone)[0]
        )


def test_geodesic_nearness_falls_with_distance_and_stops_at_an_edge() -> None:
    image = np.zeros((1, 24, 24, 24), np.float32)
    image[:, 12:] = 1
    seeds = np.zeros((1, 24, 24, 24), bool)
    seeds[0, 6, 12, 12] = True
    nearness = geodesic_nearness(image, seeds)[0]
    assert nearness[6, 12, 12] == 1
    along = nearness[6, 12, 12:]
    assert (np.diff(along) < 0).all()
    np.testing.assert_allclose(along, np.exp(-2 / 24 * np.arange(12)), rtol=1e-4)
    np.testing.assert_allclose(nearness[13, 12, 12] / nearness[11, 12, 12], np.exp(-4 - 4 / 24), rtol=1e-3)


def test_likeness_is_not_known_where_nothing_is_held() -> None:
    nothing = np.zeros((1, 24, 24, 24), bool)
    assert not held_likeness(halve(IMAGE[None]), nothing, ~nothing).any()


def test_growing_is_scipys_dilation() -> None:
    seeds = np.random.default_rng(0).random((2, 24, 24, 24)) > 0.995
    for number in range(2):
        np.testing.assert_array_equal(
            grown(seeds, 3)[number], ndimage.binary_dilation(seeds[number], iterations=3)
        )


def test_halving_undoes_doubling() -> None:
    maps = np.random.default_rng(0).random((2, 24, 24, 24), np.float32)
    np.testing.assert_allclose(halve(double(maps)), maps, rtol=1e-6)
