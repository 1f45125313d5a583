"""kill -9 at any moment: every change that was acknowledged is there afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from doubles import WilfulLimNet
from kill_journal import told, volume
from limnet.annotation import Annotation
from limnet.journal import Journal
from limnet.journal.entries import Reader
from limnet.journal.store import Store

NUM_KILLS = 50
LONGEST = 0.4  # seconds of work before a kill


@pytest.fixture
def workers() -> Iterator[subprocess.Popen[str]]:
    """Whoever starts workers."""
    words = [sys.executable, str(Path(__file__).with_name("kill_journal.py"))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running


def acknowledged_until_killed(
    workers: subprocess.Popen[str], path: Path, seed: int, seconds: float
) -> list[str]:
    """What a worker said before it was killed, so many seconds after its first line."""
    assert workers.stdin is not None and workers.stdout is not None
    workers.stdin.write(f"{seed} {path}\n")
    workers.stdin.flush()
    pid = int(workers.stdout.readline().removeprefix("pid "))
    lines = [workers.stdout.readline().rstrip("\n")]
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    while "ended" not in (line := workers.stdout.readline().rstrip("\n")):
        lines.append(line)
    assert line.endswith(f"ended {signal.SIGKILL:d}"), line  # what precedes it was cut off: not acknowledged
    return lines


def before_the_last_change(path: Path) -> Annotation:
    """The annotation of a journal without its last entry."""
    store, reader = Store.open(path), Reader(volume())
    found = [reader.entry(stored) for stored in store.rows()]
    store.close()
    entries = [entry for entry in found if entry is not None]
    return Annotation(volume(), WilfulLimNet(), entries=entries[:-1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are forked")
def test_fifty_kills_at_random_moments_lose_nothing(tmp_path: Path, workers: subprocess.Popen[str]) -> None:
    """The state afterwards is the last one acknowledged, or the one after it, which was on disk already.

    Ten journals are each worked on, killed and opened again five times.
    """
    rng = np.random.default_rng(0)
    num_changes = num_rounds = 0
    for kill in range(NUM_KILLS):
        path = tmp_path / f"{kill // 5}.limnet"
        lines = acknowledged_until_killed(workers, path, seed=kill, seconds=float(rng.uniform(0, LONGEST)))
        with Journal.open(path) as journal:
            work = journal.restore(volume(), WilfulLimNet())
        num_changes += len(lines) - 1
        num_rounds += sum(len(item.session.rounds) for item in work.objects)
        if told(work) != lines[-1]:
            assert told(before_the_last_change(path)) == lines[-1]
    assert num_changes > NUM_KILLS
    assert num_rounds > 0
