"""Slots: one per annotation of the workspace, loaded or not; and how they are found again on disk."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from limnet.annotation import Annotation
from limnet.errors import ConfigError
from limnet.journal import Journal
from limnet.server.record import FILE, Record, read_record


@dataclass(eq=False)
class Slot:
    """One annotation in the table, loaded or not."""

    record: Record
    folder: Path
    lock: threading.RLock = field(default_factory=threading.RLock)
    annotation: Annotation | None = None  # guarded by `lock`
    journal: Journal | None = None  # likewise
    stamp: tuple[int, int] | None = None  # of the file when it was read
    is_gone: bool = False  # deleted; guarded by `lock`
    pins: int = 0  # guarded by the table's lock, as are the next two
    nbytes: int = 0
    last_used: float = field(default_factory=time.monotonic)

    @property
    def loaded(self) -> Annotation:
        """The annotation of an slot that is held."""
        assert self.annotation is not None, "hold the slot first"
        return self.annotation


def read_slots(users: Path) -> tuple[dict[tuple[str, str], Slot], tuple[str, ...]]:
    """What lies in the folder of all users, by user and id, and a line for each record that is damaged.

    Rests of what was never finished are removed.
    """
    slots, damaged = {}, []
    for folder in sorted(users.glob("*/*")):
        if folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
        elif (folder / FILE).exists():
            try:
                record = read_record(folder)
            except ConfigError as error:
                damaged.append(str(error))
            else:
                slots[record.user, record.id] = Slot(record, folder)
    return slots, tuple(damaged)


def nbytes_of(annotation: Annotation) -> int:
    """Memory of an annotation: voxels, masks, slices that were encoded."""
    sessions = [item.session for item in annotation.objects]
    return annotation.volume.array.nbytes + sum(session.nbytes for session in sessions)


def stamp_of(path: Path) -> tuple[int, int] | None:
    """What tells whether a file was written since; None for a folder, which is read again."""
    with suppress(OSError):
        facts = path.stat()
        if path.is_file():
            return facts.st_mtime_ns, facts.st_size
    return None
