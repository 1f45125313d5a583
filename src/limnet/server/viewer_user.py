"""Who asks, for viewers whose protocol has no place for a key; and who may not: pages of other sites."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Request

from limnet.server.keys import LOCAL_USER
from limnet.server.refusals import Forbidden, KeyNeeded
from limnet.server.room import room_of, user_of
from limnet.server.safety import is_foreign


def viewer_user_of(request: Request) -> str:
    """Who asks: by key as everywhere, or by the key as HTTP Basic password (or name), as addresses carry it.

    So `http://any:KEY@HOST:1527` is an address for programs that only know addresses. KeyNeeded when it is
    nobody. Forbidden when a browser asks for a page of another site: these protocols change things by GET,
    which browsers let any page send.
    """
    if is_foreign(request.headers):
        raise Forbidden("the request comes from a page of another site; viewers ask for themselves")
    room = room_of(request)
    if not room.needs_key:
        return LOCAL_USER
    scheme, _, packed = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return user_of(request)
    try:
        name, _, password = base64.b64decode(packed.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise KeyNeeded("the Authorization header cannot be read; give the key as password") from None
    user = room.keys.user_of(password or name)
    if user is None:
        raise KeyNeeded("this key is not known; ask whoever runs the server for one")
    return user


ViewerDep = Annotated[str, Depends(viewer_user_of)]
