"""Many cases at once: the same CSVs as one after the other, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fill_session import FillMethod, write_case
from limnet.errors import ConfigError, WeightsError
from limnet.evaluation import (
    CaseDone,
    CaseFailure,
    Entry,
    EvaluationSet,
    EvaluationSettings,
    Event,
    LoadTrials,
    RoundRow,
    evaluate_entries,
    find_set,
    in_order,
)
from limnet.evaluation.evaluate import CaseEvent
from limnet.evaluation.results import ROUNDS_CSV, SLICES_CSV, read_folder, without_measured
from limnet.pool import Pool, Processes, RayCluster, threads_per_worker

SETTINGS = EvaluationSettings(rounds=3, user="random", seed=7, method="fill")


@pytest.fixture
def sets(tmp_path: Path) -> list[EvaluationSet]:
    """Two sets, three cases."""
    root = tmp_path / "data"
    for set_name, case in (("blocks", "a"), ("blocks", "b"), ("more", "c")):
        write_case(root, case, set_name)
    return [find_set(root / name / "images", root / name / "labels") for name in ("more", "blocks")]


def entries(**how: Any) -> list[Entry]:
    return [Entry(SETTINGS, FillMethod(**how))]


def load(**how: Any) -> LoadTrials:
    return LoadTrials(tuple(entries(**how)))


def run(sets: Sequence[EvaluationSet], out: Path, pool: Pool[CaseEvent] | None = None) -> list[Event]:
    return list(evaluate_entries(sets, entries(), out=out, pool=pool))


def tables(out: Path) -> list[str]:
    """Both CSVs without the columns that are measured."""
    return [without_measured((out / name).read_text(encoding="utf-8")) for name in (ROUNDS_CSV, SLICES_CSV)]


def kept_in(out: Path) -> set[tuple[str, int]]:
    """Cases and objects that a folder holds complete."""
    return {(done.key.case, done.key.object_id) for done in read_folder(out)}


def told(events: Sequence[Event]) -> list[tuple[str, ...]]:
    return [
        (event.set_name, event.case, str(event.object_id), str(event.round), str(event.dice))
        for event in events
        if isinstance(event, RoundRow)
    ]


def test_two_workers_write_what_one_process_writes(sets: list[EvaluationSet], tmp_path: Path) -> None:
    here = run(sets, tmp_path / "one")
    there = run(sets, tmp_path / "two", Processes(load(), workers=2))
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    assert told(in_order(here, sets)) == told(in_order(there, sets))
    assert len(told(here)) > 6


def test_the_same_seed_writes_the_same_csv_twice(sets: list[EvaluationSet], tmp_path: Path) -> None:
    for name in ("first", "second"):
        run(sets, tmp_path / name)
    assert tables(tmp_path / "first") == tables(tmp_path / "second")


def test_another_seed_clicks_elsewhere(sets: list[EvaluationSet], tmp_path: Path) -> None:
    clicks = []
    for seed in (1, 2):
        entry = Entry(EvaluationSettings(user="random", seed=seed), FillMethod())
        rows = [row for row in evaluate_entries(sets, [entry]) if isinstance(row, RoundRow)]
        clicks.append([(row.click_i, row.click_j, row.click_k) for row in rows])
    assert clicks[0] != clicks[1]


def test_a_worker_that_dies_fails_its_case_alone(sets: list[EvaluationSet], tmp_path: Path) -> None:
    pool = Processes(load(dies_at="a.nii.gz"), workers=2)
    events = list(evaluate_entries(sets, entries(), out=tmp_path / "out", pool=pool))
    (failure,) = [event for event in events if isinstance(event, CaseFailure)]
    assert (failure.case, failure.message.split(";")[0]) == ("a", "its worker process ended with exit code 3")
    assert sorted(event.case for event in events if isinstance(event, CaseDone)) == ["a", "b", "c"]
    assert kept_in(tmp_path / "out") == {("b", 1), ("b", 2), ("c", 1), ("c", 2)}


def test_what_no_method_can_do_without_ends_the_run(sets: list[EvaluationSet]) -> None:
    with pytest.raises(WeightsError, match="no weights"):
        list(evaluate_entries(sets, entries(), pool=Processes(load(fatal=True), workers=1)))


def test_a_run_that_is_stopped_keeps_its_objects_and_is_finished_by_the_next(
    sets: list[EvaluationSet], tmp_path: Path
) -> None:
    run(sets, tmp_path / "whole")
    events = evaluate_entries(sets, entries(), out=tmp_path / "out", pool=Processes(load(), workers=1))
    for event in events:
        if isinstance(event, RoundRow) and (event.case, event.object_id) == ("c", 2):
            break
    events.close()  # what Ctrl-C does to it
    assert ("c", 1) in kept_in(tmp_path / "out")
    run(sets, tmp_path / "out")
    assert tables(tmp_path / "out") == tables(tmp_path / "whole")


def test_complete_objects_are_not_run_again_by_workers(sets: list[EvaluationSet], tmp_path: Path) -> None:
    first = run(sets, tmp_path / "out")
    pool = Processes(load(dies_at="nii.gz"), workers=1)  # would die at the first session
    again = list(evaluate_entries(sets, entries(), out=tmp_path / "out", pool=pool))
    assert told(in_order(again, sets)) == told(in_order(first, sets))
    assert not [event for event in again if isinstance(event, CaseFailure)]


def test_workers_share_the_threads() -> None:
    assert [threads_per_worker(8, workers) for workers in (1, 3, 16)] == [8, 2, 1]


def test_ray_is_asked_for_by_name_when_it_is_absent(
    sets: list[EvaluationSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'limnet\[ray\]'"):
        list(evaluate_entries(sets, entries(), pool=RayCluster(load())))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_ray_instance_writes_what_one_process_writes(sets: list[EvaluationSet], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    environment = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    try:
        run(sets, tmp_path / "ray", RayCluster(load(), workers=2))
        pool = RayCluster(load(dies_at="a.nii.gz"), workers=2)
        events = list(evaluate_entries(sets, entries(), pool=pool))
    finally:
        ray.shutdown()
    run(sets, tmp_path / "one")
    assert tables(tmp_path / "ray") == tables(tmp_path / "one")
    (failure,) = [event for event in events if isinstance(event, CaseFailure)]
    assert (failure.case, failure.message.split(":")[0]) == ("a", "its Ray worker died")
