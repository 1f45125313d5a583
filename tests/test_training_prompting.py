"""Boxes, lassos and scribbles while training: told to the network as the session tells it in use."""
# ruff: noqa: E402  # torch is optional: the imports below come after the check for it

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")

from torch import Tensor, nn

from limnet.answer import LOOKS
from limnet.errors import ConfigError
from limnet.training.interaction import ClickedSlices, InteractionStep
from limnet.training.prompting import drawn_box, drawn_lasso, scribble
from limnet.training.recipe import ClicksConfig

torch.set_num_threads(1)
DISK = np.hypot(*(np.indices((64, 64)) - 32)) < 12
EMPTY = np.zeros_like(DISK)


def rngs(count: int = 40) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def test_a_drawn_box_fits_the_object_within_a_seventh_of_its_extent() -> None:
    for rng in rngs():
        rows, columns = (np.flatnonzero(drawn_box(DISK, rng).inside.any(1 - axis)) for axis in (0, 1))
        for places in (rows, columns):
            assert 17 <= places[0] <= 22 and 42 <= places[-1] <= 47  # the disk fills 21 .. 43


def test_a_box_starts_from_an_ellipse_and_is_marked_in_the_middle_and_around() -> None:
    area = drawn_box(DISK, np.random.default_rng(0))
    assert not (area.start & ~area.inside).any()
    assert 0.5 < area.start.sum() / area.inside.sum() < 0.85
    assert [mark.positive for mark in area.marks] == [True] + 8 * [False]
    assert all(bool(area.inside[m.row, m.column]) == m.positive for m in area.marks)


def test_a_drawn_lasso_holds_the_object_and_little_more() -> None:
    for rng in rngs():
        area = drawn_lasso(DISK, rng)
        assert (area.inside & DISK).sum() > 0.9 * DISK.sum()
        assert area.inside.sum() < 1.6 * DISK.sum()
        assert np.array_equal(area.start, area.inside)


@pytest.mark.parametrize("draw", [drawn_box, drawn_lasso])
def test_an_object_of_one_pixel_in_a_corner_can_be_drawn_around(draw) -> None:  # type: ignore[no-untyped-def]
    truth = EMPTY.copy()
    truth[0, 63] = True
    assert all(draw(truth, rng).inside[0, 63] for rng in rngs(10))


def test_a_scribble_stays_inside_the_missed_region_and_is_positive() -> None:
    lengths = []
    for rng in rngs():
        line = scribble(DISK, EMPTY, rng)
        assert all(DISK[c.row, c.column] and c.positive for c in line)
        drawn = EMPTY.copy()
        drawn[[c.row for c in line], [c.column for c in line]] = True
        assert ndimage.label(drawn, np.ones((3, 3)))[1] == 1
        lengths.append(len(line))
    assert np.median(lengths) > 8


def test_a_scribble_on_what_is_too_much_is_negative() -> None:
    mask = DISK.copy()
    mask[2:8, 2:8] = True
    line = scribble(DISK, mask, np.random.default_rng(0))
    assert line and all(mask[c.row, c.column] and not DISK[c.row, c.column] and not c.positive for c in line)


def test_a_perfect_mask_gets_no_scribble() -> None:
    assert scribble(DISK, DISK, np.random.default_rng(0)) == []


def disks(batch: int) -> tuple[Tensor, Tensor]:
    truth = torch.from_numpy(DISK.astype(np.float32)).expand(batch, -1, -1).contiguous()
    return (truth * 0.6 + 0.2)[:, None].expand(-1, 3, -1, -1).contiguous(), truth


def prompted(batch: int = 1, **shares: float) -> ClickedSlices:
    return ClickedSlices(*disks(batch), ClicksConfig(refine=0, **shares), np.random.default_rng(0))  # type: ignore[arg-type]


class Everything(nn.Module):
    """An interaction network to which all is object."""

    def forward(
        self, image: Tensor, previous: Tensor, clicks: Tensor, hints: Tensor, reference: Tensor
    ) -> Tensor:
        return torch.ones_like(previous)


def test_an_area_is_looked_at_as_often_as_in_use_and_then_corrected_by_clicks() -> None:
    slices = prompted(boxes=1)
    for _ in range(LOOKS):
        slices.click()
        maps = slices.inputs()[2]
        assert maps[0, 0].any() and maps[0, 1].any() and not slices.clicks[0]
        slices.advance(Everything())  # type: ignore[arg-type]
    inside = slices.areas[0].inside  # type: ignore[union-attr]
    slices.click()
    assert slices.areas[0] is None
    assert np.array_equal(slices.previous[0, 0].numpy() > 0.5, inside)  # nothing outside the box was kept
    assert [click.positive for click in slices.clicks[0]] == [False]  # the box is too large by its corners


def test_an_empty_slice_gets_no_area() -> None:
    image, truth = disks(1)
    slices = ClickedSlices(image, truth * 0, ClicksConfig(refine=0, boxes=1), np.random.default_rng(0))
    slices.click()
    assert slices.areas == [None] and slices.clicks == [[]]


def test_first_prompts_are_shared_out_as_set() -> None:
    slices = prompted(400, boxes=0.1, scribbles=0.3, lassos=0.2)
    slices.click()
    kinds = Counter(
        "area" if area else "scribble" if len(clicks) > 1 else "click"
        for area, clicks in zip(slices.areas, slices.clicks, strict=True)
    )
    assert 0.24 < kinds["area"] / 400 < 0.36
    assert 0.22 < kinds["scribble"] / 400 < 0.36  # some end at their first pixel


def test_by_default_every_prompt_is_a_click() -> None:
    slices = prompted(20)
    slices.click()
    assert slices.areas == [None] * 20 and all(len(clicks) == 1 for clicks in slices.clicks)


def test_the_step_learns_from_every_kind_of_prompt() -> None:
    config = ClicksConfig(boxes=0.3, scribbles=0.3, lassos=0.3, max_rounds=3)
    image, truth = disks(8)
    step = InteractionStep(Everything(), config, seed=1)  # type: ignore[arg-type]
    for _ in range(4):
        loss, figures = step.loss(image[:, None], truth[:, None], 0.0)
        assert torch.isfinite(loss) and 0 < figures["dice"] < 1


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="must not exceed 1"):
        ClicksConfig(boxes=0.5, scribbles=0.4, lassos=0.2)
