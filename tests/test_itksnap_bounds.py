"""ITK-SNAP's protocol from clients that are broken or mean harm: one line, no 500, nothing allocated."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles import FakeLimNet
from nni_server import serving

SHAPE = (6, 8, 10)  # z, y, x
VOXELS = gzip.compress(np.arange(480, dtype="<f4").tobytes())
GOOD = {"dimensions": [10, 8, 6], "spacing": [1, 1, 2], "origin": [0, 0, 0], "components_per_pixel": 1}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
FIELDS = ["dimensions", "spacing", "origin", "direction", "components_per_pixel", "component_type"]
REUSED = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    work = tmp_path_factory.mktemp("work")
    with (
        serving(work, FakeLimNet(), max_voxels=2**16, max_upload_mib=8, max_volumes=3) as (url, _),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def session(client: httpx.Client) -> str:
    session = str(client.get("/start_session").json()["session_id"])
    assert upload(client, session).status_code == 200
    return session


def upload(
    client: httpx.Client,
    session: str,
    body: bytes = VOXELS,
    meta: object = GOOD,
    path: str = "upload_raw",
) -> httpx.Response:
    text = meta if isinstance(meta, str) else json.dumps(meta)
    return client.post(f"/{path}/{session}", files={"file": ("image.gz", body), "metadata": (None, text)})


def refused(answer: httpx.Response, *statuses: int) -> None:
    """One line of words with a status of the client's."""
    assert answer.status_code in (statuses or (400, 413, 422)), answer.text
    detail = answer.json()["detail"]
    assert detail
    assert "\n" not in detail
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        VOXELS[: len(VOXELS) // 2],
        VOXELS[:-4],
        gzip.compress(bytes(479 * 4)),
        gzip.compress(bytes(481 * 4)),
        b"\x1f\x8b" + bytes(100),
    ],
)
@pytest.mark.parametrize("path", ["upload_raw", "process_scribble_interaction", "process_lasso_interaction"])
def test_voxels_that_are_none_are_refused(client: httpx.Client, session: str, body: bytes, path: str) -> None:
    refused(upload(client, session, body, path=path), 400)


@pytest.mark.parametrize("value", [np.nan, np.inf, 5.0])
def test_an_image_of_one_value_or_none_is_refused(client: httpx.Client, session: str, value: float) -> None:
    body = gzip.compress(np.full(480, value, "<f4").tobytes())
    refused(upload(client, session, body), 400)


def test_voxels_that_are_not_numbers_become_background(client: httpx.Client, session: str) -> None:
    array = np.arange(480, dtype="<f4")
    array[[3, 5]] = np.nan, np.inf
    assert upload(client, session, gzip.compress(array.tobytes())).status_code == 200


def test_a_bomb_is_left_packed(client: httpx.Client, session: str) -> None:
    bomb = gzip.compress(bytes(2**29), 9)
    tracemalloc.start()
    try:
        refused(upload(client, session, bomb), 400)
        refused(upload(client, session, VOXELS, {"dimensions": [65535, 65535, 65535]}), 413)
        refused(upload(client, session, VOXELS, {"dimensions": [256, 256, 1]}), 400)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20  # of which the request's bytes are a part
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "meta",
    [
        "",
        "no JSON",
        "[" * 3000,
        "[1]",
        "{}",
        '{"dimensions":[10,8]}',
        '{"dimensions":[10,8,0]}',
        '{"dimensions":[10,8,6.0]}',
        {**GOOD, "spacing": [1, 1, 0]},
        {**GOOD, "spacing": [1, 1, float("nan")]},
        {**GOOD, "direction": [0] * 9},
        {**GOOD, "direction": [1] * 8},
        {**GOOD, "origin": [1e300, 0, 0]},
        {**GOOD, "components_per_pixel": 10**9},
        {**GOOD, "component_type": "int16"},
    ],
)
def test_metadata_that_is_unusable_is_refused(client: httpx.Client, session: str, meta: object) -> None:
    refused(upload(client, session, meta=meta), 400)


def test_a_drawing_of_another_size_or_without_a_voxel_is_refused(client: httpx.Client, session: str) -> None:
    assert upload(client, session).status_code == 200
    other = {"dimensions": [8, 10, 6]}
    path = "process_scribble_interaction"
    refused(upload(client, session, VOXELS, other, path), 400)
    refused(upload(client, session, gzip.compress(bytes(480 * 4)), GOOD, path), 400)


@pytest.mark.parametrize(
    "query",
    ["", "x=1&y=1", "x=a&y=1&z=1", "x=1.5&y=1&z=1", "x=10&y=0&z=0", "x=-1&y=0&z=0", f"x={9**99}&y=0&z=0"],
)
def test_points_that_are_none_are_refused(client: httpx.Client, session: str, query: str) -> None:
    refused(client.get(f"/process_point_interaction/{session}?{query}"))


@pytest.mark.parametrize("query", ["", "point=1&point=1", "point=1&point=1&point=1&point=1", "point=z"])
def test_points_of_the_second_generation_too(client: httpx.Client, session: str, query: str) -> None:
    refused(client.get(f"/v2/process_point_interaction/{session}?{query}"))


def test_a_body_that_is_no_form_is_refused(client: httpx.Client, session: str) -> None:
    for headers in ({}, {"Content-Type": "multipart/form-data"}, {"Content-Type": "text/plain"}):
        refused(client.post(f"/upload_raw/{session}", content=VOXELS, headers=headers))


def test_beyond_the_most_volumes_an_image_is_refused(client: httpx.Client, session: str) -> None:
    statuses = []
    for first in range(2, 7):
        array = np.arange(480, dtype="<f4") + first
        statuses.append(upload(client, session, gzip.compress(array.tobytes())).status_code)
    assert statuses[-1] == 409


def test_sessions_are_bounded(tmp_path_factory: pytest.TempPathFactory) -> None:
    work = tmp_path_factory.mktemp("few")
    with serving(work, FakeLimNet(), nni_sessions=2) as (url, _):
        statuses = [httpx.get(f"{url}/start_session", trust_env=False).status_code for _ in range(3)]
    assert statuses == [200, 200, 503]


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES), st.binary(max_size=60))
def test_whatever_comes_is_answered(client: httpx.Client, session: str, meta: Any, body: bytes) -> None:
    answer = upload(client, session, body, {**GOOD, **meta})
    assert answer.status_code in (400, 413), answer.text


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.integers(0, len(VOXELS) - 1), st.integers(1, 255))
def test_a_damaged_byte_never_brings_the_server_down(
    client: httpx.Client, session: str, place: int, change: int
) -> None:
    damaged = bytearray(VOXELS)
    damaged[place] ^= change
    answer = upload(client, session, bytes(damaged))
    assert answer.status_code in (200, 400, 409), answer.text  # gzip does not check its own header's time
