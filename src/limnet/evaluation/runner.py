"""Many cases: one after the other, in processes or on a Ray cluster, as the pool (`limnet.pool`) has it.

A case is the unit of work. The pool runs jobs and tells what happens in them as it happens; this module gives
out the jobs, and alone writes to the log, so that the CSVs are the same whichever pool ran them (but for
columns that are measured), and a run which was stopped loses no object that was complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limnet.evaluation.cases import CaseFailure, CaseFiles, EvaluationSet
from limnet.evaluation.entry import Entry, LoadTrials
from limnet.evaluation.evaluate import CaseEvent, Known, evaluate_case
from limnet.evaluation.results import CaseDone, Event, ObjectDone, ObjectKey, RoundLog
from limnet.evaluation.trial import EvaluationSettings, NewSession, Trial
from limnet.pool import Pool, ThisProcess


@dataclass(frozen=True, eq=False)
class Job:
    """One case, for whoever runs it: everything in it can be pickled."""

    number: int  # from 0, in the order of sets and cases
    a_set: EvaluationSet  # of this case alone
    files: CaseFiles
    known: Known  # what an earlier run has finished of it

    def run(self, trials: Sequence[Trial]) -> Iterator[CaseEvent]:
        """Evaluate the case."""
        return evaluate_case(self.a_set, self.files, trials, self.known)

    def failure(self, message: str) -> CaseFailure:
        """The case could not be evaluated to its end."""
        return CaseFailure(self.a_set.name, self.files.name, f"{message}; objects it had finished are kept")


def evaluate_entries(
    sets: Sequence[EvaluationSet],
    entries: Sequence[Entry],
    *,
    out: Path | None = None,
    pool: Pool[CaseEvent] | None = None,
) -> Iterator[Event]:
    """Evaluate every object of every set under every entry; events come as they happen, in any order.

    With `out`, rows go to CSVs in that folder object by object, and objects that are complete there under the
    same settings are yielded from it instead of being run again. `pool` is this process by default. An
    OutputError when a CSV cannot be written, or what no method could do without (weights, packages), ends the
    run; all else is a failure of its case.
    """
    log = RoundLog(out) if out is not None else None
    jobs = _jobs(sets, log)
    for a_set in sets:
        yield from a_set.failures
    for number, event in (pool or ThisProcess(LoadTrials(tuple(entries))))(jobs):
        job = jobs[number]
        if event is None:
            yield CaseDone(job.a_set.name, job.files.name)
        elif isinstance(event, ObjectDone):
            if log is not None and event.key not in job.known:
                log.append(event.rows, event.slices)
            yield from event.slices
        else:
            yield event
    if log is not None:
        log.finish()


def evaluate(
    sets: Sequence[EvaluationSet],
    new_session: NewSession,
    settings: EvaluationSettings | None = None,
    *,
    out: Path | None = None,
) -> Iterator[Event]:
    """Evaluate one method in this process; see `evaluate_entries`."""
    return evaluate_entries(
        sets, [Entry(settings or EvaluationSettings(), lambda threads: new_session)], out=out
    )


def in_order(events: Iterable[Event], sets: Sequence[EvaluationSet]) -> list[Event]:
    """Events in the order of sets and cases, as one process yields them, however they came."""
    places = [(a_set.name, files.name) for a_set in sets for files in a_set.cases]
    order = {place: number for number, place in enumerate(places)}
    # what is not of a case that ran (files without a partner) comes first, in the order it came
    return sorted(events, key=lambda event: order.get((event.set_name, event.case), -1))


def _jobs(sets: Sequence[EvaluationSet], log: RoundLog | None) -> list[Job]:
    """One per case, each with what the log knows of it."""
    known: dict[tuple[str, str], dict[ObjectKey, ObjectDone]] = {}
    for key, done in log.objects.items() if log is not None else ():
        known.setdefault((key.set_name, key.case), {})[key] = done
    cases = [(a_set, files) for a_set in sets for files in a_set.cases]
    return [
        Job(
            number=number,
            a_set=replace(a_set, cases=(files,), failures=()),
            files=files,
            known=known.get((a_set.name, files.name), {}),
        )
        for number, (a_set, files) in enumerate(cases)
    ]
