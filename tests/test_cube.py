"""The cube: volumes sampled in a box around an object, and brought back onto their grid."""

from __future__ import annotations

import numpy as np
import pytest

from limnet.cube import FEWEST_SLICES, MOST_STRETCH, ROOM, SIZE, Cube
from limnet.prompt import Voxel

SHAPE: Voxel = (70, 60, 50)
SPACING = (1.0, 1.0, 2.0)


def slope(shape: Voxel = SHAPE) -> np.ndarray:  # type: ignore[type-arg]
    """Each voxel says where it lies: linear, so that interpolation is exact."""
    i, j, k = np.indices(shape)
    return (i + 2 * j + 4 * k).astype(np.float32)


def ball(shape: Voxel, middle: Voxel, radius: float) -> np.ndarray:  # type: ignore[type-arg]
    away = [(a - m) ** 2 for a, m in zip(np.indices(shape), middle, strict=True)]
    return np.sum(away, axis=0) < radius**2  # type: ignore[no-any-return]


def test_it_leaves_room_on_all_sides_in_millimetres() -> None:
    cube = Cube.around((20, 20, 10), (40, 50, 30), SPACING, SHAPE)
    np.testing.assert_allclose(cube.side * SPACING, np.array([20, 30, 40]) * ROOM)
    np.testing.assert_allclose(cube.low + cube.side / 2, [30, 35, 20])


def test_a_flat_box_is_made_deep_enough() -> None:
    cube = Cube.around((20, 20, 10), (60, 60, 11), (1, 1, 1), SHAPE)
    np.testing.assert_allclose(cube.side, [40 * ROOM, 40 * ROOM, 40 * ROOM / MOST_STRETCH])
    thick = Cube.around((20, 20, 10), (24, 24, 11), (1, 1, 10), SHAPE)
    assert thick.side[2] == FEWEST_SLICES


@pytest.mark.parametrize("size", [6, 20, 200])  # samples closer together than voxels, as far, further apart
def test_samples_say_where_they_lie(size: int) -> None:
    shape = (size + 40, size + 30, size + 50)
    cube = Cube.around((20, 15, 25), (20 + size, 15 + size, 25 + size), (1, 1, 1), shape)
    steps = np.arange(SIZE) + 0.5
    along = [low + steps * side / SIZE - 0.5 for low, side in zip(cube.low, cube.side, strict=True)]
    i, j, k = np.meshgrid(*along, indexing="ij")
    reach = 1 + size / SIZE  # of a sample's mean, in voxels
    inner = np.logical_and.reduce(
        [(at > reach) & (at < n - 1 - reach) for at, n in zip((i, j, k), shape, strict=True)]
    )
    assert inner.mean() > 0.3 and cube.inside[inner].all()
    seen = cube.look(np.asfortranarray(slope(shape)))
    np.testing.assert_allclose(seen[inner], (i + 2 * j + 4 * k)[inner], rtol=1e-4, atol=1e-2)


def test_beyond_the_volume_its_edge_goes_on_and_is_told_apart() -> None:
    cube = Cube.around((0, 20, 10), (30, 50, 30), SPACING, SHAPE)
    outside = ~cube.inside
    assert outside[0].all() and not outside[SIZE // 2, SIZE // 2, SIZE // 2]
    np.testing.assert_allclose(cube.look(np.full(SHAPE, 7, np.int16)), 7, rtol=1e-5)


def test_a_block_is_looked_at_where_it_lies() -> None:
    cube = Cube.around((20, 20, 10), (40, 50, 30), SPACING, SHAPE)
    mask = ball(SHAPE, (30, 35, 20), 9)
    block = mask[20:42, 25:46, 10:31]
    np.testing.assert_allclose(cube.look(block, (20, 25, 10)), cube.look(mask), atol=1e-6)
    assert not cube.look(np.ones((2, 2, 2), bool), (68, 0, 0)).any()  # beside the cube


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_looked_at_as_in_the_volume(axis: int) -> None:
    mask = ball(SHAPE, (30, 35, 20), 12)
    cube = Cube.around((18, 23, 8), (43, 48, 33), (1, 1, 1), SHAPE)
    index = (30, 35, 20)[axis]
    planes = cube.planes_of(axis, index)
    assert 1 <= len(planes) <= 2  # samples are nearly as far apart as voxels
    seen = cube.look_at_slice(mask.take(index, axis), axis) > 0.5
    both = cube.look(mask).take(planes[0], axis) > 0.5
    assert (seen != both).mean() < 0.02 and seen.any()


def test_a_thick_slice_shows_on_several_planes_and_each_plane_shows_one() -> None:
    cube = Cube.around((20, 20, 10), (60, 60, 16), (1, 1, 10), SHAPE)
    shown = [plane for index in range(SHAPE[2]) for plane in cube.planes_of(2, index)]
    assert set(shown) == set(range(SIZE)) and len(cube.planes_of(2, 12)) > 3
    assert len(shown) <= SIZE + 12  # on the border of two slices a plane may show both
    assert not cube.planes_of(2, 40)


def test_samples_come_back_onto_the_grid() -> None:
    mask = ball(SHAPE, (30, 35, 20), 10)
    cube = Cube.around((20, 25, 10), (41, 46, 31), (1, 1, 1), SHAPE)
    samples, back = cube.look(mask), np.zeros(SHAPE, bool)
    (i0, j0, k0), (i1, j1, k1) = cube.box
    for index in range(j0, j1):
        back[i0:i1, index, k0:k1] = cube.slice_at(samples, 1, index) > 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.97


def test_a_voxel_lies_in_its_sample() -> None:
    cube = Cube.around((20, 25, 10), (41, 46, 31), SPACING, SHAPE)
    mark = np.zeros(SHAPE, np.float32)
    mark[30, 30, 22] = 1
    seen = cube.look(mark)
    assert seen[cube.sample_of((30, 30, 22))] > 0.9 * seen.max()
    assert cube.sample_of((0, 0, 0)) == (0, 0, 0) and cube.sample_of((69, 59, 49)) == (SIZE - 1,) * 3
