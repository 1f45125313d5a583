"""The CSVs: complete or not there, resumed without loss, the same bytes for the same results."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from limnet.errors import OutputError
from limnet.evaluation.results import MEASURED, RoundLog, read_folder, without_measured
from rows import done

SLICES = [[(0.9, 0.8), (0.5, 0.6)], [(0.7, 0.7)]]


def texts(folder: Path) -> tuple[str, str]:
    return (folder / "rounds.csv").read_text(), (folder / "slices.csv").read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two objects, the second without slices."""
    log = RoundLog(tmp_path / "out")
    log.append(*done(0.5, 0.75, slices=SLICES))
    log.append(*done(0.25, case="d"))
    return log.folder


def test_what_was_written_is_read_again(folder: Path) -> None:
    assert read_folder(folder) == [done(0.5, 0.75, slices=SLICES), done(0.25, case="d")]
    assert RoundLog(folder).complete(done(0.25, case="d").key) == done(0.25, case="d")


def test_reading_leaves_the_files_as_they_are(folder: Path) -> None:
    before = texts(folder)
    RoundLog(folder)
    assert texts(folder) == before


def test_nan_survives_the_file(tmp_path: Path) -> None:
    log = RoundLog(tmp_path)
    log.append(*done(0.0, hd95_mm=math.nan, peak_memory_mib=math.nan, slices=[[(math.nan, 0.5)]]))
    (found,) = read_folder(tmp_path)
    assert math.isnan(found.rows[0].hd95_mm)
    assert math.isnan(found.rows[0].peak_memory_mib)
    assert math.isnan(found.slices[0].quality)


@pytest.mark.parametrize("cut", [2, 40, 90])
def test_a_file_that_was_cut_off_loses_its_last_object_alone(folder: Path, cut: int) -> None:
    rounds = folder / "rounds.csv"
    rounds.write_text(rounds.read_text()[:-cut])
    log = RoundLog(folder)
    assert list(log.objects) == [done(0.5, 0.75, slices=SLICES).key]
    log.append(*done(0.25, case="d"))
    assert len(read_folder(folder)) == 2


def test_a_lost_end_of_line_loses_nothing(folder: Path) -> None:
    before = texts(folder)
    (folder / "rounds.csv").write_text(before[0][:-1])
    assert len(RoundLog(folder).objects) == 2
    assert texts(folder) == before


def test_an_object_whose_slices_are_cut_off_is_not_complete(folder: Path) -> None:
    slices = folder / "slices.csv"
    slices.write_text(slices.read_text()[:-5])
    assert list(RoundLog(folder).objects) == [done(0.25, case="d").key]
    assert len(slices.read_text().splitlines()) == 1  # its header


def test_slices_of_an_object_that_was_never_finished_are_dropped(folder: Path) -> None:
    before = texts(folder)
    orphan = RoundLog(folder.parent / "other")
    orphan.append(*done(0.5, case="e", slices=[[(0.1, 0.2)]]))
    with (folder / "slices.csv").open("a") as file:
        file.write(texts(orphan.folder)[1].splitlines()[1] + "\n")
    RoundLog(folder)
    assert texts(folder) == before


def test_finished_files_are_the_same_in_whatever_order_objects_came(tmp_path: Path) -> None:
    objects = [
        done(0.5, set_name=name, object_id=number, method=method, slices=[[(0.5, 0.5)]])
        for name in ("b", "a")
        for number in (10, 9)
        for method in ("limnet", "geodesic")
    ]
    for name, order in (("one", objects), ("two", objects[::-1])):
        log = RoundLog(tmp_path / name)
        for item in order:
            log.append(*item)
        log.finish()
    assert texts(tmp_path / "one") == texts(tmp_path / "two")
    keys = [
        (item.key.set_name, item.key.object_id, item.key.method) for item in read_folder(tmp_path / "one")
    ]
    assert keys == sorted(keys)
    assert keys[0] == ("a", 9, "geodesic")


def test_runs_that_differ_in_what_is_measured_alone_are_the_same_without_it(tmp_path: Path) -> None:
    for name, seconds in (("one", 0.1), ("two", 0.2)):
        log = RoundLog(tmp_path / name)
        log.append(*done(0.5, seconds=seconds, preview_seconds=seconds, peak_memory_mib=100 * seconds))
    one, two = (texts(tmp_path / name)[0] for name in ("one", "two"))
    assert one != two
    assert without_measured(one) == without_measured(two)
    assert not set(MEASURED) & set(without_measured(one).splitlines()[0].split(","))


def test_a_table_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rounds.csv").write_text("a,b\n1,2\n")
    with pytest.raises(OutputError, match="another --out"):
        RoundLog(tmp_path)
    assert (tmp_path / "rounds.csv").read_text() == "a,b\n1,2\n"


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="--out"):
        RoundLog(tmp_path / "out")
