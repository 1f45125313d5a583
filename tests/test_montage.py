"""Montages: the right slices, the right way up, marks where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from limnet.errors import GeometryError, OutputError
from limnet.evaluation.montage import COLOURS, MontageRound, choose_slices, draw_montage, write_montage
from limnet.prompt import Click
from limnet.volume import Volume

RAS = np.diag([1.0, 1.0, 3.0, 1.0])


def ball() -> NDArray[np.bool_]:
    i, j, k = np.indices((40, 40, 12))
    inside: NDArray[np.bool_] = (i - 20) ** 2 + (j - 20) ** 2 + (3 * (k - 6)) ** 2 < 12**2
    return inside


def volume(affine: np.ndarray = RAS) -> Volume:
    return Volume(np.where(ball(), 100, np.arange(12)).astype(np.int16), affine)


def coloured(image: Image.Image, colour: str) -> np.ndarray:
    return np.argwhere((np.asarray(image) == COLOURS[colour]).all(-1))  # (N, 2): y, x


def test_slices_are_spread_evenly() -> None:
    assert choose_slices(0, 9, 5, prompt_slices=[]) == (1, 3, 5, 7, 9)


def test_a_prompt_slice_takes_the_place_of_its_nearest_neighbour() -> None:
    assert choose_slices(0, 99, 4, prompt_slices=[3, 99, 20]) == (3, 37, 62, 99)


def test_a_thin_object_shows_each_slice_once() -> None:
    assert choose_slices(4, 6, 5, prompt_slices=[5]) == (4, 5, 6)


def test_chosen_slices_always_rise() -> None:
    for prompts in ([0], [7, 8], [19], [3, 9, 15]):
        chosen = choose_slices(0, 19, 6, prompts)
        assert list(chosen) == sorted(set(chosen))


def test_a_montage_grows_by_a_column_per_round_and_a_row_per_slice() -> None:
    one = draw_montage(volume(), [MontageRound(ball())], num_slices=2)
    more = draw_montage(volume(), [MontageRound(ball())] * 3, num_slices=4)
    assert more.width > 2 * one.width
    assert more.height > 1.5 * one.height


def test_the_outline_of_the_mask_and_of_the_truth_are_drawn_in_their_colours() -> None:
    plain = draw_montage(volume(), [MontageRound(ball())], num_slices=1)
    legend = 4 * 60
    assert len(coloured(plain, "mask")) > legend
    assert len(coloured(plain, "truth")) == 0
    shifted = np.roll(ball(), 3, 0)
    assert len(coloured(draw_montage(volume(), [MontageRound(ball())], truth=shifted), "truth")) > legend


def click_on_tile(affine: np.ndarray, click: Click) -> tuple[float, float]:
    """Where the click's mark lies in a montage of one slice, x and y from 0 to 1."""
    image = draw_montage(Volume(volume().array, affine), [MontageRound(ball(), (click,))], num_slices=1)
    y, x = coloured(image.crop((90, 0, image.width, image.height - 50)), "positive").mean(0)
    return x / (image.width - 90), y / (image.height - 50)


@pytest.mark.parametrize(("affine", "sign"), [(RAS, -1), (np.diag([-1.0, -1.0, 3.0, 1.0]), 1)])
def test_right_is_drawn_left_and_anterior_up(affine: np.ndarray, sign: int) -> None:
    x, y = click_on_tile(affine, Click((20, 20, 6)))
    x_of_i, y_of_i = click_on_tile(affine, Click((26, 20, 6)))
    x_of_j, y_of_j = click_on_tile(affine, Click((20, 26, 6)))
    assert (x_of_i - x) * sign > 0.05
    assert (y_of_j - y) * sign > 0.05
    assert y_of_i == pytest.approx(y, abs=0.01)
    assert x_of_j == pytest.approx(x, abs=0.01)


def test_pixels_are_square_in_millimetres() -> None:
    flat = draw_montage(volume(), [MontageRound(ball())], axis=0, num_slices=1)  # j of 1 mm, k of 3 mm
    outline = coloured(flat.crop((100, 40, flat.width, flat.height - 60)), "mask")
    height, width = np.ptp(outline, axis=0)
    assert height == pytest.approx(width, rel=0.15)  # a ball is a ball


def test_dice_is_shown_when_it_is_known() -> None:
    unknown = draw_montage(volume(), [MontageRound(ball())], num_slices=1)
    known = draw_montage(volume(), [MontageRound(ball(), dice=0.5)], num_slices=1)
    assert unknown.size == known.size
    assert not np.array_equal(np.asarray(unknown)[:40], np.asarray(known)[:40])


def test_an_empty_mask_and_a_flat_volume_can_be_drawn() -> None:
    nothing = Volume(np.zeros((20, 20, 5), np.int16), RAS)
    assert draw_montage(nothing, [MontageRound(np.zeros((20, 20, 5), bool))]).size > (0, 0)


def test_a_colour_video_keeps_its_colours_upright() -> None:
    frames = np.zeros((30, 20, 4, 3), np.uint8)
    frames[:, :8] = (250, 0, 0)  # the upper rows: j runs down
    mask = np.zeros((30, 20, 4), bool)
    mask[10:20, 5:15] = True
    image = draw_montage(
        Volume(frames, np.diag([1.0, 1.0, 5.0, 1.0])), [MontageRound(mask)], axis=2, num_slices=1
    )
    red = np.argwhere((np.asarray(image)[:, :, 0] > 240) & (np.asarray(image)[:, :, 1] < 10))
    assert red[:, 0].mean() < image.height / 2


def test_a_mask_on_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        draw_montage(volume(), [MontageRound(np.ones((2, 2, 2), bool))])


def test_a_montage_without_rounds_is_refused() -> None:
    with pytest.raises(GeometryError, match="at least one round"):
        draw_montage(volume(), [])


def test_a_montage_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    image = draw_montage(volume(), [MontageRound(ball())])
    write_montage(tmp_path / "a.png", image)
    with Image.open(tmp_path / "a.png") as written:
        assert written.size == image.size
    with pytest.raises(OutputError, match=r"missing/a\.png"):
        write_montage(tmp_path / "missing" / "a.png", image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
