"""Hint features against their definitions: Dijkstra, loops, and disks drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from limnet.hints import (
    EDGE_COST,
    SIDE_COST,
    by_colour,
    click_hints,
    click_likeness,
    click_maps,
    double,
    geodesic_nearness,
    halve,
    mask_hints,
    mask_likeness,
    reference_maps,
)

RNG = np.random.default_rng(0)
SIDE = 16


def nearness_by_dijkstra(image: NDArray[np.float32], seeds: NDArray[np.bool_]) -> NDArray[np.float64]:
    """exp(-shortest path) on the 4-connected grid: (C, H, W), (H, W) -> (H, W)."""
    ids = np.arange(seeds.size).reshape(seeds.shape)
    ends = [(ids[:, :-1], ids[:, 1:]), (ids[:-1], ids[1:])]
    a, b = (np.concatenate([pair[side].ravel() for pair in ends]) for side in (0, 1))
    pixels = image.reshape(len(image), -1)
    change = np.sqrt(((pixels[:, a] - pixels[:, b]) ** 2).mean(0))
    cost = SIDE_COST / image.shape[-1] + EDGE_COST * change
    graph = coo_array((cost, (a, b)), shape=(seeds.size, seeds.size)).tocsr()
    distance = dijkstra(graph, directed=False, indices=ids[seeds], min_only=True)
    return np.exp(-distance).reshape(seeds.shape)


def simple_images() -> dict[str, NDArray[np.float32]]:
    rows, columns = np.indices((SIDE, SIDE)) / SIDE
    images = {
        "even": np.zeros((1, SIDE, SIDE)),
        "ramp": columns[None],
        "edge": (columns > 0.5)[None].astype(float),
        "square": ((abs(rows - 0.5) < 0.25) & (abs(columns - 0.5) < 0.25))[None].astype(float),
        "wall with a door": ((abs(columns - 0.5) < 0.05) & (rows > 0.2))[None].astype(float),
        "colours": np.stack([rows, columns, rows > 0.5]),
    }
    return {name: image.astype(np.float32) for name, image in images.items()}


@pytest.mark.parametrize("name", simple_images())
def test_geodesic_nearness_equals_dijkstra_on_simple_images(name: str) -> None:
    image = simple_images()[name]
    seeds = np.zeros((SIDE, SIDE), bool)
    seeds[3, 4] = seeds[12, 2] = True
    np.testing.assert_allclose(
        geodesic_nearness(image[None], seeds[None])[0], nearness_by_dijkstra(image, seeds), atol=1e-4
    )


def test_geodesic_nearness_never_exceeds_dijkstra_and_comes_close() -> None:
    image = gaussian_filter(RNG.random((1, 32, 32)), (0, 2, 2)).astype(np.float32) * 3
    seeds = np.zeros((32, 32), bool)
    seeds[5, 5] = True
    found, exact = geodesic_nearness(image[None], seeds[None])[0], nearness_by_dijkstra(image, seeds)
    assert (found <= exact + 1e-4).all()
    assert (exact - found).max() < 0.05


def test_nearness_is_one_at_seeds_and_zero_without_seeds() -> None:
    image = RNG.random((2, 1, SIDE, SIDE)).astype(np.float32)
    seeds = np.zeros((2, SIDE, SIDE), bool)
    seeds[0, 3, 3] = True
    nearness = geodesic_nearness(image, seeds)
    assert nearness[0, 3, 3] == pytest.approx(1, abs=1e-5)
    assert not nearness[1].any()


def test_halve_is_the_mean_of_two_by_two() -> None:
    image = RNG.random((2, 3, 6, 8)).astype(np.float32)
    expected = image.reshape(2, 3, 3, 2, 4, 2).mean((3, 5))
    np.testing.assert_allclose(halve(image), expected, rtol=1e-6)


def test_double_repeats_and_halve_undoes_it() -> None:
    maps = np.array([[1, 2], [3, 4]], np.float32)
    assert double(maps).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    np.testing.assert_array_equal(halve(double(maps)), maps)


def test_click_maps_are_disks_of_a_fortieth_of_the_side() -> None:
    plus = np.zeros((40, 40), np.float32)  # radius 1: a pixel and its four neighbours
    plus[4:7, 9] = plus[5, 8:11] = 1
    np.testing.assert_array_equal(click_maps([(5.0, 9.0)], 40), plus)
    assert click_maps([], 40).sum() == 0
    assert click_maps([(5.0, 9.0), (20.0, 20.0)], 40).sum() == 10


def test_likeness_is_one_where_the_intensity_is_the_clicked_one() -> None:
    image = np.full((1, 1, SIDE, SIDE), 0.2, np.float32)
    image[..., 8:] = 0.6
    positive = np.zeros((1, SIDE, SIDE), bool)
    positive[0, 5, 12] = True
    likeness = click_likeness(image, positive)[0]
    np.testing.assert_allclose(likeness[:, 8:], 1, atol=1e-5)
    assert likeness[:, :8].max() < 1e-4  # five spreads away
    assert not click_likeness(image, np.zeros_like(positive)).any()


def test_mask_likeness_knows_the_object_from_its_surround() -> None:
    image = np.full((1, 1, 32, 32), 0.2, np.float32)
    image[..., 12:20, 12:20] = 0.8
    likeness = mask_likeness(image, image, image[:, 0] > 0.5)[0]
    assert likeness[12:20, 12:20].min() > 0.9
    assert np.delete(likeness, np.s_[12:20], 0).max() < 0.1


def hint_arguments(channels: int) -> dict[str, tuple[NDArray[np.generic], ...]]:
    """Inputs of both kinds of hints for a batch of two, the same grey in each channel."""
    image = np.repeat(gaussian_filter(RNG.random((2, 1, 32, 32)), (0, 0, 2, 2)), channels, 1).astype(
        np.float32
    )
    image = (image - image.min()) / np.ptp(image)
    seeds = np.zeros((2, 2, 32, 32), bool)
    seeds[0, :, 7, 9] = seeds[1, 0, 25, 20] = True
    mask = np.zeros((2, 32, 32), np.float32)
    mask[:, 8:24, 10:22] = 1
    return {"click": (image, seeds[0], seeds[1]), "mask": (image, np.roll(image, 2, -1), mask)}


@pytest.mark.parametrize(("kind", "hints"), [("click", click_hints), ("mask", mask_hints)])
def test_hints_are_three_maps_in_zero_to_one(kind: str, hints) -> None:  # type: ignore[no-untyped-def]
    maps = hints(*hint_arguments(1)[kind])
    assert maps.shape == (2, 3, 32, 32)
    assert maps.dtype == np.float32
    assert 0 <= maps.min() <= maps.max() <= 1 + 1e-6


@pytest.mark.parametrize(("kind", "hints"), [("click", click_hints), ("mask", mask_hints)])
def test_grey_by_one_channel_says_what_three_channels_say(kind: str, hints) -> None:  # type: ignore[no-untyped-def]
    arguments = hint_arguments(3)[kind]
    np.testing.assert_allclose(by_colour(*arguments, hints=hints), hints(*arguments), atol=1e-5)


def test_a_batch_of_grey_and_colour_is_hinted_image_by_image() -> None:
    image, positive, negative = hint_arguments(3)["click"]
    image[1, 0] *= 0.5  # the second is coloured
    whole = by_colour(image, positive, negative, hints=click_hints)
    for n in range(2):
        alone = click_hints(image[n : n + 1], positive[n : n + 1], negative[n : n + 1])
        np.testing.assert_allclose(whole[n], alone[0], atol=1e-5)


def test_an_empty_mask_says_background_everywhere() -> None:
    image = RNG.random((1, 1, 32, 32)).astype(np.float32)
    _, near, far = mask_hints(image, image, np.zeros((1, 32, 32), np.float32))[0]
    assert not near.any()
    np.testing.assert_allclose(far, 1, atol=1e-5)


def test_the_ring_around_a_mask_belongs_to_nobody() -> None:
    image, mask = np.zeros((1, 1, 64, 64), np.float32), np.zeros((1, 64, 64), np.float32)
    mask[0, 24:40, 24:40] = 1
    _, near, far = mask_hints(image, image, mask)[0]
    np.testing.assert_allclose(near[31, 31], 1, atol=1e-5)  # the core
    np.testing.assert_allclose(far[31, :14], 1, atol=1e-5)  # beyond five half-size pixels
    assert near[31, 20] < 1
    assert far[31, 20] < 1


def test_a_reference_says_likeness_grey_and_mask_and_nothing_of_an_empty_mask() -> None:
    image = RNG.random((2, 3, SIDE, SIDE), dtype=np.float32) * 0.2
    there = image.copy()
    mask = np.zeros((2, SIDE, SIDE), np.float32)
    mask[0, 4:10, 4:10] = 1
    there[:, :, 4:10, 4:10] += 0.7
    image[:, :, 8:14, 2:8] += 0.7  # the object lies elsewhere here
    maps = reference_maps(image, there, mask)
    likeness, grey, held = maps[0]
    assert likeness[8:14, 2:8].min() > 0.5 > likeness[4:8, 10:].max()
    np.testing.assert_allclose(grey, there[0].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(held, mask[0])
    assert not maps[1].any()
