"""Processes that work on an annotation until they are killed, and tell what was acknowledged.

For every line "SEED JOURNAL" of its input this program forks a worker, which is how one starts in no time. A
worker writes "pid N", then one line after every change that returned: number of rounds, of pending prompts
and of undone ones, of object 1 and then of object 2, and the checksum of the label map. When it has ended,
"ended STATUS" follows, after whatever it could not finish writing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import numpy as np

from doubles import WilfulLimNet, volume_of
from limnet.annotation import Annotation
from limnet.errors import PromptError
from limnet.journal import Journal
from limnet.session import Session
from limnet.volume import Volume

SHAPE = (20, 18, 10)


def volume() -> Volume:
    return volume_of(np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16), (1, 1, 2))


def told(work: Annotation) -> str:
    """What can be seen of an annotation, in one line."""
    counts = [
        (len(history.rounds), len(history.pending), len(history.undone))
        for history in (item.session.history for item in work.objects)
    ]
    return f"{counts} {hashlib.sha256(work.labels().tobytes()).hexdigest()}"


def change(session: Session, rng: np.random.Generator) -> None:
    """One change at random; most are prompts and sweeps."""
    what = rng.choice(["click", "paint", "box", "sweep", "sweep", "undo", "redo", "go"])
    index = tuple(int(rng.integers(n)) for n in SHAPE)
    if what == "click":
        session.click(index, positive=bool(rng.random() < 0.8))  # type: ignore[arg-type]
    elif what == "paint":
        session.paint(rng.random(SHAPE[:2]) > 0.6, index[2])
    elif what == "box":
        session.box((0, 0, index[2]), index)  # type: ignore[arg-type]
    elif what == "sweep":
        session.propagate()
    elif what == "go":
        session.go_to_round(int(rng.integers(3)))
    else:
        getattr(session, what)()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def work_until_killed(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    if path.exists():
        work = Journal.open(path).restore(volume(), WilfulLimNet())
    else:
        work = Annotation(volume(), WilfulLimNet(), journal=Journal.create(path, volume()))
    while len(work.objects) < 2:
        work.add()
    say(told(work))
    while True:
        try:
            change(work.object(int(rng.integers(1, 3))).session, rng)
        except PromptError:
            continue
        say(told(work))


def main() -> None:
    for line in sys.stdin:
        seed, path = line.rstrip("\n").split(" ", 1)
        worker = os.fork()
        if worker == 0:
            say(f"pid {os.getpid()}")
            work_until_killed(Path(path), int(seed))
        _, status = os.waitpid(worker, 0)
        say(f"ended {status}")


if __name__ == "__main__":
    main()
