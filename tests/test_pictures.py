"""Pictures of an evaluation: which objects, and what is drawn of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fill_session import FillMethod, write_case
from limnet.evaluation import (
    Entry,
    EvaluationSet,
    EvaluationSettings,
    RoundRow,
    choose_shown,
    draw_pictures,
    evaluate_entries,
    find_set,
)
from limnet.evaluation.pictures import MAX_WIDTH, png_of

ENTRY = Entry(EvaluationSettings(rounds=1, method="fill"), FillMethod())


def row(case: str, dice: float, **other: Any) -> RoundRow:
    values = {
        **dict.fromkeys(RoundRow.__dataclass_fields__, 0),
        **ENTRY.settings.__dict__,
        "set_name": "s",
        "case": case,
        "num_rounds": 1,
        "cap": 1,
        "round": 1,
        "dice": dice,
        "is_last": True,
        **other,
    }
    return RoundRow(**{name: values[name] for name in RoundRow.__dataclass_fields__})


ROWS = [row("a", 0.5), row("b", 0.9), row("c", 0.1), row("d", 0.7), row("e", 0.3)]


def ranks(count: int, rows: list[RoundRow] = ROWS) -> list[tuple[str, str]]:
    return [(item.rank, item.key.case) for item in choose_shown(rows, ENTRY, count)]


def test_three_pictures_are_the_best_the_median_and_the_worst_object() -> None:
    assert ranks(3) == [("best", "b"), ("median", "a"), ("worst", "c")]


def test_one_picture_is_the_median_and_none_is_none() -> None:
    assert ranks(1) == [("median", "a")]
    assert ranks(0) == []


def test_more_pictures_than_objects_are_all_of_them() -> None:
    assert [rank for rank, _ in ranks(9)] == ["best", "2 of 5", "median", "4 of 5", "worst"]
    assert ranks(3, ROWS[:1]) == [("only object", "a")]


def test_rows_of_another_entry_are_passed_over() -> None:
    others = [row("x", 1.0, method="other"), row("y", 1.0, fusion=False), row("z", 1.0, user="random")]
    assert ranks(1, [*others, ROWS[0]]) == [("only object", "a")]


@pytest.fixture
def sets(tmp_path: Path) -> list[EvaluationSet]:
    write_case(tmp_path, "a")
    return [find_set(tmp_path / "blocks" / "images", tmp_path / "blocks" / "labels")]


def test_a_picture_is_a_png_with_words_for_who_cannot_see_it(sets: list[EvaluationSet]) -> None:
    events = list(evaluate_entries(sets, [ENTRY]))
    best, worst = draw_pictures(choose_shown(events, ENTRY, 2), sets, ENTRY)
    assert best.title == "best: blocks / a, object 2"
    assert "Dice after the last round 0.667" in worst.alt
    with Image.open(io.BytesIO(best.png)) as image:
        assert image.width > 200


def test_an_object_that_cannot_be_read_again_has_no_picture(sets: list[EvaluationSet]) -> None:
    shown = choose_shown(list(evaluate_entries(sets, [ENTRY])), ENTRY, 1)
    sets[0].cases[0].image.write_bytes(b"gone")
    assert list(draw_pictures(shown, sets, ENTRY)) == []


def test_a_wide_picture_is_made_narrower() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 2400, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(png_of(Image.fromarray(noise)))) as image:
        assert image.size == (MAX_WIDTH, 20)
