"""nnInteractive's protocol from clients that are broken or mean harm: no 500, nothing allocated."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles import FakeLimNet, box_volume
from limnet.server.nnia import pack
from nni_server import serving

IMAGE = pack(box_volume().array.transpose(2, 1, 0)[None])
MASK = pack(np.ones((16, 24, 24), np.uint8))
JSON_PATHS = [
    "set_target_buffer",
    "set_do_autozoom",
    "predict",
    "add_point_interaction",
    "add_bbox_interaction",
]
DRAWING_PATHS = ["add_scribble_interaction", "add_lasso_interaction"]
SAID = {"include_interaction": True, "run_prediction": False}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
REUSED = [HealthCheck.function_scoped_fixture]  # every example may find the lease as the one before left it


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("work"), FakeLimNet(), max_voxels=2**20, max_upload_mib=8) as (
        url,
        _,
    ):
        yield url


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    """One that has a lease and an image."""
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        client.headers["X-Lease-Token"] = client.post("/claim").json()["lease_token"]
        assert send(client, "set_image", IMAGE, {}).status_code == 200
        yield client


def send(client: httpx.Client, path: str, body: bytes, meta: object) -> httpx.Response:
    headers = {"X-Meta": json.dumps(meta), "Content-Type": "application/octet-stream"}
    return client.post(f"/{path}", content=body, headers=headers)


def test_two_gigabytes_in_a_header_are_refused_before_anything_is_allocated(client: httpx.Client) -> None:
    huge = struct.pack("<4sBBBB5s4qI", b"NNIA", 1, 1, 4, 5, b"uint8", 1, 2048, 1024, 1024, 2)
    send(client, "set_image", huge, {})
    tracemalloc.start()
    try:
        for _ in range(20):
            answer = send(client, "set_image", huge, {})
        assert answer.status_code == 413
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_mask_larger_than_the_image_is_refused(client: httpx.Client) -> None:
    large = pack(np.zeros((16, 24, 24 * 9), np.uint8))
    assert send(client, "add_scribble_interaction", large, SAID).status_code == 413


def test_an_image_of_too_many_voxels_is_refused(client: httpx.Client) -> None:
    image = pack(np.zeros((1, 129, 128, 64), np.uint8) + np.arange(64, dtype=np.uint8))
    assert send(client, "set_image", image, {}).status_code == 413


def test_a_json_body_of_megabytes_is_refused(client: httpx.Client) -> None:
    body = b'{"force_full_refine":' + b" " * 2**21 + b"false}"
    assert client.post("/predict", content=body).status_code == 413


@pytest.mark.parametrize("meta", ["not JSON", "[1]", "[" * 5000, '{"include_interaction":1}', "{}", "\xff"])
def test_metadata_that_is_none_is_a_400(client: httpx.Client, meta: str) -> None:
    answer = client.post("/add_lasso_interaction", content=MASK, headers={"X-Meta": meta.encode("latin-1")})
    assert answer.status_code == 400
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize("path", ["set_image", *DRAWING_PATHS, "add_initial_seg_interaction"])
@pytest.mark.parametrize(
    "body", [b"", b"NNIA", MASK[:-1], b"\x93NUMPY" + bytes(200), pack(np.zeros((0, 3, 3)))]
)
def test_a_body_that_is_no_array_for_it_is_a_400(client: httpx.Client, path: str, body: bytes) -> None:
    assert send(client, path, body, SAID).status_code == 400


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [([16, 24, 25], "uint8"), ([16, 24, 24], "float32"), ([16, 24, 24], "object"), (None, None), ("abc", 3)],
)
def test_a_buffer_that_does_not_fit_is_a_400(client: httpx.Client, shape: object, dtype: object) -> None:
    assert client.post("/set_target_buffer", json={"shape": shape, "dtype": dtype}).status_code == 400


@pytest.mark.parametrize("method", ["undo", "predict", "reset_interactions", "lease_status", "capabilities"])
def test_without_a_lease_everything_is_gone(address: str, method: str) -> None:
    get = method in ("lease_status", "capabilities")
    answer = httpx.request("GET" if get else "POST", f"{address}/{method}", trust_env=False)
    assert answer.status_code == 410


def test_prompts_before_an_image_are_a_400(address: str) -> None:
    with httpx.Client(base_url=address, trust_env=False) as other:
        other.headers["X-Lease-Token"] = other.post("/claim").json()["lease_token"]
        point = {"coordinates": [1, 2, 3], "include_interaction": True}
        assert other.post("/add_point_interaction", json=point).status_code == 400
        assert send(other, "add_lasso_interaction", MASK, SAID).status_code == 400
        assert other.post("/undo").status_code == 400


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(
    path=st.sampled_from(JSON_PATHS),
    value=VALUES,
    where=st.sampled_from(["coordinates", "bbox_coords", "shape", ""]),
)
def test_no_json_brings_the_server_down(client: httpx.Client, path: str, value: object, where: str) -> None:
    body = {**SAID, "do_autozoom": True, where: value} if where else value
    assert client.post(f"/{path}", content=json.dumps(body)).status_code in (200, 400)


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(path=st.sampled_from(DRAWING_PATHS), value=VALUES, data=st.data())
def test_no_array_brings_the_server_down(
    client: httpx.Client, path: str, value: object, data: st.DataObject
) -> None:
    body = bytearray(MASK)
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    answer = send(client, path, bytes(body), {**SAID, "interaction_bbox": value})
    assert answer.status_code in (200, 400, 413)
