"""An annotation's journal: every entry is on disk before it counts, and all of them come back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from limnet.annotation import Annotation, Entry
from limnet.errors import JournalError
from limnet.journal.entries import Reader, Writer
from limnet.journal.facts import VolumeFacts
from limnet.journal.store import Row, Store
from limnet.lens import Lens
from limnet.model import LimNet
from limnet.volume import Volume


class Journal:
    """An open journal. Give it to an `Annotation` when it is new, else let `restore()` make one."""

    def __init__(self, store: Store, facts: VolumeFacts, lenses: dict[int, Lens] | None = None) -> None:
        """From `create()` or `open()`."""
        self._store = store
        self.facts = facts  # of the volume
        self._writer = Writer(store.num_rows, lenses or {})

    @classmethod
    def create(cls, path: Path, volume: Volume) -> Journal:
        """A new, empty journal of a volume; JournalError when the path is taken or cannot be written."""
        facts = VolumeFacts.of(volume)
        first = Row(0, "volume", json.dumps(asdict(facts)))
        return cls(Store.create(Path(path), [first]), facts)

    @classmethod
    def open(cls, path: Path) -> Journal:
        """An existing journal. It stays locked until it is closed or the process ends.

        JournalError when it is not there, damaged, of a newer format, or open elsewhere.
        """
        store = Store.open(Path(path))
        try:
            first = next(store.rows(), None)
            if first is None or first.row.kind != "volume":
                raise JournalError(f"{path}: does not begin with its volume; restore a copy of the file")
            return cls(store, VolumeFacts.from_table(json.loads(first.row.body)))
        except BaseException:
            store.close()
            raise

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._store.path

    def restore(
        self, volume: Volume, model: LimNet | None = None, *, threads: int | None = None
    ) -> Annotation:
        """The annotation as it was, undone rounds and pending prompts too, bit for bit; no network runs.

        From then on its changes go into this journal. JournalError when the volume is another one, or an
        entry is damaged.
        """
        difference = self.facts.differs(volume)
        if difference:
            raise JournalError(
                f"{self.path}: made for {self.facts.source}, but {volume.source} has {difference};"
                f" give the volume it was made for"
            )
        reader = Reader(volume)
        found = (reader.entry(stored) for stored in self._store.rows())
        entries = [entry for entry in found if entry is not None]
        self._writer = Writer(self._store.num_rows, reader.lenses)
        return Annotation(volume, model, threads=threads, journal=self, entries=entries)

    def ready(self) -> None:
        """JournalError once it is closed."""
        self._store.check_open()

    def record(self, entry: Entry) -> None:
        """Put an entry on disk; JournalError, and nothing has changed, when that fails."""
        rows = self._writer.rows(entry)
        self._store.append(rows)
        self._writer.wrote(entry, rows)

    def close(self) -> None:
        """Let go of the file, after which all is in it alone; closing twice is fine."""
        self._store.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
