"""Keys: one per user, shown once, stored hashed; and cookies that stand for a key in the browser.

A key holds 256 random bits, so one SHA-256 is as good as a slow hash: nothing can be guessed. A cookie is
signed with a secret of the work folder and the key's hash: it outlives a restart and dies with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from limnet.errors import ConfigError

COOKIE_SECONDS = 30 * 24 * 3600
LOCAL_USER = "local"  # who asks when no key is needed
NAMES = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Entry:
    """One user's key, as it is stored."""

    name: str
    sha256: str
    created: str  # UTC, ISO 8601


class Keyring:
    """The keys of a work folder, in keys.json; read anew whenever the file changes.

    Its lock guards what was read last; no other lock is taken under it.
    """

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / "keys.json"
        self._secret_path = work_dir / "cookie-secret"
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._entries: tuple[Entry, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All keys, oldest first. ConfigError when the file is damaged."""
        with self._lock:
            try:
                facts = self._path.stat()
            except FileNotFoundError:
                self._stamp, self._entries = None, ()
                return ()
            stamp = (facts.st_mtime_ns, facts.st_ino)
            if stamp != self._stamp:
                self._entries, self._stamp = self._read(), stamp
            return self._entries

    def add(self, name: str) -> str:
        """A new key for a new user; it is stored nowhere and cannot be shown again."""
        if not NAMES.fullmatch(name):
            raise ConfigError(
                f"name {name!r}: expected 1 to 63 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
            )
        if any(entry.name == name for entry in self.entries):
            raise ConfigError(f"{name!r} has a key already; remove it first: limnet keys remove {name}")
        key = secrets.token_urlsafe(32)
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._write((*self.entries, Entry(name, _hash(key), created)))
        return key

    def remove(self, name: str) -> None:
        """Take a user's key away; their work stays."""
        rest = tuple(entry for entry in self.entries if entry.name != name)
        if len(rest) == len(self.entries):
            known = ", ".join(entry.name for entry in rest) or "nobody"
            raise ConfigError(f"{name!r} has no key; keys have: {known}")
        self._write(rest)

    def user_of(self, key: str) -> str | None:
        """Whose key it is; compares with every key in constant time."""
        given, found = _hash(key), None
        for entry in self.entries:
            if hmac.compare_digest(given, entry.sha256):
                found = entry.name
        return found

    def cookie_for(self, user: str) -> str:
        """A cookie's value that stands for the user's key for 30 days."""
        (entry,) = (entry for entry in self.entries if entry.name == user)
        expires = int(time.time()) + COOKIE_SECONDS
        return f"{user}:{expires}:{self._signature(entry, expires)}"

    def user_of_cookie(self, value: str) -> str | None:
        """Whose cookie it is; None when it is forged, too old, or its key was removed."""
        name, _, rest = value.partition(":")
        expires, _, signature = rest.partition(":")
        if not re.fullmatch(r"[0-9]{1,12}", expires) or int(expires) < time.time():
            return None
        for entry in self.entries:
            expected = self._signature(entry, int(expires)).encode()
            if entry.name == name and hmac.compare_digest(signature.encode(), expected):
                return name
        return None

    def _signature(self, entry: Entry, expires: int) -> str:
        text = f"{entry.name}:{expires}:{entry.sha256}"
        return hmac.new(self._secret(), text.encode(), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        try:
            return self._secret_path.read_bytes()
        except FileNotFoundError:
            write_private(self._secret_path, secrets.token_bytes(32))
            return self._secret_path.read_bytes()

    def _read(self) -> tuple[Entry, ...]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
            return tuple(Entry(row["name"], row["sha256"], row["created"]) for row in rows)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self._path}: cannot be read as keys ({error}); restore it, or remove it and add keys anew"
            ) from None

    def _write(self, entries: tuple[Entry, ...]) -> None:
        text = json.dumps([vars(entry) for entry in entries], indent=1)
        write_private(self._path, text.encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
