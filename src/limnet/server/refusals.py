"""What the server refuses, as errors; `problems.py` turns them into answers.

```
ServerError
├── KeyNeeded        401  nobody, or a key that is not known
├── Forbidden        403  outside the allowed folders, another site's request
├── NotFound         404  no such volume, object, round, file - or another user's
├── Conflict         409  right, but not now: a sweep is running, a limit of the user's is reached
├── TooLarge         413  more than the limits allow
└── Full             507  the disk has no room
```
"""

from __future__ import annotations

from typing import ClassVar

from limnet.errors import ServerError


class Refusal(ServerError):  # noqa: N818  # each is named by what the caller is told
    """A request that is refused, with the HTTP status that says so."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"


class KeyNeeded(Refusal):
    """Nobody, or a key that is not known."""

    status = 401
    title = "Key needed"


class Forbidden(Refusal):
    """Something that no user of this server may do."""

    status = 403
    title = "Forbidden"


class NotFound(Refusal):
    """No such thing, or another user's."""

    status = 404
    title = "Not found"


class Conflict(Refusal):
    """Right, but not in the present state."""

    status = 409
    title = "Not now"


class TooLarge(Refusal):
    """More than the limits allow."""

    status = 413
    title = "Too large"


class Full(Refusal):
    """The disk has no room."""

    status = 507
    title = "Full"
