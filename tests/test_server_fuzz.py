"""Whatever is sent, the server answers as its own description says, and never with 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import strategies

from annotator import API, click, listening, open_ball
from conftest import Ball

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
pytestmark = pytest.mark.slow

EXAMPLES = 8  # per operation


@pytest.fixture
def client(ball: Ball) -> Iterator[httpx.Client]:
    with listening(ball.volume.parent, max_objects=5, max_volumes=20) as client:
        yield client


def operations_of(client: httpx.Client) -> list[Any]:
    """What the server's description offers."""
    schema = schemathesis.openapi.from_url(f"{client.base_url}{API}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def fuzz(client: httpx.Client, operation: Any, places: dict[str, Any]) -> set[int]:
    """Ask for one operation in many ways, mostly about things that exist; the statuses of the answers."""
    wanted = (
        schemathesis.checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    )
    statuses: set[int] = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(data=strategies.data())
    def ask(data: strategies.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        if data.draw(strategies.integers(0, 4)):
            known = {name: places[name] for name in places if name in case.path_parameters}
            case.path_parameters.update(known)
        client.post(f"{API}/volumes/open", json={"id": places["volume_id"]})  # it may have been closed
        answer = case.call(timeout=20)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=wanted)

    ask()
    return statuses


def test_no_request_makes_the_server_fail_or_break_its_word(client: httpx.Client, ball: Ball) -> None:
    item = open_ball(client, ball.volume)
    click(client, item)
    *_, volume_id, _, object_id = item.split("/")
    places = {"volume_id": volume_id, "object_id": int(object_id), "number": 0}
    statuses = set().union(*(fuzz(client, operation, places) for operation in operations_of(client)))
    assert statuses >= {200, 201, 404, 422}
