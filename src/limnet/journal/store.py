"""Rows on disk: one SQLite file (https://www.sqlite.org/wal.html), append-only.

A row counts once `append` has returned: write-ahead log, synchronous=FULL. Each row carries the SHA-256 of
its content and of the row before, so that a damaged, lost or altered row is noticed. The file stays locked
while it is open: whoever opens it again is refused. Rows are never changed: triggers refuse it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from limnet.errors import JournalError

FORMAT = 1  # of the rows; a file of a newer one is refused
APPLICATION = 0x6C696D6E  # "limn", SQLite's application_id: tells a journal from other databases
SCHEMA = """
CREATE TABLE entry (
    number INTEGER PRIMARY KEY,  -- 1, 2, ... without gaps
    at     TEXT NOT NULL,        -- UTC, ISO 8601, milliseconds
    object INTEGER NOT NULL,     -- id of the object it is about, 0: of the whole annotation
    kind   TEXT NOT NULL,
    body   TEXT NOT NULL,        -- JSON
    data   BLOB NOT NULL,        -- arrays, concatenated; body says their sizes
    digest BLOB NOT NULL         -- SHA-256 of the digest before and of this row
);
CREATE TRIGGER entry_stays BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER entry_remains BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class Row(NamedTuple):
    """One row, as whoever writes it sees it."""

    object_id: int
    kind: str
    body: str
    data: bytes = b""


class StoredRow(NamedTuple):
    """One row, as it is read."""

    number: int
    at: str
    row: Row


class Store:
    """An open journal file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = connection
        last = connection.execute("SELECT number, digest FROM entry ORDER BY number DESC LIMIT 1").fetchone()
        self._number: int = last[0] if last else 0
        self._digest: bytes = last[1] if last else b""

    @classmethod
    def create(cls, path: Path, first: Sequence[Row]) -> Store:
        """A new file with its first rows, whole or not at all. JournalError when it is there already."""
        if path.exists():
            raise JournalError(f"{path}: exists already; open it, or choose another name")
        draft = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with _explained(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                connection = _connect(draft, "rwc")
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.executescript(SCHEMA)
                store = cls(path, connection)
                store.append(first)
                store.close()
                os.link(draft, path)  # refuses, other than a rename, what somebody else has just made
        finally:
            with suppress(OSError):
                draft.unlink()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Store:
        """An existing file; JournalError when it is none, damaged, of a newer format, or open elsewhere."""
        if not path.is_file():
            raise JournalError(f"{path}: no such journal; check the path")
        connection = None
        try:
            with _explained(path):
                _check_start(path)
                connection = _connect(path, "rw")
                _check(path, connection)
                return cls(path, connection)
        except BaseException:
            if connection is not None:
                with suppress(sqlite3.Error):
                    connection.close()
            raise

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self._number

    def append(self, rows: Sequence[Row]) -> None:
        """Put rows on disk, all or none, durably; after a JournalError none is there."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        number, digest, stored = self._number, self._digest, []
        for row in rows:
            number, digest = number + 1, _digest(digest, at, row)
            stored.append((number, at, *row, digest))
        with _explained(self.path), self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", stored)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                    connection.execute("ROLLBACK")
                raise
        self._number, self._digest = number, digest

    def rows(self) -> Iterator[StoredRow]:
        """All rows in order; JournalError at the first that is not what was written."""
        digest = b""
        with _explained(self.path), self._open() as connection:
            asked = "SELECT number, at, object, kind, body, data, digest FROM entry ORDER BY number"
            for expected, (number, at, *values, stored) in enumerate(connection.execute(asked), start=1):
                row = Row(*values)
                digest = _digest(digest, at, row)
                if number != expected or digest != stored:
                    raise JournalError(
                        f"{self.path}: entry {expected} is damaged; restore a copy of the file"
                    )
                yield StoredRow(number, at, row)

    def check_open(self) -> None:
        """JournalError once it is closed."""
        if self._connection is None:
            raise JournalError(f"{self.path}: is closed; open the journal again")

    def close(self) -> None:
        """Put everything into the one file and let go of it; closing twice is fine."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with _explained(self.path):
                connection.close()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.check_open()
        assert self._connection is not None
        yield self._connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection that holds the file for itself; another one is refused at once."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,  # its users take turns, but not always in the same thread
    )
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")
    return connection


def _check_start(path: Path) -> None:
    """JournalError when a file is not a journal; SQLite would make one of an empty file."""
    with path.open("rb") as file:
        start = file.read(100)  # https://www.sqlite.org/fileformat.html, section 1.3
    if start[:16] != b"SQLite format 3\0" or start[68:72] != APPLICATION.to_bytes(4, "big"):
        raise JournalError(f"{path}: is not a journal of limnet; check the path")


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """JournalError when a journal is of a newer format, or damaged."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        raise JournalError(
            f"{path}: journal format {version}, this version knows up to {FORMAT}; update limnet"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise JournalError(f"{path}: is damaged ({verdict}); restore a copy of the file")


def _digest(before: bytes, at: str, row: Row) -> bytes:
    digest = hashlib.sha256(before)
    for part in (at, str(row.object_id), row.kind, row.body):
        digest.update(part.encode() + b"\0")
    digest.update(row.data)
    return digest.digest()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the disk as JournalErrors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalError(f"{path}: is open elsewhere; close it there first") from None
        raise JournalError(f"{path}: {error}; free some space or check the disk, then try again") from None
    except sqlite3.DatabaseError as error:
        raise JournalError(f"{path}: is damaged ({error}); restore a copy of the file") from None
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}; check folder and disk") from None
