"""A batch that is run again: what is finished is kept, what has changed is done again, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limnet
from batches import CORNER, LoadFakes, planned, run, script, status, summary, table, write_folders
from conftest import Ball
from limnet.batch import Plan, Playing, run_batch
from limnet.errors import OutputError
from limnet.pool import ThisProcess
from limnet.sample import sample_volume_path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folders(ball: Ball, tmp_path: Path) -> Path:
    """Three volumes with a script each; and room for what comes of them."""
    return write_folders(ball, tmp_path)


def test_what_is_finished_is_kept_and_not_touched(folders: Path) -> None:
    before = run(planned(folders), folders / "out")
    stamps = {path: path.stat().st_mtime_ns for path in (folders / "out").glob("*.nii.gz")}
    after = run(
        planned(folders), folders / "out", pool=ThisProcess(LoadFakes(folders / "scans"))
    )  # would die
    assert status(after) == dict.fromkeys("abc", "kept")
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert [after[name].objects for name in "abc"] == [before[name].objects for name in "abc"]
    assert [row["status"] for row in summary(folders / "out")] == ["kept"] * 3


@pytest.mark.parametrize("what", ["prompts", "volume", "weights", "settings"])
def test_what_has_changed_is_done_again_and_says_why(folders: Path, what: str) -> None:
    run(planned(folders), folders / "out")
    plan, pool = planned(folders), ThisProcess(LoadFakes())
    if what == "prompts":
        script(folders / "prompts" / "b.json", CORNER)
    elif what == "volume":
        volume = limnet.read_volume(folders / "scans" / "b.nii.gz")
        limnet.write_mask(folders / "scans" / "b.nii.gz", volume.array > 400, like=volume)
    elif what == "settings":
        plan = Plan(tuple(_renamed(case) if case.name == "b" else case for case in plan.cases))
    else:
        pool = ThisProcess(_load_others)
    rows = run(plan, folders / "out", pool=pool)
    expected = dict.fromkeys("abc", "kept") | {"b": "done"}
    assert status(rows) == (dict.fromkeys("abc", "done") if what == "weights" else expected)
    assert rows["b"].message == f"run again: {what} changed"


def _renamed(case: Any) -> Any:
    return replace(case, names=("another name",))


def _load_others(threads: int | None) -> Any:
    networks = LoadFakes()(threads)
    networks.identity = "1.0.0-others"
    return networks


def test_a_volume_that_was_only_copied_is_not_done_again(folders: Path) -> None:
    run(planned(folders), folders / "out")
    os.utime(folders / "scans" / "a.nii.gz", ns=(1, 1))
    assert status(run(planned(folders), folders / "out"))["a"] == "kept"


def test_a_result_that_is_gone_is_made_again(folders: Path) -> None:
    run(planned(folders), folders / "out")
    (folders / "out" / "a.nii.gz").unlink()
    assert status(run(planned(folders), folders / "out"))["a"] == "done"


def test_a_result_that_a_person_edited_is_never_lost(folders: Path) -> None:
    run(planned(folders), folders / "out")
    edited = folders / "out" / "a.nii.gz"
    volume = limnet.read_volume(folders / "scans" / "a.nii.gz")
    limnet.write_mask(edited, np.ones(volume.shape, np.uint8), like=volume)
    content = edited.read_bytes()

    rows = run(planned(folders), folders / "out")
    assert (rows["a"].status, rows["a"].message) == ("kept", "edited since it was written; left as it is")
    script(folders / "prompts" / "a.json", CORNER)
    rows = run(planned(folders), folders / "out")
    assert rows["a"].status == "failed"
    assert "was edited since, and prompts changed" in rows["a"].message
    assert edited.read_bytes() == content

    assert status(run(planned(folders), folders / "out", overwrite=True))["a"] == "done"
    assert edited.read_bytes() != content


def test_a_file_of_others_is_not_overwritten_unasked(folders: Path) -> None:
    (folders / "out").mkdir()
    (folders / "out" / "a.nii.gz").write_bytes(b"precious")
    rows = run(planned(folders), folders / "out")
    assert (status(rows)["a"], status(rows)["b"]) == ("failed", "done")
    assert "not from this batch" in rows["a"].message
    assert (folders / "out" / "a.nii.gz").read_bytes() == b"precious"


def test_a_damaged_record_makes_a_result_foreign_not_a_crash(folders: Path) -> None:
    run(planned(folders), folders / "out")
    (folders / "out" / ".batch" / "a.json").write_text("{", encoding="utf-8")
    assert status(run(planned(folders), folders / "out")) == {"a": "failed", "b": "kept", "c": "kept"}
    assert status(run(planned(folders), folders / "out", overwrite=True))["a"] == "done"


def test_a_batch_that_is_stopped_keeps_what_is_finished_and_tells_the_rest(folders: Path) -> None:
    script(folders / "prompts" / "b.json", {"clicks": [{"index": [20, 16, 6]}] * 3})
    events = run_batch(planned(folders), folders / "out", pool=ThisProcess(LoadFakes()))
    for event in events:
        if isinstance(event, Playing) and (event.case, event.round) == ("b", 2):
            break
    events.close()  # what Ctrl-C does to it
    assert [row["status"] for row in summary(folders / "out")] == ["done", "not run", "not run"]
    assert not (folders / "out" / "b.nii.gz").exists()
    assert not list((folders / "out" / ".batch").glob("draft-*"))
    assert status(run(planned(folders), folders / "out")) == {"a": "kept", "b": "done", "c": "done"}


def test_a_result_that_was_noted_but_not_put_in_place_is_made_again(folders: Path) -> None:
    run(planned(folders), folders / "out")
    target = folders / "out" / "a.nii.gz"
    old = target.read_bytes()
    script(folders / "prompts" / "a.json", CORNER)
    run(planned(folders), folders / "out")
    new = target.read_bytes()
    target.write_bytes(old)  # killed between the record and the rename
    (folders / "out" / ".batch" / "draft-left").mkdir()
    assert status(run(planned(folders), folders / "out"))["a"] == "done"
    assert target.read_bytes() == new
    assert not (folders / "out" / ".batch" / "draft-left").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_real_batch_that_is_stopped_is_finished_by_the_next(tmp_path: Path, how: signal.Signals) -> None:
    """The command itself, on the shipped networks, stopped in the middle again and again."""
    names = [f"case{number}" for number in range(5)]
    rows = "".join(f"{sample_volume_path()},clicks.json,{name}\n" for name in names)
    path = table(tmp_path, f"volume,prompts,case\n{rows}")
    script(tmp_path / "clicks.json", {"clicks": [{"index": [181, 101, 16]}, {"index": [150, 60, 16]}]})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "limnet", "batch", str(path), "-o", str(out), "--workers", "1"]
    num_finished = 0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and len(list(out.glob("*.nii.gz"))) <= num_finished:
            time.sleep(0.02)
        assert process.poll() is None, "the batch ended before it could be stopped"
        process.send_signal(how)
        printed, said = process.communicate(timeout=60)
        told = summary(out)
        assert [row["case"] for row in told] == names
        finished = sorted(item.name.removesuffix(".nii.gz") for item in out.glob("*.nii.gz"))
        assert num_finished < len(finished) < len(names)
        num_finished = len(finished)
        assert all(limnet.read_mask(out / f"{name}.nii.gz").any() for name in finished)
        if how == signal.SIGINT:
            assert process.returncode == 130
            assert said.strip().endswith("limnet: stopped")
            num_not_run = [row["status"] for row in told].count("not run")
            assert f"not run {num_not_run}\n" in printed
            assert num_not_run - (len(names) - num_finished) in (0, 1)  # stopped as a case was being noted
            assert not list((out / ".batch").glob("draft-*"))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"kept {num_finished}, failed 0, not run 0" in done.stdout
    first, *others = (limnet.read_mask(out / f"{name}.nii.gz") for name in names)
    assert all(np.array_equal(first, other) for other in others)
    assert sorted(item.name for item in (out / ".batch").iterdir()) == sorted(
        [*(f"{name}.json" for name in names), "lock"]
    )


def test_two_batches_do_not_work_in_one_folder(folders: Path) -> None:
    events = run_batch(planned(folders), folders / "out", pool=ThisProcess(LoadFakes()))
    next(events)
    with pytest.raises(OutputError, match="another batch works in it"):
        run(planned(folders), folders / "out")
    events.close()
    assert status(run(planned(folders), folders / "out"))["a"] == "done"
