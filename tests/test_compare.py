"""Two results beside each other, with differences that are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import tyro

from limnet.cli.compare import Compare
from limnet.errors import ConfigError
from limnet.evaluation.comparison import Comparison, Side, choose, sides_of
from limnet.evaluation.results import ObjectDone, RoundLog
from rows import done

Capture = pytest.CaptureFixture[str]


def side(curves: dict[tuple[str, str, int], list[float]], **settings: object) -> Side:
    """One result; a truth of 100 voxels each."""
    (found,) = sides_of(
        done(*curve, set_name=s, case=c, object_id=o, **settings) for (s, c, o), curve in curves.items()
    )
    return found


def test_differences_wins_ties_and_losses_are_counted_object_by_object() -> None:
    a = side({("s", "1", 1): [0.5], ("s", "2", 1): [0.6], ("s", "3", 1): [0.7], ("s", "4", 1): [0.8]})
    b = side({("s", "1", 1): [0.7], ("s", "2", 1): [0.7], ("s", "3", 1): [0.702], ("s", "4", 1): [0.7]})
    (found,) = Comparison.of(a, b).differences(1)
    assert found.mean_a == pytest.approx(0.65)
    assert found.difference.mean == pytest.approx((0.2 + 0.1 + 0.002 - 0.1) / 4)
    assert (found.wins, found.ties, found.losses) == (2, 1, 1)
    # ranks of .2, .1, .002, -.1: 4, 2.5, 1, 2.5; 7.5 of 10 are positive, as much as in 4 of 16 ways to sign
    assert found.p == pytest.approx(2 * 4 / 16)


def test_equal_results_differ_by_nothing() -> None:
    a = side({("s", "1", 1): [0.5], ("s", "2", 1): [0.6]})
    (found,) = Comparison.of(a, a).differences(1)
    assert tuple(found.difference) == (0, 0, 0)
    assert found.p == 1.0
    assert found.ties == 2


def test_every_set_counts_once_in_the_difference_over_sets() -> None:
    a = side({("s", "1", 1): [0.5], ("s", "2", 1): [0.5], ("t", "1", 1): [0.5]})
    b = side({("s", "1", 1): [0.6], ("s", "2", 1): [0.6], ("t", "1", 1): [0.8]})
    found = Comparison.of(a, b).differences(1)
    assert [item.set_name for item in found] == ["s", "t", "mean over sets"]
    assert [round(item.difference.mean, 6) for item in found] == [0.1, 0.3, 0.2]
    assert found[-1].num_objects == 3


def test_every_set_is_compared_after_every_round() -> None:
    a = side({("s", "1", 1): [0.5, 0.5], ("t", "1", 1): [0.5, 0.5]})
    b = side({("s", "1", 1): [0.6, 0.7], ("t", "1", 1): [0.5, 0.3]})
    table = Comparison.of(a, b).tables()[2]
    assert table.header == ("set", "R1", "R2")
    assert table.rows[:2] == (("s", "0.100", "0.200"), ("t", "0.000", "-0.200"))


def test_rounds_that_only_one_protocol_has_are_left_out() -> None:
    a, b = side({("s", "1", 1): [0.5, 0.6]}), side({("s", "1", 1): [0.5, 0.7, 0.9]})
    found = Comparison.of(a, b)
    assert found.num_rounds == 2
    assert found.differences(2)[0].difference.mean == pytest.approx(0.1)


def test_objects_that_only_one_side_has_are_named() -> None:
    a, b = (
        side({("s", "1", 1): [0.5], ("s", "2", 1): [0.5]}),
        side({("s", "1", 1): [0.5], ("s", "3", 2): [0.5]}),
    )
    notes = Comparison.of(a, b).notes()
    assert "only in A: s/2 object 1" in notes
    assert "only in B: s/3 object 2" in notes


def test_an_object_with_another_truth_is_no_pair() -> None:
    a = side({("s", "1", 1): [0.5], ("s", "2", 1): [0.5]})
    b = sides_of([done(0.6, case="1"), done(0.6, case="2", truth_voxels=7)])[0]
    found = Comparison.of(a, b)
    assert list(found.pairs) == [("s", "1", 1)]
    assert found.other_truth == (("s", "2", 1),)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"A has s/1 object 1; B has t/1 object 1"):
        Comparison.of(side({("s", "1", 1): [0.5]}), side({("t", "1", 1): [0.5]}))


def test_a_result_is_chosen_by_words_of_its_title() -> None:
    sides = [side({("s", "1", 1): [0.5]}, method="limnet 1", fusion=fusion) for fusion in (True, False)]
    assert choose(sides, "limnet, Fusion off", "--b") is sides[1]
    with pytest.raises(ConfigError, match=r"--a: 2 of 2 results fit 'limnet'; .*fusion on.*fusion off"):
        choose(sides, "limnet", "--a")
    with pytest.raises(ConfigError, match=r"there are 2 results"):
        choose(sides, "", "--a")


def write(folder: Path, *objects: ObjectDone) -> Path:
    log = RoundLog(folder)
    for item in objects:
        log.append(*item)
    return folder


def compare(*words: str) -> int:
    return tyro.cli(Compare, args=list(words)).run()


def test_compare_prints_and_writes_two_folders(tmp_path: Path, capsys: Capture) -> None:
    a, b = write(tmp_path / "a", done(0.5, 0.6)), write(tmp_path / "b", done(0.5, 0.8, method="other"))
    for name in ("c.md", "c.html"):
        assert compare(str(a), str(b), "--out", str(tmp_path / name)) == 0
    shown = capsys.readouterr().out
    assert "A: limnet, fusion on" in shown
    assert "B: other, fusion on" in shown
    assert "0.200" in shown
    assert "| s | 1 | 0.600 | 0.800 | 0.200 | 1 | 1 | 0 | 0 |" in (tmp_path / "c.md").read_text()
    assert "<caption>dice after round 2, by set</caption>" in (tmp_path / "c.html").read_text()


def test_compare_tells_two_results_of_one_folder_apart(tmp_path: Path, capsys: Capture) -> None:
    folder = write(tmp_path / "a", done(0.5), done(0.4, fusion=False))
    assert compare(str(folder), "--a", "fusion on", "--b", "fusion off", "--metric", "iou") == 0
    assert "iou after round 1" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="name the same result"):
        compare(str(folder), "--a", "fusion on", "--b", "fusion on")


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no rounds.csv in it; give the --out folder"):
        compare(str(tmp_path), str(tmp_path))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in .md or .html"):
        compare(str(tmp_path), "--out", "tables.txt")
