"""All annotations of all users, on disk under one folder, loaded when used and unloaded when not.

Shared by everybody: the networks, the turns on the processor, the table of annotations. Per user: the
annotations themselves; another user's do not exist. Locks, in the order in which they may be taken:

    a turn (turns.py)    one piece of network work at a time; held for one prompt or one slice
    a user's opening     one file after the other, so that opening a file twice at once opens it once
    an annotation's      whatever reads or changes it, loads or unloads it
    the table's          who is there and who is pinned; held for moments, never while reading or computing

An annotation is pinned while anybody uses it (a request, a running sweep); only one that nobody pins is
unloaded. Unloading loses nothing: every prompt and round is in its journal before it is acknowledged.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from limnet.annotation import Annotation
from limnet.errors import LimNetError
from limnet.journal import Journal
from limnet.journal.facts import voxels_sha256
from limnet.model import LimNet, load_model
from limnet.sample import sample_volume_path
from limnet.server.audit import now
from limnet.server.reading import allowed_path, read_bounded
from limnet.server.record import Facts, Record
from limnet.server.refusals import Conflict, Full, NotFound
from limnet.server.settings import ServerSettings
from limnet.server.slots import Slot, nbytes_of, read_slots, stamp_of
from limnet.server.turns import Turns
from limnet.volume import Volume

MIB = 2**20
JOURNAL = "journal.sqlite"
UPLOADED = "volume"  # folder of uploaded files
ARRAY = "voxels.npy"  # a volume that came as an array; its geometry is in the record


class Workspace:
    """The annotations of a work folder; see the module for who may do what under which lock."""

    def __init__(self, settings: ServerSettings, model: LimNet | None = None) -> None:
        """Read what the folder holds; ConfigError when that is damaged."""
        self.settings = settings
        self.model = model or load_model(settings.weights, threads=settings.threads)
        self._roots = (*settings.allowed, sample_volume_path().resolve())
        self._users = settings.work_dir / "users"
        self._turns = Turns()
        self._lock = threading.Lock()
        self._opening: dict[str, threading.RLock] = {}
        self._slots, self.damaged = read_slots(self._users)

    # Using

    def turn(self, user: str, *, preview: bool = False) -> AbstractContextManager[None]:
        """Wait for the processor; every piece of network work runs inside: one prompt, one slice."""
        return self._turns.turn(user, preview=preview)

    @contextmanager
    def hold(self, user: str, id: str) -> Iterator[Slot]:
        """Pin an annotation, loaded; its content is to be touched only under the slot's lock."""
        slot = self._slot(user, id)
        if slot.record.is_closed:
            raise Conflict(
                f"{slot.record.name} is closed; open it again: POST /api/v1/volumes/open with its id"
            )
        with self._lock:
            slot.pins += 1
        try:
            with slot.lock:
                self._load(slot)
            yield slot
        finally:
            if slot.annotation is not None:
                self._weigh(slot)  # it may keep more slices than before
            with self._lock:
                slot.pins -= 1
                slot.last_used = time.monotonic()
            self.shrink()

    @contextmanager
    def use(self, user: str, id: str) -> Iterator[Annotation]:
        """An annotation under its lock, brought back from disk when it was unloaded.

        NotFound if not the user's, Conflict when it is closed, JournalError when its file has changed.
        """
        with self.hold(user, id) as slot, slot.lock:
            yield slot.loaded

    @contextmanager
    def work(self, user: str, id: str) -> Iterator[Annotation]:
        """Like `use`, within a turn of its own: for one prompt."""
        with self.hold(user, id) as slot, self.turn(user, preview=True), slot.lock:
            yield slot.loaded

    # Opening and closing

    def open_file(self, user: str, path: str | Path) -> str:
        """The annotation of a file or folder inside the allowed ones, new or with all work back; its id.

        A file that changed since gets a new annotation; the former one stays listed.
        """
        found = allowed_path(str(path), self._roots)
        with self._opening_of(user):
            same = [slot for slot in self._of(user) if slot.record.path == str(found)]
            for slot in same:
                if slot.annotation is not None and slot.stamp == stamp_of(found):
                    return self._opened(slot)
            volume = read_bounded(found, self._roots, self.settings)
            digest = voxels_sha256(volume) if same else ""
            for slot in same:
                if slot.record.sha256 == digest:
                    with slot.lock:
                        self._load(slot, volume)
                    return self._opened(slot)
            return self._create(user, volume, found.name, path=str(found))

    def open_upload(self, user: str, name: str, store: Callable[[Path], Path]) -> str:
        """The annotation of uploaded files, which `store` puts into the folder it is given; its id."""
        folder = self._users / user / f".{secrets.token_hex(6)}"
        try:
            target = store(folder / UPLOADED)
            volume = read_bounded(target, [folder / UPLOADED], self.settings)
            file = "" if target == folder / UPLOADED else target.name
            return self._create(user, volume, name, file=file, moved=folder)
        except LimNetError as error:  # nobody need know where uploads lie
            raise type(error)(str(error).replace(f"{folder / UPLOADED}/", "")) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def open_volume(self, user: str, volume: Volume, name: str) -> str:
        """The annotation of a volume that is in memory already; its voxels are kept in the work folder."""
        folder = self._users / user / f".{secrets.token_hex(6)}"
        try:
            (folder / UPLOADED).mkdir(parents=True)
            np.save(folder / UPLOADED / ARRAY, volume.array, allow_pickle=False)
            return self._create(user, volume, name, file=ARRAY, moved=folder)
        except OSError as error:
            raise Full(f"{name}: cannot be stored ({error.strerror}); make room in the work folder") from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def opening(self, user: str) -> AbstractContextManager[object]:
        """One image after the other: whoever looks for an image before opening it does both inside."""
        return self._opening_of(user)

    def reopen(self, user: str, id: str) -> str:
        """Bring a closed annotation back; its id. NotFound if not the user's."""
        slot = self._slot(user, id)
        self._opened(slot)
        with self.hold(user, id):
            return id

    def close(self, user: str, id: str) -> None:
        """Put an annotation away; its work stays on disk."""
        slot = self._slot(user, id)
        self._change(slot, is_closed=True)
        self.shrink()

    def delete(self, user: str, id: str) -> None:
        """Remove an annotation and all its work."""
        slot = self._slot(user, id)
        with slot.lock:
            if slot.is_gone:
                raise self._no(id)
            slot.is_gone = True
            self._unload(slot)
            gone = slot.folder.with_name(f".{id}")
            slot.folder.replace(gone)
            with self._lock:
                self._slots.pop((user, id), None)
        shutil.rmtree(gone, ignore_errors=True)

    def list(self, user: str) -> Sequence[Slot]:
        """The user's annotations, the last opened first."""
        return sorted(self._of(user), key=lambda slot: slot.record.opened, reverse=True)

    def find(self, user: str, id: str) -> Slot:
        """The user's annotation of that id, as it is; NotFound if there is none."""
        return self._slot(user, id)

    def files_of(self, slot: Slot) -> tuple[Path, Sequence[Path]]:
        """Where the files of an annotation's volume are, and the folders they must not lead out of."""
        if slot.record.path is not None:
            return allowed_path(slot.record.path, self._roots), self._roots
        folder = slot.folder / UPLOADED
        return folder / (slot.record.file or ""), [folder]

    # Memory

    def shrink(self) -> None:
        """Unload what is closed, idle, or beyond the memory limit, the least recently used first."""
        while slot := self._superfluous():
            try:
                with slot.lock:
                    self._unload(slot)
            finally:
                with self._lock:
                    slot.pins -= 1

    def close_all(self) -> None:
        """Put everything away."""
        for slot in self._all():
            with slot.lock:
                self._unload(slot)

    def _superfluous(self) -> Slot | None:
        """One annotation to unload, pinned so that nobody else does."""
        with self._lock:
            loaded = [slot for slot in self._slots.values() if slot.nbytes]
            total = sum(slot.nbytes for slot in loaded)
            oldest = time.monotonic() - 60 * self.settings.idle_minutes
            for slot in sorted(loaded, key=lambda slot: slot.last_used):
                is_idle = slot.record.is_closed or slot.last_used < oldest
                if slot.pins == 0 and (is_idle or total > self.settings.memory_mib * MIB):
                    slot.pins += 1
                    return slot
        return None

    # How

    def _load(self, slot: Slot, volume: Volume | None = None) -> None:
        """Bring an annotation back from disk, under its lock."""
        if slot.is_gone:
            raise self._no(slot.record.id)
        if slot.annotation is None:
            record = slot.record
            stamp = stamp_of(Path(record.path)) if record.path else None
            volume = volume or self._volume_of(slot)
            journal = Journal.open(slot.folder / JOURNAL)
            try:
                slot.annotation = journal.restore(volume, self.model)
            except BaseException:
                journal.close()
                raise
            slot.journal, slot.stamp = journal, stamp
        self._weigh(slot)

    def _unload(self, slot: Slot) -> None:
        """Let go of an annotation, under its lock."""
        if slot.journal is not None:
            slot.journal.close()
        slot.annotation = slot.journal = None
        slot.nbytes = 0

    def _weigh(self, slot: Slot) -> None:
        """Note how much memory an annotation takes."""
        slot.nbytes = nbytes_of(slot.loaded)

    def _volume_of(self, slot: Slot) -> Volume:
        record = slot.record
        path, inside = self.files_of(slot)
        if record.path is not None:
            return read_bounded(path, inside, self.settings)
        if record.file == ARRAY:
            array = np.load(path, allow_pickle=False)
            return Volume(array, np.array(record.facts.affine), source=record.name)
        return replace(read_bounded(path, inside, self.settings), source=record.name)

    def _create(
        self,
        user: str,
        volume: Volume,
        name: str,
        *,
        path: str | None = None,
        file: str | None = None,
        moved: Path | None = None,
    ) -> str:
        """A new annotation in a folder of its own, which `moved` becomes when it holds the upload."""
        if len(self._of(user)) >= self.settings.max_volumes:
            raise Conflict(
                f"{user} keeps {self.settings.max_volumes} volumes, the most allowed; delete one first"
            )
        id, time_now = secrets.token_hex(6), now()
        work = moved or self._users / user / f".{id}"
        work.mkdir(parents=True, exist_ok=True)
        journal = Journal.create(work / JOURNAL, volume)
        journal.close()
        digest = journal.facts.sha256
        record = Record(id, user, name, path, file, digest, time_now, time_now, False, Facts.of(volume))
        record.write(work)
        slot = Slot(record, self._users / user / id)
        work.replace(slot.folder)
        with slot.lock:
            self._load(slot, volume)
        with self._lock:
            self._slots[user, id] = slot
        self.shrink()
        return id

    def _opened(self, slot: Slot) -> str:
        self._change(slot, is_closed=False, opened=now())
        return slot.record.id

    def _change(self, slot: Slot, **facts: object) -> None:
        with slot.lock:
            record = replace(slot.record, **facts)  # type: ignore[arg-type]
            record.write(slot.folder)
            slot.record = record

    def _slot(self, user: str, id: str) -> Slot:
        with self._lock:
            slot = self._slots.get((user, id))
        if slot is None:
            raise self._no(id)
        return slot

    def _no(self, id: str) -> NotFound:
        return NotFound(f"no volume {id[:64]!r}; GET /api/v1/volumes lists those there are")

    def _all(self) -> Sequence[Slot]:
        with self._lock:
            return list(self._slots.values())

    def _of(self, user: str) -> Sequence[Slot]:
        return [slot for slot in self._all() if slot.record.user == user]

    def _opening_of(self, user: str) -> threading.RLock:
        with self._lock:
            return self._opening.setdefault(user, threading.RLock())
