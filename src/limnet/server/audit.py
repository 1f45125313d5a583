"""The audit log: who opened, saved, exported or deleted what, and when; one JSON object a line, append-only.

It holds names of files and users, never intensities and nothing out of a file's header.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from pathlib import Path


def now() -> str:
    """The time, UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class AuditLog:
    """Appends to one file; its lock keeps lines whole, and no other lock is taken under it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def write(self, user: str, action: str, **facts: object) -> None:
        """One line: time, user, action and what the action was about."""
        line = json.dumps({"time": now(), "user": user, "action": action, **facts}, ensure_ascii=False)
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
