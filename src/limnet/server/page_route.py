"""The page: static files that the build put beside this module, and the cookie that stands for a key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from pydantic import Field

from limnet.server.keys import COOKIE_SECONDS
from limnet.server.models import In
from limnet.server.problems import problems
from limnet.server.refusals import KeyNeeded
from limnet.server.room import Room, RoomDep, cookie_name

FOLDER = Path(__file__).parent / "page"
MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>limnet</title>
<p>The annotator's page was not built when limnet was installed. Install again with a connection to the npm
registry, or see docs/page.md. The <a href="/api/v1/openapi.json">API</a> works without it.</p></html>
"""


class LoginIn(In):
    """A key."""

    key: str = Field(max_length=200)


router = APIRouter()


@router.get("/", include_in_schema=False, response_class=Response)
def index(room: RoomDep, key: Annotated[str | None, Query(max_length=200)] = None) -> Response:
    """The page; with a key, a cookie for it and the page without the key in its address."""
    if key is not None:
        answer = RedirectResponse("/", 303)
        give_cookie(room, answer, key)
        return answer
    return FileResponse(FOLDER / "index.html") if is_built() else HTMLResponse(MISSING, 503)


@router.post("/api/v1/login", status_code=204, tags=["server"], responses=problems())
def login(room: RoomDep, wanted: LoginIn, response: Response) -> None:
    """Exchange a key for a cookie, which scripts cannot read."""
    give_cookie(room, response, wanted.key)


def is_built() -> bool:
    """Whether the page is there."""
    return (FOLDER / "index.html").is_file()


def give_cookie(room: Room, answer: Response, key: str) -> None:
    """Set the cookie of a key; KeyNeeded when nobody has it."""
    user = room.keys.user_of(key)
    if user is None:
        raise KeyNeeded("this key is not known; ask whoever runs the server for one")
    answer.set_cookie(
        cookie_name(room.settings),
        room.keys.cookie_for(user),
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=room.settings.is_tls,
    )
