"""MONAI Label's protocol from clients that are broken or mean harm: one line, no 500, nothing kept."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles import FakeLimNet
from nni_server import serving
from snap_client import image_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
FIELDS = ["label", "foreground", "background", "result_extension", "roi", "slice", "label_info"]
REUSED = [HealthCheck.function_scoped_fixture]
GOOD = {"label": "liver", "foreground": [[5, 4, 3]]}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A NIfTI file of 10 x 8 x 6 voxels."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii"
    SimpleITK.WriteImage(image_of(np.arange(480, dtype=np.int16).reshape(6, 8, 10)), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def client(work: Path, scan: bytes) -> Iterator[httpx.Client]:
    with (
        serving(work, FakeLimNet(), max_voxels=2**16, max_upload_mib=8, max_volumes=3) as (url, _),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        assert put(client, scan).status_code == 200
        yield client


def put(client: httpx.Client, body: bytes, name: str = "scan.nii", image: str = "scan") -> httpx.Response:
    return client.put("/datastore/", params={"image": image}, files={"file": (name, body)})


def infer(client: httpx.Client, params: object, image: str = "scan", model: str = "limnet") -> httpx.Response:
    text = params if isinstance(params, str) else json.dumps(params)
    return client.post(f"/infer/{model}", params={"image": image}, files={"params": (None, text)})


def save(client: httpx.Client, body: bytes, params: object = None, name: str = "l.nii") -> httpx.Response:
    parts: dict[str, Any] = {"label": (name, body), "params": (None, json.dumps(params or {}))}
    return client.put("/datastore/label", params={"image": "scan"}, files=parts)


def refused(answer: httpx.Response, *statuses: int) -> None:
    """One line of words with a status of the client's."""
    assert answer.status_code in (statuses or (400, 404, 413, 422)), answer.text
    detail = answer.json()["detail"]
    assert detail
    assert "\n" not in detail
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("end", [0, 4, 100, 352, 400])
def test_images_that_are_none_are_refused_and_not_kept(
    client: httpx.Client, scan: bytes, work: Path, end: int
) -> None:
    before = sorted((work / "users").rglob("*"))
    refused(put(client, scan[:end]))
    refused(put(client, gzip.compress(scan)[:end], "scan.nii.gz"))
    refused(client.put("/session/", files=[("files", ("scan.nii", scan[:end]))]))
    assert sorted((work / "users").rglob("*")) == before
    assert not list((work / "passing").iterdir())


def test_a_bomb_is_left_packed(client: httpx.Client, scan: bytes) -> None:
    header = bytearray(scan[:352])
    header[42:48] = np.array([2000, 2000, 2000], "<i2").tobytes()
    bomb = gzip.compress(bytes(header) + bytes(2**28), 9)
    tracemalloc.start()
    try:
        refused(put(client, bomb, "scan.nii.gz"), 413)
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["../../../etc/passwd", "", "/", "..", "\u0000x", "a" * 300])
def test_names_lead_nowhere(client: httpx.Client, scan: bytes, work: Path, name: str) -> None:
    answer = put(client, scan, name=name or "scan", image=name)
    assert answer.status_code in (200, 409), answer.text
    assert infer(client, GOOD, image="scan").status_code == 200
    assert {path.name for path in work.iterdir()} <= {
        "audit.jsonl",
        "users",
        "passing",
        "monai",
        "nninteractive",
        "itksnap",
    }


@pytest.mark.parametrize(
    "params",
    [
        "",
        "no JSON",
        "[" * 3000,
        "[]",
        {},
        {"label": "a", "foreground": [[1, 2]]},
        {"label": "a", "foreground": [[1, 2, "3"]]},
        {"label": "a", "foreground": [[1, 2, float("nan")]]},
        {"label": "a", "foreground": [[1, 2, 1e300]]},
        {"label": "a", "foreground": [[10, 0, 0]]},
        {"label": "a", "background": [[-1, 0, 0]]},
        {"label": "a", "foreground": [[1, 1, 1]] * 1001},
        {"label": " ", "foreground": [[1, 1, 1]]},
        {"label": 5, "foreground": [[1, 1, 1]]},
    ],
)
def test_params_that_are_unusable_are_refused(client: httpx.Client, params: object) -> None:
    refused(infer(client, params), 400, 422)


def test_one_bad_point_among_good_ones_changes_nothing(client: httpx.Client) -> None:
    volume = client.get("/api/v1/volumes").json()[-1]["id"]
    before = client.get(f"/api/v1/volumes/{volume}").json()["objects"]
    refused(infer(client, {"label": "other", "foreground": [[1, 1, 1], [99, 0, 0]]}), 422)
    assert client.get(f"/api/v1/volumes/{volume}").json()["objects"] == before


def test_what_is_not_there_is_not_found(client: httpx.Client) -> None:
    refused(infer(client, GOOD, image="nobody"), 404)
    refused(infer(client, GOOD, model="deepedit"), 404)
    refused(client.get("/session/nobody"), 404)
    refused(client.get("/datastore/image", params={"image": "nobody"}), 404)
    refused(client.get("/datastore/label", params={"label": "nobody", "tag": "final"}), 404)
    refused(client.post("/activelearning/random", json={}), 404)


def test_scribbles_are_refused_in_words(client: httpx.Client, scan: bytes) -> None:
    parts: dict[str, Any] = {"params": (None, json.dumps(GOOD)), "label": ("s.nii", scan)}
    answer = client.post("/infer/limnet", params={"image": "scan"}, files=parts)
    refused(answer, 400)
    assert "scribbles" in answer.json()["detail"]


@pytest.mark.parametrize("end", [0, 100, 400, None])
def test_labels_that_are_none_are_refused(client: httpx.Client, scan: bytes, end: int | None) -> None:
    refused(save(client, scan[:end] if end is not None else scan + b"", {"label_info": "x"}), 409, 413, 422)


def test_a_label_on_another_grid_is_refused(client: httpx.Client, tmp_path: Path) -> None:
    path = tmp_path / "other.nii"
    SimpleITK.WriteImage(image_of(np.ones((3, 3, 3), np.uint8), spacing=(5, 5, 5)), path)
    refused(save(client, path.read_bytes()), 422)


def test_a_page_of_another_site_is_refused(client: httpx.Client) -> None:
    refused(client.get("/info/", headers={"Origin": "http://evil.example"}), 403)


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_whatever_is_asked_is_answered(client: httpx.Client, params: Any) -> None:
    answer = infer(client, params)
    assert answer.status_code in (200, 400, 422, 507), answer.text


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.integers(0, 351), st.integers(1, 255))
def test_a_damaged_header_never_brings_the_server_down(
    client: httpx.Client, scan: bytes, place: int, change: int
) -> None:
    damaged = bytearray(scan)
    damaged[place] ^= change
    answer = put(client, bytes(damaged), image="damaged")
    assert answer.status_code in (200, 409, 413, 422), answer.text
