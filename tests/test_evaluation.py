"""The evaluation loop and its tables, with a session that is simple enough to know every answer."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fill_session import FillSession, JudgingSession, StubbornSession, stubborn, two_blocks, write, write_case
from limnet.errors import PromptError, WeightsError
from limnet.evaluation import (
    CaseDone,
    CaseFailure,
    EvaluationSettings,
    Report,
    RoundRow,
    Skipped,
    SliceRow,
    evaluate,
    find_set,
)
from limnet.evaluation.metrics import SurfaceScores
from limnet.volume import Volume


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_case(tmp_path / "data", "a")
    write_case(tmp_path / "data", "b")
    return tmp_path / "data"


def blocks(root: Path, **options: Any) -> Any:
    return find_set(root / "blocks" / "images", root / "blocks" / "labels", **options)


def rows_of(events: Any) -> list[RoundRow]:
    return [event for event in events if isinstance(event, RoundRow)]


def test_each_click_finds_one_block_and_the_user_stops_when_all_is_right(root: Path) -> None:
    rows = rows_of(evaluate([blocks(root, limit=1)], FillSession))
    told = [(row.case, row.object_id, row.round, row.dice, row.is_last) for row in rows]
    assert told == [
        ("a", 1, 1, 0.666667, False),  # one block of two: 2 x 27 / (27 + 54)
        ("a", 1, 2, 1.0, True),
        ("a", 2, 1, 1.0, True),
    ]
    assert (rows[0].click_i, rows[0].click_j, rows[0].click_k, rows[0].positive) == (2, 2, 1, True)
    assert (rows[1].click_i, rows[1].click_j, rows[1].click_k) == (8, 2, 1)
    assert rows[0].truth_voxels == 54
    assert rows[0].nsd_2mm == pytest.approx(2 / 3, abs=1e-6)
    assert rows[0].seconds >= 0


def test_rounds_end_at_the_protocols_last(root: Path) -> None:
    rows = rows_of(evaluate([blocks(root, limit=1, ids=(1,))], FillSession, EvaluationSettings(rounds=1)))
    assert [(row.round, row.is_last) for row in rows] == [(1, True)]


def test_clicking_goes_on_past_the_rounds_up_to_the_cap_until_dice_090(root: Path) -> None:
    one = blocks(root, limit=1, ids=(2,))
    rows = rows_of(evaluate([one], stubborn(5, 5, 5, 26, 26), EvaluationSettings(rounds=2, cap=5)))
    assert [row.round for row in rows] == [1, 2, 3, 4]
    rows = rows_of(evaluate([one], stubborn(5, 5, 5), EvaluationSettings(rounds=2, cap=3)))
    assert [row.round for row in rows] == [1, 2, 3]
    rows = rows_of(evaluate([one], stubborn(26, 5, 5), EvaluationSettings(rounds=2, cap=3)))
    assert [row.round for row in rows] == [1, 2]


def test_an_unreadable_case_is_a_failure_and_the_run_goes_on(root: Path) -> None:
    (root / "blocks" / "images" / "a.nii.gz").write_bytes(b"this is no image")
    events = list(evaluate([blocks(root)], FillSession))
    (failure,) = [event for event in events if isinstance(event, CaseFailure)]
    assert failure.case == "a"
    assert "a.nii.gz" in failure.message
    assert "\n" not in failure.message
    assert {row.case for row in rows_of(events)} == {"b"}
    assert [event.case for event in events if isinstance(event, CaseDone)] == ["a", "b"]
    report = Report(events)
    assert report.exit_code == 1
    assert "a.nii.gz" in report.markdown()


def test_mismatched_grids_are_a_failure(root: Path) -> None:
    write(root / "blocks" / "labels" / "b.nii.gz", np.ones((3, 3, 3), np.uint8))
    events = list(evaluate([blocks(root)], FillSession))
    assert [event.case for event in events if isinstance(event, CaseFailure)] == ["b"]
    assert {row.case for row in rows_of(events)} == {"a"}


class BreakingSession(FillSession):
    """Fails in its second round."""

    def propagate(self) -> None:
        if self.mask.any():
            raise PromptError("cannot go on")
        super().propagate()


def test_an_object_that_fails_midway_leaves_no_row_in_the_csv_nor_in_the_tables(
    root: Path, tmp_path: Path
) -> None:
    report = Report(evaluate([blocks(root, limit=1)], BreakingSession, out=tmp_path / "out"))
    assert [(item.object_id, item.message) for item in report.failures] == [(1, "cannot go on")]
    assert report.exit_code == 1
    (objects,) = report.objects().values()
    assert [item.object_id for item in objects] == [2]
    lines = (tmp_path / "out" / "rounds.csv").read_text().splitlines()
    assert len(lines) == 2  # header, object 2


def test_an_unforeseen_error_of_a_session_is_a_failure_that_names_its_kind(root: Path) -> None:
    def broken(volume: Volume) -> FillSession:
        raise ZeroDivisionError("division by zero")

    report = Report(evaluate([blocks(root, limit=1)], broken))
    assert [item.message for item in report.failures] == ["ZeroDivisionError: division by zero"] * 2
    assert report.exit_code == 1


def test_missing_weights_end_the_run(root: Path) -> None:
    def broken(volume: Volume) -> FillSession:
        raise WeightsError("no weights")

    with pytest.raises(WeightsError):
        list(evaluate([blocks(root)], broken))


def test_a_mask_of_another_shape_is_a_failure(root: Path) -> None:
    wrong = np.ones((2, 2, 2), bool)
    report = Report(evaluate([blocks(root, limit=1, ids=(2,))], lambda v: StubbornSession(v, [wrong])))
    assert "must be (12, 12, 6)" in report.failures[0].message


def test_an_absent_label_is_left_out_and_nothing_evaluated_is_no_success(root: Path) -> None:
    report = Report(evaluate([blocks(root, limit=1, ids=(9,))], FillSession))
    assert report.skipped == (Skipped("blocks", "a", 9, "empty in truth"),)
    assert report.exit_code == 1
    assert "empty in truth" in report.markdown()


def test_a_second_run_takes_what_is_complete_from_the_csv(root: Path, tmp_path: Path) -> None:
    def unwanted(volume: Volume) -> FillSession:
        raise AssertionError("no object should be run again")

    out = tmp_path / "out"
    first = rows_of(evaluate([blocks(root)], FillSession, out=out))
    text = (out / "rounds.csv").read_text()
    again = rows_of(evaluate([blocks(root)], unwanted, out=out))
    assert again == first
    assert (out / "rounds.csv").read_text() == text


def test_other_settings_or_another_truth_are_run_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    started = []

    def counting(volume: Volume) -> FillSession:
        started.append(volume)
        return FillSession(volume)

    one = blocks(root, limit=1, ids=(2,))
    list(evaluate([one], counting, out=out))
    list(evaluate([one], counting, EvaluationSettings(rounds=3), out=out))
    list(evaluate([one], counting, EvaluationSettings(fusion=False), out=out))
    assert len(started) == 3
    labels = two_blocks()[1]
    labels[1, 7, 1] = 0
    write(root / "blocks" / "labels" / "a.nii.gz", labels)
    list(evaluate([one], counting, out=out))
    assert len(started) == 4


def test_all_clicks_of_an_answer_are_given_before_the_round(root: Path) -> None:
    class Listening(FillSession):
        def propagate(self) -> None:
            told.append(len(self._pending))
            super().propagate()

    told: list[int] = []
    (row,) = rows_of(
        evaluate([blocks(root, limit=1, ids=(2,))], Listening, EvaluationSettings(user="scribble"))
    )
    assert told == [row.num_clicks]
    assert row.num_clicks > 1


def test_a_row_tells_all_metrics_of_its_round(root: Path) -> None:
    (row,) = rows_of(evaluate([blocks(root, limit=1, ids=(2,))], stubborn(9), EvaluationSettings(rounds=1)))
    # the first 9 of 27 voxels are the block's first layer: the farthest face is 2 mm away
    assert (row.dice, row.iou) == (0.5, 0.333333)
    assert row.nsd_1mm < row.nsd_2mm <= row.nsd_3mm == 1.0
    assert row.hd95_mm == pytest.approx(2.0, abs=0.01)
    assert 0 <= row.preview_seconds <= row.seconds
    assert row.peak_memory_mib > 10


def test_memory_that_only_metrics_need_does_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("limnet.evaluation.evaluate")  # by its name the package shows the function
    scored = module.surface_scores
    peaks = iter([100.0, 300.0, 200.0])  # while the session opens, in round 1, in round 2

    def score(*what: Any) -> SurfaceScores:
        order.append("score")
        scores: SurfaceScores = scored(*what)
        return scores

    def peak() -> float:
        order.append("peak")
        return next(peaks)

    order: list[str] = []
    monkeypatch.setattr(module, "surface_scores", score)
    monkeypatch.setattr(module, "peak_memory_mib", peak)
    monkeypatch.setattr(module, "forget_peak_memory", lambda: order.append("forget"))
    rows = rows_of(evaluate([blocks(root, limit=1, ids=(1,))], FillSession))
    assert order == ["forget", "peak", *["forget", "peak", "score"] * 2]
    assert [row.peak_memory_mib for row in rows] == [300.0, 300.0]  # of all rounds so far


def test_quality_and_dice_of_every_slice_are_told_where_a_session_judges(root: Path) -> None:
    events = list(evaluate([blocks(root, limit=1, ids=(1,))], JudgingSession, EvaluationSettings(rounds=1)))
    slices = [event for event in events if isinstance(event, SliceRow)]
    told = [(row.round, row.slice, row.quality, row.dice, row.suggested) for row in slices]
    # slices 1 to 3 hold the object; of its two blocks one is found
    assert told == [(1, k, k / 10, 0.6667, k == 2) for k in (1, 2, 3)]


def test_a_session_that_does_not_judge_has_no_slice_rows(root: Path) -> None:
    events = evaluate([blocks(root, limit=1)], FillSession)
    assert not [event for event in events if isinstance(event, SliceRow)]


def test_an_object_may_be_prompted_where_it_appears(root: Path) -> None:
    labels = two_blocks()[1]
    labels[8, 8, 0] = 2  # one voxel, on a slice before the block's
    write(root / "blocks" / "labels" / "a.nii.gz", labels)
    settings = EvaluationSettings(rounds=1, first="first-slice")
    (row,) = rows_of(evaluate([blocks(root, limit=1, ids=(2,))], FillSession, settings))
    assert (row.click_i, row.click_j, row.click_k) == (8, 8, 0)
    assert row.user == "centre, first-slice"


def test_protocol_user_and_seed_are_part_of_an_objects_key(root: Path, tmp_path: Path) -> None:
    one = blocks(root, limit=1, ids=(2,))
    for settings in (
        EvaluationSettings(protocol="a"),
        EvaluationSettings(protocol="b"),
        EvaluationSettings(protocol="a", user="random"),
        EvaluationSettings(protocol="a", user="random", seed=1),
    ):
        list(evaluate([one], FillSession, settings, out=tmp_path))
    assert len((tmp_path / "rounds.csv").read_text().splitlines()) == 1 + 4
