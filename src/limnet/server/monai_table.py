"""What MONAI Label's clients call images, and which labels they have handed in; on disk, small.

A client may name an image as it likes when it sends it, and asks for it by that name from then on. Its work
is the workspace's; here are only names and dates. The lock is held for moments; no other is taken under it.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from limnet.server.audit import now
from limnet.server.keys import write_private
from limnet.server.refusals import NotFound
from limnet.server.slots import Slot
from limnet.server.workspace import Workspace

FILE = "names.json"
LONGEST = 200  # characters of a name


class MonaiTable:
    """Names and finished labels by user; a damaged file is as good as none, since it holds no work."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._names: dict[str, dict[str, str]] = {}  # user -> name -> id
        self._saved: dict[str, dict[str, dict[str, str]]] = {}  # user -> id -> tag -> when
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            table: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            self._names = {user: dict(names) for user, names in table["names"].items()}
            self._saved = {user: dict(saved) for user, saved in table["saved"].items()}

    def name(self, workspace: Workspace, user: str, name: str, volume_id: str) -> None:
        """From now on that is what `name` means; names of what is gone are forgotten."""
        known = {slot.record.id for slot in workspace.list(user)}
        with self._lock:
            names = {key: id for key, id in self._names.get(user, {}).items() if id in known}
            names.pop(name, None)
            names[name[:LONGEST]] = volume_id
            self._names[user] = dict(list(names.items())[-workspace.settings.max_volumes :])
            saved = {id: tags for id, tags in self._saved.get(user, {}).items() if id in known}
            self._saved[user] = saved
            self._write()

    def find(self, workspace: Workspace, user: str, name: str) -> Slot:
        """The annotation of that name: as a client named it, its id, its file's name; NotFound if none."""
        with self._lock:
            wanted = self._names.get(user, {}).get(name[:LONGEST], name)
        slots = workspace.list(user)
        for slot in slots:
            if slot.record.id == wanted:
                return slot
        for slot in slots:
            if name and name in (slot.record.name, slot.record.name.split(".")[0]):
                return slot
        raise NotFound(f"no image {name[:64]!r} here; send it first (PUT /datastore/ or /session/)")

    def save(self, user: str, volume_id: str, tag: str) -> None:
        """A finished label of that tag was handed in."""
        with self._lock:
            self._saved.setdefault(user, {}).setdefault(volume_id, {})[tag[:LONGEST]] = now()
            self._write()

    def saved(self, user: str, volume_id: str) -> dict[str, str]:
        """When which tags were handed in."""
        with self._lock:
            return dict(self._saved.get(user, {}).get(volume_id, {}))

    def _write(self) -> None:
        write_private(self._path, json.dumps({"names": self._names, "saved": self._saved}).encode())
