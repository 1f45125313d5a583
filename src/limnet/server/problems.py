"""Errors as answers: RFC 9457 problem details, made here and nowhere else."""

from __future__ import annotations

import http
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from limnet.errors import (
    ConfigError,
    GeometryError,
    JournalError,
    LimNetError,
    OutputError,
    PromptError,
    VolumeError,
    WeightsError,
)
from limnet.server.refusals import KeyNeeded, Refusal
from limnet.volume.limits import OversizeError

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:limnet:problem:"
KINDS: dict[type[LimNetError], tuple[int, str]] = {
    OversizeError: (413, "Too large"),  # before its parent
    VolumeError: (422, "Not a volume"),
    GeometryError: (422, "Grids do not match"),
    PromptError: (422, "Prompt cannot be used"),
    ConfigError: (422, "Bad setting"),
    WeightsError: (500, "Networks cannot be used"),
    JournalError: (409, "Work cannot be used"),
    OutputError: (507, "Result cannot be written"),
}

_log = logging.getLogger("limnet.server")


class Problem(BaseModel):
    """Why a request was not done (RFC 9457)."""

    type: str = Field(description="URN of the kind of problem", examples=[f"{TYPE}not-found"])
    title: str = Field(description="the kind of problem, in words")
    status: int = Field(description="HTTP status")
    detail: str = Field(description="one line: what was found, what was expected, what to do")
    instance: str = Field(description="path of the request")


def problem(status: int, title: str, detail: str, path: str, **headers: str) -> JSONResponse:
    """A problem as an answer."""
    return answer(_body(status, title, detail, path), **headers)


def answer(body: Problem, **headers: str) -> JSONResponse:
    """A problem's body as an answer."""
    return JSONResponse(body.model_dump(), body.status, headers=headers or None, media_type=MEDIA_TYPE)


def kind_of(error: LimNetError) -> tuple[int, str]:
    """(HTTP status, title) of an error.

    >>> kind_of(PromptError("outside"))
    (422, 'Prompt cannot be used')
    """
    if isinstance(error, Refusal):
        return error.status, error.title
    for kind, (status, title) in KINDS.items():
        if isinstance(error, kind):
            return status, title
    return 500, "Failed"


def problem_body(error: Exception, path: str) -> Problem:
    """Any error in words; an unexpected one is logged whole and told in one line without its text."""
    if isinstance(error, LimNetError):
        return _body(*kind_of(error), str(error), path)
    if isinstance(error, RequestValidationError):
        return _body(422, "Malformed request", "; ".join(map(_place, error.errors())), path)
    if isinstance(error, HTTPException):
        title = http.HTTPStatus(error.status_code).phrase
        detail = f"{path}: {title.lower()}" if error.detail == title else str(error.detail)
        return _body(error.status_code, title, detail, path)
    if isinstance(error, MemoryError):
        return _body(507, "Full", "the server has not enough memory for this; close a volume first", path)
    _log.error("%s failed", path, exc_info=error)
    detail = "an unexpected error of the server; its log has the details. Nothing acknowledged is lost"
    return _body(500, "Internal error", detail, path)


def explain(request: Request, error: Exception) -> JSONResponse:
    """Any error as an answer."""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if isinstance(error, KeyNeeded):
        headers["WWW-Authenticate"] = "Bearer"
    return answer(problem_body(error, request.url.path), **headers)


def _body(status: int, title: str, detail: str, path: str) -> Problem:
    kind = TYPE + title.lower().replace(" ", "-")
    return Problem(type=kind, title=title, status=status, detail=" ".join(detail.split()), instance=path)


def handle_problems(app: FastAPI) -> None:
    """Let `explain` answer whatever goes wrong, and the description say so."""
    for kind in (LimNetError, RequestValidationError, HTTPException, MemoryError, Exception):
        app.add_exception_handler(kind, explain)
    described = app.openapi

    def openapi() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        schema = described()
        if is_new:
            _describe_problems(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a route's errors: these statuses and those of every route."""
    words = {status: http.HTTPStatus(status).phrase for status in (400, 401, 403, 404, 422, *statuses)}
    return {status: {"model": Problem, "description": words[status]} for status in sorted(words)}


def _describe_problems(schema: dict[str, Any]) -> None:
    """Give the errors of a description their media type; FastAPI takes all models for plain JSON."""
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}


def _place(error: Any) -> str:
    """One line of a validation error: where it is and what is wrong there."""
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}"
