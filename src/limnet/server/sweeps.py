"""Sweeps in the background: one per object at most, its events told to any number of listeners.

A sweep is a thread that waits for a turn before every slice. Whoever listens may come late, leave and come
again: the events of a sweep stay until the next sweep of that object. Nobody's leaving ends it; only `cancel`
and the end of the server do, within one slice, and then nothing has changed.

Locks: `Sweeps` has one for its table, a `Sweep` one for its listeners; neither is held while a slice is
computed, and no other is taken under them. Both may be taken again by the thread that holds them, since a
signal that stops the server interrupts the main thread anywhere.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from limnet.crossing import crosses
from limnet.server.models import SweepCancelled, SweepDone
from limnet.server.problems import problem_body
from limnet.server.refusals import Conflict
from limnet.server.slices import sweep_slice
from limnet.server.slots import Slot
from limnet.server.views import object_out, round_out
from limnet.server.workspace import Workspace
from limnet.session import Session

HEARTBEAT_SECONDS = 15.0  # between comments that keep a silent stream open


@dataclass(frozen=True)
class Event:
    """Something that a sweep tells, in words that were true when it happened."""

    kind: Literal["slice", "done", "cancelled", "failed"]
    data: str  # JSON: SweepSlice, SweepDone, SweepCancelled or Problem


@dataclass(eq=False)
class Sweep:
    """One sweep and what it has told so far."""

    user: str
    volume_id: str
    object_id: int
    num_pending: int
    serial: str = field(default_factory=lambda: secrets.token_hex(4))  # tells its events from another's
    events: list[Event] = field(default_factory=list)
    _listeners: set[Callable[[], None]] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def is_running(self) -> bool:
        """Whether its end has not been told yet."""
        return not self._ended.is_set()

    def cancel(self) -> None:
        """Ask it to end before its next slice."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; whether it has."""
        return self._ended.wait(seconds)

    async def follow(self, first: int, stopping: threading.Event) -> AsyncIterator[tuple[int, Event] | None]:
        """(number, event) from number `first` on, None when nothing came for a while; ends with the sweep."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(news.set)

        with self._lock:
            self._listeners.add(wake)
        try:
            number = first
            while not stopping.is_set():
                news.clear()
                while number < len(self.events):
                    yield number, self.events[number]
                    number += 1
                if not self.is_running and number >= len(self.events):
                    return
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT_SECONDS)
                except asyncio.TimeoutError:
                    yield None
        finally:
            with self._lock:
                self._listeners.discard(wake)

    def wake(self) -> None:
        """Let every listener look: there is news, or the server is stopping."""
        with self._lock:
            for wake in self._listeners:
                wake()

    def tell(self, event: Event) -> None:
        """Add an event for all listeners."""
        self.events.append(event)
        if event.kind != "slice":
            self._ended.set()
        self.wake()

    def run(self, workspace: Workspace, slot: Slot) -> None:
        """Do it; `slot` is held by the caller for as long."""
        try:
            session = slot.loaded.object(self.object_id).session
            with closing(self._steps(workspace, slot, session)) as steps:
                for event in steps:
                    self.tell(event)
        except Exception as error:
            path = f"/api/v1/volumes/{self.volume_id}/objects/{self.object_id}/sweep"
            self.tell(Event("failed", problem_body(error, path).model_dump_json()))

    def _steps(self, workspace: Workspace, slot: Slot, session: Session) -> Generator[Event, None, None]:
        """The events, a turn for each slice; the last turn also makes the round and puts it on disk."""
        expected, done = expected_slices(session), 0
        with closing(session.sweep()) as slices:  # type: ignore[type-var]  # a generator in all but name
            while True:
                with workspace.turn(self.user), slot.lock:
                    if self._cancelled.is_set():
                        slices.close()  # type: ignore[attr-defined]
                        break
                    slice_mask = next(slices, None)
                if slice_mask is None:
                    with slot.lock:
                        yield Event("done", self._done(slot).model_dump_json())
                    return
                done += 1
                expected = max(expected, done)
                yield Event("slice", sweep_slice(slice_mask, done, expected).model_dump_json())
        with slot.lock:
            item = object_out(slot.loaded.object(self.object_id), sweeping=False)
        yield Event("cancelled", SweepCancelled(object=item).model_dump_json())

    def _done(self, slot: Slot) -> SweepDone:
        """What came of it."""
        item = slot.loaded.object(self.object_id)
        rounds = item.session.rounds
        last = round_out(rounds[-1], len(rounds), is_undone=False)
        return SweepDone(object=object_out(item, sweeping=False), round=last)


class Sweeps:
    """The last sweep of every object."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.RLock()
        self._last: dict[tuple[str, str, int], Sweep] = {}

    def start(self, user: str, volume_id: str, object_id: int) -> Sweep:
        """Start one; Conflict when one runs, PromptError when nothing is pending."""
        self.refuse_while_running(user, volume_id, object_id)
        key = (user, volume_id, object_id)
        started, failure = threading.Event(), list[BaseException]()
        found: list[Sweep] = []

        def work() -> None:
            try:
                with self._workspace.hold(user, volume_id) as slot:
                    with slot.lock:
                        sweep = self._admit(key, slot)
                    found.append(sweep)
                    started.set()
                    sweep.run(self._workspace, slot)
            except BaseException as error:
                failure.append(error)
            finally:
                started.set()

        threading.Thread(target=work, name=f"sweep-{volume_id}-{object_id}", daemon=True).start()
        started.wait()
        if not found:
            raise failure[0]
        return found[0]

    def last(self, user: str, volume_id: str, object_id: int) -> Sweep | None:
        """The last sweep of an object, running or not, since the server started."""
        with self._lock:
            return self._last.get((user, volume_id, object_id))

    def is_running(self, user: str, volume_id: str, object_id: int) -> bool:
        """Whether a sweep of the object runs."""
        sweep = self.last(user, volume_id, object_id)
        return sweep is not None and sweep.is_running

    def refuse_while_running(self, user: str, volume_id: str, object_id: int) -> None:
        """Conflict when a sweep of the object runs: a change now would make it worthless."""
        if self.is_running(user, volume_id, object_id):
            raise Conflict(
                f"a sweep of object {object_id} is running; wait for its end or cancel it (DELETE .../sweep)"
            )

    def end(self, user: str, volume_id: str, object_id: int | None = None) -> None:
        """Cancel the sweeps of an object, or of a whole volume; wait for their end and forget them."""
        sweeps = self._of(user, volume_id, object_id)
        for sweep in sweeps:
            sweep.cancel()
        for sweep in sweeps:
            sweep.wait()
            with self._lock:
                self._last.pop((user, volume_id, sweep.object_id), None)

    def cancel_all(self) -> None:
        """Cancel all and wake their listeners."""
        for sweep in self._all():
            sweep.cancel()
            sweep.wake()

    def close(self, seconds: float = 2.0) -> None:
        """Wait a little for the slices that are being computed."""
        for sweep in self._all():
            sweep.wait(seconds)

    def _all(self) -> list[Sweep]:
        with self._lock:
            return list(self._last.values())

    def _admit(self, key: tuple[str, str, int], slot: Slot) -> Sweep:
        """Make a sweep the object's running one, under the slot's lock."""
        item = slot.loaded.object(key[2])
        session = item.session
        if item.locked:
            raise Conflict(f"object {item.id} ({item.name}) is locked; unlock it first")
        with self._lock:
            self.refuse_while_running(*key)
            sweep = Sweep(*key, num_pending=len(session.pending))
            if not session.pending:
                for _ in session.sweep():  # raises what the session says about that
                    break
            self._last[key] = sweep
        return sweep

    def _of(self, user: str, volume_id: str, object_id: int | None) -> list[Sweep]:
        with self._lock:
            return [
                sweep
                for key, sweep in self._last.items()
                if key[:2] == (user, volume_id) and object_id in (None, key[2])
            ]


def expected_slices(session: Session) -> int:
    """How many slices a round is likely to go through: the round before's, else all of the axis.

    Where it crosses them (`limnet.crossing`), about as many again along each of the other axes.
    """
    along = [done for done in session.rounds if done.axis == session.axis]
    count = int(along[-1].swept.sum()) if along else session.volume.shape[session.axis]
    return 3 * count if session.crossing and crosses(session.volume, session.axis) else count
