"""/volumes/{v}/objects/{o}/sweep: starting and cancelling one, and its events as they come."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from limnet.server.models import Sweeping
from limnet.server.problems import problems
from limnet.server.refusals import NotFound
from limnet.server.room import Room, RoomDep, UserDep
from limnet.server.sweeps import Sweep

router = APIRouter(prefix="/volumes/{volume_id}/objects/{object_id}/sweep", tags=["sweeps"])
STREAM = "text/event-stream"


@router.post("", status_code=202, responses=problems(409))
def start_sweep(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> Sweeping:
    """Carry the pending prompts through the volume; the events tell what comes of it."""
    return Sweeping(num_pending=room.sweeps.start(user, volume_id, object_id).num_pending)


@router.delete("", status_code=202, responses=problems(409))
def cancel_sweep(room: RoomDep, user: UserDep, volume_id: str, object_id: int) -> Sweeping:
    """Cancel the sweep within one slice, if it still runs; its prompts stay pending."""
    sweep = _last(room, user, volume_id, object_id)
    sweep.cancel()
    return Sweeping(num_pending=sweep.num_pending)


@router.get(
    "/events",
    response_class=Response,
    responses={
        200: {"content": {STREAM: {}}, "description": "events"},
        **problems(),
    },
)
async def sweep_events(
    room: RoomDep, user: UserDep, volume_id: str, object_id: int, request: Request
) -> StreamingResponse:
    """The last sweep's events from its start, or after Last-Event-ID; ends when the sweep has ended.

    `slice`: SweepSlice; then one of `done`: SweepDone, `cancelled`: SweepCancelled, `failed`: Problem.
    Leaving does not cancel the sweep.
    """
    sweep = _last(room, user, volume_id, object_id)
    first = next_event(sweep.serial, request.headers.get("last-event-id", ""))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter: for nginx
    return StreamingResponse(stream(room, sweep, first), media_type=STREAM, headers=headers)


async def stream(room: Room, sweep: Sweep, first: int) -> AsyncIterator[str]:
    """Server-sent events; a comment when nothing happens for a while."""
    async for item in sweep.follow(first, room.stopping):
        if item is None:
            yield ": still here\n\n"
        else:
            number, event = item
            yield f"id: {sweep.serial}-{number}\nevent: {event.kind}\ndata: {event.data}\n\n"


def next_event(serial: str, last_event_id: str) -> int:
    """Where to go on after the event a client saw last; from the start when that was another sweep's.

    >>> next_event("ab12", "ab12-4"), next_event("ab12", "ffff-4"), next_event("ab12", "")
    (5, 0, 0)
    """
    found = re.fullmatch(r"([0-9a-f]+)-([0-9]{1,9})", last_event_id)
    return int(found[2]) + 1 if found and found[1] == serial else 0


def _last(room: Room, user: str, volume_id: str, object_id: int) -> Sweep:
    room.workspace.find(user, volume_id)
    sweep = room.sweeps.last(user, volume_id, object_id)
    if sweep is None:
        raise NotFound(f"object {object_id} was not swept since the server started; start a sweep first")
    return sweep
