"""Fair turns on the processor: one piece of network work at a time, previews first, then users in rotation.

A piece is one prompt or one slice of a sweep, some 10 ms each; the networks use all threads for it. Several
pieces at once would only make every one of them slower.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Ticket:
    """Someone who waits for a turn."""

    user: str
    is_preview: bool
    number: int  # order of arrival
    granted: threading.Event = field(default_factory=threading.Event)


class Turns:
    """Hands out turns: previews before slices of sweeps, among equals who was served longest ago, then FIFO.

    Its lock is held only for the choice, never during a turn, and no other lock is taken under it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Ticket] = []
        self._is_taken = False
        self._numbers = itertools.count()
        self._served: dict[str, int] = {}  # user -> number of the last turn given

    @contextmanager
    def turn(self, user: str, *, preview: bool = False) -> Iterator[None]:
        """Wait for a turn and keep it while the block runs."""
        ticket = Ticket(user, preview, next(self._numbers))
        with self._lock:
            self._waiting.append(ticket)
            self._grant()
        ticket.granted.wait()
        try:
            yield
        finally:
            with self._lock:
                self._is_taken = False
                self._grant()

    @property
    def num_waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    def _grant(self) -> None:
        """Give the turn to the next one, if it is free; under the lock."""
        if self._is_taken or not self._waiting:
            return
        ticket = min(self._waiting, key=lambda t: (not t.is_preview, self._served.get(t.user, -1), t.number))
        self._waiting.remove(ticket)
        self._served[ticket.user] = next(self._numbers)
        self._is_taken = True
        ticket.granted.set()
