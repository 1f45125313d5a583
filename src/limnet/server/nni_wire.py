"""What goes over the wire in nnInteractive's protocol: JSON, arrays with metadata, predictions, a status."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from limnet.compat.order import bounds_of, turned
from limnet.errors import GeometryError, PromptError, VolumeError
from limnet.server import nnia
from limnet.server.nni_talk import Prediction
from limnet.server.refusals import Refusal

Body = dict[str, Any]


class BadRequest(Refusal):
    """What the protocol answers with 400: a body, an array or a prompt that cannot be used."""

    status = 400
    title = "Bad request"


class ProtocolRoute(APIRoute):
    """The protocol knows one status for whatever is wrong with what was sent."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's function, whose errors are the protocol's."""
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except (PromptError, GeometryError, VolumeError) as error:
                raise BadRequest(str(error)) from None

        return answered


async def read(request: Request, limit: int) -> bytes:
    """A request's body; TooLarge as soon as it is longer than `limit` bytes."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > limit:
            raise nnia.TooLarge(f"a body of more than {limit} bytes; at most that many are taken here")
        parts.append(part)
    return b"".join(parts)


def table_of(text: bytes, where: str) -> Body:
    """A JSON object; BadRequest when it is none."""
    try:
        table = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        raise BadRequest(f"{where}: expected a JSON object")
    return table


def flag(table: Body, name: str, default: bool | None = None) -> bool:
    """A member that is true or false."""
    value = table.get(name, default)
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: expected true or false, got {value!r:.40}")
    return value


def reply(prediction: Prediction) -> Response:
    """A prediction as the protocol has it."""
    patch = prediction.patch
    if patch is None:
        return _binary(
            {"ran_prediction": prediction.has_run, "bbox": None, "dtype": "uint8", "shape": []}, b""
        )
    i, j, k = (a + n for a, n in zip(patch.low, patch.block.shape, strict=True))
    block = turned(patch.block)
    meta = {
        "ran_prediction": prediction.has_run,
        "bbox": bounds_of(patch.low, (i, j, k)),
        "dtype": block.dtype.name,
        "shape": block.shape,
    }
    return _binary(meta, nnia.pack(block))


def _binary(meta: Body, body: bytes) -> Response:
    headers = {"X-Meta": json.dumps(meta, separators=(",", ":"))}
    return Response(body, headers=headers, media_type="application/octet-stream")
