"""Tables of a report, with figures that are worked out by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from limnet.errors import OutputError
from limnet.evaluation.calibration import Calibration, suggestion_is_good
from limnet.evaluation.cases import CaseFailure, Skipped
from limnet.evaluation.machine import machine, processor
from limnet.evaluation.report import Report
from limnet.evaluation.results import ObjectDone
from limnet.evaluation.summary import ObjectSummary, SetSummary
from limnet.evaluation.table import Table
from rows import done


def report_of(*objects: ObjectDone) -> Report:
    return Report(event for item in objects for event in (*item.rows, *item.slices))


def sets_of(*objects: ObjectDone) -> list[SetSummary]:
    (found,) = report_of(*objects).sets().values()
    return found


def cells(table: Table, row: int = 0) -> dict[str, str]:
    return dict(zip(table.header, table.rows[row], strict=True))


def test_a_table_tells_dice_falls_and_clicks() -> None:
    (table,) = report_of(done(0.5, 0.8, 0.65, 0.98)).tables()
    row = cells(table)
    assert [row[f"R{n}"] for n in (1, 2, 3, 4)] == ["0.500", "0.800", "0.650", "0.980"]
    assert row["objects"] == "1"
    assert row["falls"] == "33%"
    assert row["NoC@0.80"] == "2.0 (0)"
    assert row["NoC@0.90"] == "4.0 (0)"
    assert table.rows[1][0] == "mean over sets"


def test_a_threshold_not_reached_counts_at_the_cap_and_as_a_failure() -> None:
    found = sets_of(done(0.5, 0.5, 0.82, num_rounds=2, cap=3))[0]
    assert [found.estimates[name].mean for name in ("noc_80", "noc_85", "noc_90")] == [3, 3, 3]
    assert found.failures == (0, 1, 1)
    assert found.dice_by_round == (0.5, 0.5)


def test_rounds_that_were_not_needed_repeat_the_last_value() -> None:
    found = ObjectSummary.of(done(0.6, 1.0, num_rounds=4, cap=6).rows)
    assert found.dice_by_round == (0.6, 1.0, 1.0, 1.0)
    assert found.auc == pytest.approx((0.3 + 1 + 1 + 0.5) / 3, abs=1e-6)
    assert found.quantities()["falls"] == 0.0


def test_metrics_are_those_after_the_protocols_last_round_not_after_the_caps() -> None:
    found = ObjectSummary.of(done(0.4, 0.6, 0.95, num_rounds=2, cap=3).rows)
    assert found.nsd_3mm == 0.6
    assert found.hd95_mm == pytest.approx(4.0)
    assert found.best_dice == 0.95


def test_every_set_counts_once_in_the_mean() -> None:
    found = sets_of(done(0.6), done(0.6, case="d"), done(1.0, set_name="t"))
    assert [item.num_objects for item in found] == [2, 1, 3]
    assert found[-1].dice_by_round == pytest.approx((0.8,))


def test_objects_without_a_surface_are_left_out_of_hd95_and_counted() -> None:
    found = sets_of(done(0.5, hd95_mm=4.0), done(0.0, case="d", hd95_mm=math.nan))[0]
    assert found.estimates["hd95_mm"].mean == 4.0
    assert found.num_without_hd95 == 1


def test_falls_have_a_mean_and_a_largest_size() -> None:
    found = sets_of(done(0.5, 0.4, 0.7), done(0.9, 0.6, 0.6, case="d"))[0]
    assert found.num_falls == 2
    assert found.mean_fall == pytest.approx(0.2)
    assert found.max_fall == pytest.approx(0.3)
    assert found.estimates["falls"].mean == 0.5


def test_the_challenge_counts_the_last_five_rounds_by_the_trapezoid() -> None:
    report = report_of(done(0.1, 0.5, 0.6, 0.7, 0.8, 0.9, protocol="cvpr25"))
    table = next(t for section in report.sections() for t in section.tables if "challenge" in t.title)
    assert cells(table)["DSC AUC"] == "2.800"  # .25 + .6 + .7 + .8 + .45; the box round does not count
    assert cells(table)["NSD AUC"] == "1.400"
    assert cells(table)["DSC final"] == "0.900"


def test_fusion_on_and_off_stand_side_by_side() -> None:
    report = report_of(done(0.5, 0.6), done(0.5, 0.4, fusion=False))
    first, *rest = report.sections()
    assert [section.title for section in rest] == ["limnet, fusion on", "limnet, fusion off"]
    overview = first.tables[0]
    assert [row[0] for row in overview.rows] == ["limnet, fusion on", "limnet, fusion off"]
    assert [cells(overview, row)["Dice last"] for row in (0, 1)] == ["0.600", "0.400"]


def test_kinds_of_object_are_listed_by_their_names() -> None:
    objects = [done(0.1 * n, case=case, object_id=n) for case in "ab" for n in (1, 2)]
    report = Report((row for item in objects for row in item.rows), names={"s": {2: "tumour"}})
    (table,) = report.sections()[0].tables
    assert [row[:2] for row in table.rows] == [("s / object 1", "2"), ("s / tumour", "2")]
    assert table.rows[1][2] == "0.200 [0.200, 0.200]"


def test_calibration_is_worked_out_by_hand() -> None:
    found = Calibration.of(done(0.5, slices=[[(0.2, 0.1), (0.4, 0.5), (0.9, 0.9), (math.nan, 0.3)]]).slices)
    assert found.num_slices == 3
    assert found.error == pytest.approx((0.1 + 0.1 + 0.0) / 3)
    assert found.bias == pytest.approx(0.0)
    assert found.correlation == pytest.approx(0.97, abs=0.01)
    assert [(part.num_slices, part.dice) for part in found.bins] == [(1, 0.1), (1, 0.5), (1, 0.9)]


@pytest.mark.parametrize(("suggested", "is_good"), [(0.35, True), (0.4, False), (0.1, True)])
def test_a_suggestion_is_good_when_fewer_than_three_slices_are_worse(suggested: float, is_good: bool) -> None:
    slices = [(0.5, suggested), (0.5, 0.2), (0.5, 0.3), (0.5, 0.35), (0.5, 0.9)]
    assert suggestion_is_good(done(0.5, slices=[slices]).slices) is is_good


def test_suggestions_are_counted_per_object_and_round() -> None:
    good, bad = [(0.5, 0.1), (0.5, 0.9)], [(0.5, 0.9), (0.5, 0.1), (0.5, 0.2), (0.5, 0.3)]
    report = report_of(done(0.5, 0.5, slices=[good, bad]), done(0.5, 0.5, case="d", slices=[good, good]))
    ((found, _),) = (item.values() for item in report.calibrations().values())
    assert (found.num_good, found.num_suggestions) == (3, 4)


def test_failures_are_named_and_make_the_run_fail() -> None:
    report = report_of(done(0.5))
    assert report.exit_code == 0
    report.add(CaseFailure("s", "e", "not an image"))
    report.add(Skipped("s", "c", 9, "empty in truth"))
    assert report.exit_code == 1
    text = report.markdown()
    assert "## Failed: 1\n\n- s / e: not an image" in text
    assert "## Left out: 1\n\n- s / c: object 9 (empty in truth)" in text


def test_what_failed_or_is_left_out_is_called_by_its_name_where_the_set_knows_it() -> None:
    events = [
        CaseFailure("s", "e", "no mask", 2),
        Skipped("s", "c", 2, "too small"),
        Skipped("s", "c", 3, "empty"),
    ]
    text = Report(events, names={"s": {2: "tumour"}}).markdown()
    assert "- s / e: object 2 tumour: no mask" in text
    assert "- s / c: object 2 tumour (too small), object 3 (empty)" in text


def test_nothing_evaluated_is_no_success() -> None:
    assert Report().exit_code == 1
    assert Report().tables() == []
    assert "limnet evaluate" in Report().html("limnet evaluate")


def test_a_report_is_written_as_markdown_csv_and_page(tmp_path: Path) -> None:
    report = report_of(done(0.6, 1.0), done(1.0, 1.0, case="d"))
    report.write(tmp_path / "out", "limnet evaluate --images I --labels L", facts={"cores": "2"})
    names = ["objects.csv", "report.html", "sets.csv", "summary.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "limnet evaluate --images I --labels L" in text
    assert "| s | 2 | 0.800 | 1.000 |" in text
    assert "- cores: 2" in text
    with (tmp_path / "out" / "sets.csv").open() as file:
        found = {(row["set_name"], row["quantity"]): row for row in csv.DictReader(file)}
    assert found["s", "dice_1"]["mean"] == "0.8"
    assert found["s", "dice_1"]["low"] == "0.6"
    assert len((tmp_path / "out" / "objects.csv").read_text().splitlines()) == 3


def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="give another --out folder"):
        report_of(done(0.5)).write(tmp_path / "out")


def test_the_machine_tells_versions_and_processor(tmp_path: Path) -> None:
    assert {"date", "system", "processor", "cores", "python", "limnet", "onnxruntime"} <= machine().keys()
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Abacus 3000\n")
    assert processor(tmp_path / "cpuinfo") == "Abacus 3000"
    assert processor(tmp_path / "missing") != ""
