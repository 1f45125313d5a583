"""Another appearance: a random network redraws greys, and leaves every border where it was."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from limnet.training.appearance import another_appearance
from limnet.training.clips import vary

SLICES, SIZE = 3, 48
DRAWS = 24


def three_tissues(channels: int = 1) -> np.ndarray:
    """Two discs of their own greys on a third: (S, C, H, W)."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    plane = np.full((SIZE, SIZE), 0.2, np.float32)
    plane[np.hypot(rows - 16, columns - 16) < 9] = 0.5
    plane[np.hypot(rows - 32, columns - 32) < 9] = 0.8
    return np.broadcast_to(plane, (SLICES, channels, SIZE, SIZE)).copy()


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_type_and_range_are_those_of_images(channels: int) -> None:
    image = three_tissues(channels)
    made = another_appearance(image, np.random.default_rng(0))
    assert made.shape == image.shape and made.dtype == np.float32
    assert made.min() >= 0 and made.max() <= 1 and made.std() > 0.01


def test_a_seed_gives_the_same_image_and_another_seed_another() -> None:
    image = three_tissues()
    one, again, other = (another_appearance(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 0.05


def test_borders_stay_where_they_are() -> None:
    """Far from every border a tissue is flat before and after: nothing moves, no border is made up."""
    image = three_tissues()
    inner = [(16, 16), (32, 32), (40, 6)]
    for seed in range(DRAWS):
        made = another_appearance(image, np.random.default_rng(seed))
        for row, column in inner:
            around = made[:, 0, row - 2 : row + 3, column - 2 : column + 3]
            assert np.ptp(around) < 1e-4


def test_the_order_of_greys_is_drawn_anew() -> None:
    """Of a dark, a middle and a bright tissue each is brightest now and then."""
    image = three_tissues()
    brightest = set()
    for seed in range(DRAWS):
        made = another_appearance(image, np.random.default_rng(seed))[0, 0]
        brightest.add(int(np.argmax([made[40, 6], made[16, 16], made[32, 32]])))
    assert brightest == {0, 1, 2}


def test_all_slices_of_a_clip_look_alike() -> None:
    made = another_appearance(three_tissues(), np.random.default_rng(3))
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


def test_a_flat_image_stays_flat() -> None:
    made = another_appearance(np.full((2, 1, 32, 32), 0.4, np.float32), np.random.default_rng(0))
    assert np.isfinite(made).all() and np.ptp(made) < 1e-6


def test_a_share_of_nothing_draws_nothing() -> None:
    """Recipes without it make the clips that they made before there was any."""
    image = three_tissues()
    rng, same = np.random.default_rng(5), np.random.default_rng(5)
    assert np.array_equal(vary(image, rng), vary(image, same, appearance=0.0))
    assert rng.random() == same.random()
    always = vary(image, np.random.default_rng(5), appearance=1.0)
    assert np.abs(always - vary(image, np.random.default_rng(5))).max() > 0.05
