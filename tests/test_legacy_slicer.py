"""The protocol of nnInteractive's older plugins for 3D Slicer, as they drive it; and from bad clients."""

from __future__ import annotations

import gzip
import io
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
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from numpy.typing import NDArray

from doubles import FakeLimNet
from legacy_slicer import Plugin, PluginError, packed
from limnet.server.keys import Keyring
from nni_server import emptied, free_port, serving, serving_viewers
from snap_client import image_of
from viewer_scene import SHAPE, box_mask, scan, square

POINT = (7, 4, 25)  # k, j, i
NUM_BOX = 7 * 7 * 11
REUSED = [HealthCheck.function_scoped_fixture]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """For all tests that need not end it."""
    with serving_viewers(tmp_path_factory) as url:
        yield url


@pytest.fixture
def address(server: str) -> str:
    return emptied(server)


def objects(address: str) -> list[int]:
    """Rounds of the objects of the only image."""
    (volume,) = httpx.get(f"{address}/api/v1/volumes").json()
    found = httpx.get(f"{address}/api/v1/volumes/{volume['id']}").json()["objects"]
    return [item["num_rounds"] for item in found]


# What the plugin does


def test_a_point_brings_the_whole_mask(address: str) -> None:
    plugin = Plugin(address, scan())
    np.testing.assert_array_equal(plugin.point(POINT), box_mask())
    assert plugin.uploads == ["image", "segment"]


def test_a_box_holds_both_of_its_corners(address: str) -> None:
    mask = Plugin(address, scan()).box((7, 8, 30), (7, 2, 20))
    np.testing.assert_array_equal(mask, box_mask())


@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_a_drawing_comes_as_a_form_that_claims_to_be_packed(address: str, kind: Any) -> None:
    mask = Plugin(address, scan()).draw(kind, square())
    assert mask[square() == 1].all()
    np.testing.assert_array_equal(mask[[3, 4, 10, 11]], box_mask()[[3, 4, 10, 11]])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "uint8", ">i2"])
def test_images_come_in_any_type(address: str, dtype: str) -> None:
    np.testing.assert_array_equal(Plugin(address, scan().astype(dtype)).point(POINT), box_mask())


def test_colours_come_last(address: str) -> None:
    colours = np.stack([scan().astype(np.uint8)] * 3, -1)
    assert Plugin(address, colours).point(POINT)[POINT] == 1


def test_a_negative_point_corrects(address: str) -> None:
    plugin = Plugin(address, scan())
    plugin.point(POINT)
    mask = plugin.point((7, 8, 30), positive=False)
    assert mask[7, 8, 30] == 0
    assert mask.sum() == NUM_BOX - 1
    assert plugin.uploads == ["image", "segment"]


def test_an_empty_segment_is_the_next_object(address: str) -> None:
    plugin = Plugin(address, scan())
    plugin.point(POINT)
    plugin.segment = np.zeros(SHAPE, np.uint8)  # another segment was chosen
    plugin.point((8, 4, 25))
    assert objects(address) == [1, 1]


def test_going_back_to_a_segment_goes_on_with_its_object(address: str) -> None:
    plugin = Plugin(address, scan())
    first = plugin.point(POINT).copy()
    plugin.segment = np.zeros(SHAPE, np.uint8)
    plugin.point((8, 4, 25))
    plugin.point((7, 2, 20), positive=False)
    plugin.segment = first
    plugin.point((7, 8, 30), positive=False)
    assert objects(address) == [2, 2]


def test_a_restart_of_the_server_is_not_noticed(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, FakeLimNet(size=64), port=port) as (url, _):
        plugin = Plugin(url, scan())
        plugin.point(POINT)
    with serving(tmp_path, FakeLimNet(size=64), port=port) as (url, _):
        mask = plugin.point((7, 8, 30), positive=False)
        assert mask.sum() == NUM_BOX - 1
        assert plugin.uploads == ["image", "segment"] * 2
        assert objects(url) == [2]


def test_an_image_that_was_deleted_is_sent_again(address: str) -> None:
    plugin = Plugin(address, scan())
    plugin.point(POINT)
    (volume,) = httpx.get(f"{address}/api/v1/volumes").json()
    sure = {"confirm": volume["name"]}
    gone = httpx.request("DELETE", f"{address}/api/v1/volumes/{volume['id']}", json=sure)
    assert gone.status_code == 204
    assert plugin.point((7, 8, 30), positive=False).any()
    assert plugin.uploads == ["image", "segment"] * 2


def test_an_image_that_cannot_be_used_ends_in_one_message(address: str) -> None:
    plugin = Plugin(address, np.zeros(SHAPE, np.int16))
    with pytest.raises(PluginError, match="all-equal"):
        plugin.point(POINT)
    plugin.image = scan()
    assert plugin.point(POINT).sum() == NUM_BOX


def test_the_test_of_a_connection_gets_any_answer(address: str) -> None:
    assert httpx.get(address).status_code in (200, 404)


# Beside the others


def test_the_later_protocol_is_spoken_on_the_same_paths(address: str) -> None:
    plugin = Plugin(address, scan())
    plugin.point(POINT)
    client = nnInteractiveRemoteInferenceSession(address)
    client.set_image(scan()[None], {"spacing": [1.0, 1.0, 1.0]})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    drawing = square()
    client.add_point_interaction(list(POINT), True)
    client.add_bbox_interaction([[7, 8], [2, 9], [20, 31]], True)
    client.add_scribble_interaction(drawing, True)
    client.add_lasso_interaction(drawing, True)
    client.close()
    assert objects(address) == [1, 4]
    plugin.point((7, 8, 30), positive=False)
    assert objects(address) == [2, 4]


def test_a_client_of_the_later_protocol_that_lost_its_lease_is_told_so(address: str) -> None:
    said = {"include_interaction": True, "run_prediction": True}
    for path, body in [
        ("add_point_interaction", {"coordinates": [1, 1, 1], **said}),
        ("add_bbox_interaction", {"bbox_coords": [[1, 2]] * 3, **said}),
    ]:
        assert httpx.post(f"{address}/{path}", json=body).status_code == 410
    meta = {"X-Meta": json.dumps(said)}
    assert httpx.post(f"{address}/add_lasso_interaction", content=b"x", headers=meta).status_code == 410


def test_a_file_of_the_annotator_is_the_same_image(address: str, tmp_path: Path) -> None:
    path = tmp_path / "scan.nrrd"
    SimpleITK.WriteImage(image_of(scan(), spacing=(0.5, 0.5, 3)), path)
    opened = httpx.post(f"{address}/api/v1/volumes/open", json={"path": str(path)}).json()
    Plugin(address, scan()).point(POINT)
    (volume,) = httpx.get(f"{address}/api/v1/volumes").json()
    assert volume["id"] == opened["id"]
    assert objects(address) == [1]


def test_with_keys_the_address_carries_one(tmp_path: Path) -> None:
    key = Keyring(tmp_path).add("anna")
    with serving(tmp_path, FakeLimNet(size=64)) as (url, _):
        with pytest.raises(PluginError, match="401"):
            Plugin(url, scan()).point(POINT)
        with_key = url.replace("http://", f"http://any:{key}@")
        assert Plugin(with_key, scan()).point(POINT).sum() == NUM_BOX


# From bad clients


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        serving(tmp_path_factory.mktemp("work"), FakeLimNet(), max_voxels=2**16, max_upload_mib=8) as (
            url,
            _,
        ),
        httpx.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        yield client


@pytest.fixture
def ready(client: httpx.Client) -> httpx.Client:
    """A client whose image is there."""
    assert send(client, "upload_image", npy(scan())).json() == {"status": "ok"}
    return client


def npy(array: NDArray[Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def send(client: httpx.Client, path: str, body: bytes, sign: str = "True") -> httpx.Response:
    parts: dict[str, Any] = {"file": ("volume.npy", body), "positive_click": (None, sign)}
    return client.post(f"/{path}", files=parts)


def refused(answer: httpx.Response) -> str:
    """The one line of an error, with the status that the protocol has for it."""
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "error"
    message = str(answer.json()["message"])
    assert message
    assert "\n" not in message
    assert "No image uploaded" not in message
    return message


HEADER = npy(np.zeros((2, 3, 4), np.uint8))[:128]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x93NUMPY",
        HEADER,
        npy(scan())[:-1],
        npy(scan()) + b"x",
        HEADER.replace(b"(2, 3, 4)", b"(-2,3, 4)"),
        HEADER.replace(b"(2, 3, 4)", b"(9e9,3,4)"),
        HEADER.replace(b"'|u1'", b"'|O8'"),
        HEADER.replace(b"'|u1'", b"'<U9'"),
        b"\x93NUMPY\x01\x00" + (3000).to_bytes(2, "little") + b"[" * 3000,
        b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{",
        npy(np.array([{}, 1], object), allow_pickle=True),
        npy(np.zeros((3, 3), np.int16)),
        npy(np.full((3, 3, 3), np.nan)),
        npy(np.zeros((3, 3, 3), np.complex64)),
        npy(np.arange(65537, dtype=np.int32).reshape(1, 1, -1)),
    ],
)
def test_images_that_are_none_are_refused(client: httpx.Client, body: bytes) -> None:
    reason = refused(send(client, "upload_image", body))
    prompt = {"voxel_coord": [0, 0, 0], "positive_click": True}
    assert reason[:40] in refused(client.post("/add_point_interaction", json=prompt))


def test_huge_sizes_and_bombs_are_refused_before_anything_is_allocated(ready: httpx.Client) -> None:
    huge = HEADER.replace(b"(2, 3, 4)", b"(9999,9999,9999)").replace(b"       \n", b"\n")
    bomb = gzip.compress(bytes(2**29), 9)
    tracemalloc.start()
    try:
        for path in ("upload_segment", "add_scribble_interaction", "add_lasso_interaction"):
            refused(send(ready, path, bomb))
            refused(send(ready, path, gzip.compress(huge)))
        refused(send(ready, "upload_image", huge))
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        packed(square())[:-5],
        packed(square())[:40],
        gzip.compress(b"x"),
        packed(np.ones((3, 3, 3), np.uint8)),
        packed(np.ones((1, *SHAPE), np.uint8)),
    ],
)
@pytest.mark.parametrize("path", ["upload_segment", "add_scribble_interaction", "add_lasso_interaction"])
def test_masks_that_are_none_are_refused(ready: httpx.Client, path: str, body: bytes) -> None:
    refused(send(ready, path, body))


def test_an_empty_drawing_is_refused(ready: httpx.Client) -> None:
    refused(send(ready, "add_scribble_interaction", packed(np.zeros(SHAPE, np.uint8))))


@pytest.mark.parametrize("sign", ["", "maybe", "None"])
def test_a_sign_that_is_none_is_refused(ready: httpx.Client, sign: str) -> None:
    refused(send(ready, "add_lasso_interaction", packed(square()), sign))


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[1]", b"[" * 3000, b"{" + b" " * 2**21 + b"}"])
def test_bodies_that_are_no_json_are_refused(ready: httpx.Client, content: bytes) -> None:
    for path in ("add_point_interaction", "add_bbox_interaction"):
        refused(ready.post(f"/{path}", content=content))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
WORDS = ["voxel_coord", "outer_point_one", "outer_point_two", "positive_click"]


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.sampled_from(["point", "bbox"]), st.dictionaries(st.sampled_from(WORDS), VALUES))
def test_whatever_is_said_is_answered(ready: httpx.Client, kind: str, body: Any) -> None:
    text = json.dumps(body)
    assert ready.post(f"/add_{kind}_interaction", content=text).status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.integers(0, 127), st.integers(1, 255))
def test_a_damaged_header_is_answered(client: httpx.Client, place: int, change: int) -> None:
    damaged = bytearray(npy(scan()))
    damaged[place] ^= change
    assert send(client, "upload_image", bytes(damaged)).status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=REUSED)
@given(st.integers(0, len(packed(square())) - 1), st.integers(1, 255))
def test_a_damaged_mask_is_answered(ready: httpx.Client, place: int, change: int) -> None:
    damaged = bytearray(packed(square()))
    damaged[place] ^= change
    assert send(ready, "add_lasso_interaction", bytes(damaged)).status_code == 200
