"""ITK-SNAP's protocol, both generations: order, place, objects, sessions; and its own server as the judge."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from scipy.spatial.transform import Rotation

from doubles import FakeLimNet
from limnet.server.keys import Keyring
from limnet.volume import read_volume
from nni_server import emptied, free_port, serving, serving_viewers
from snap_client import Generation, Snap, image_of
from viewer_scene import SHAPE, box_mask, scan, square

POINT = (25, 4, 7)  # x, y, z
ORACLE = Path(__file__).parents[1] / "build" / "itksnap-dls"
BOTH = pytest.mark.parametrize("generation", ["v1", "v2"])


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


def ready(address: str, generation: Generation = "v1", model: str = "limnet", **http: Any) -> Snap:
    snap = Snap(address, generation, model, **http)
    snap.upload(image_of(scan()))
    return snap


def volumes(address: str) -> list[dict[str, Any]]:
    """What the annotator lists, each with its objects."""
    found = httpx.get(f"{address}/api/v1/volumes").json()
    return [httpx.get(f"{address}/api/v1/volumes/{volume['id']}").json() for volume in found]


# Order


@BOTH
def test_a_point_counts_x_first_and_the_mask_comes_x_fastest(address: str, generation: Generation) -> None:
    with ready(address, generation) as snap:
        np.testing.assert_array_equal(snap.point(*POINT), box_mask())


@BOTH
@pytest.mark.parametrize("kind", ["scribble", "lasso"])
def test_a_drawing_is_a_volume_of_the_images_size(address: str, generation: Generation, kind: Any) -> None:
    with ready(address, generation) as snap:
        mask = snap.draw(kind, square())
    assert mask[square() == 1].all()
    for index in (3, 4, 10, 11):  # a lasso's own slice holds no more than what it encloses
        np.testing.assert_array_equal(mask[index], box_mask()[index])


def test_every_answer_is_the_whole_mask(address: str) -> None:
    with ready(address) as snap:
        first = snap.point(*POINT)
        np.testing.assert_array_equal(snap.point(22, 4, 7), first)


def test_a_negative_point_takes_its_voxel_out(address: str) -> None:
    with ready(address) as snap:
        snap.point(*POINT)
        mask = snap.point(30, 8, 7, positive=False)
        assert mask[7, 8, 30] == 0
        assert mask[7, 4, 25] == 1


def test_a_negative_point_that_comes_first_gives_an_empty_mask(address: str) -> None:
    with ready(address) as snap:
        assert not snap.point(30, 8, 7, positive=False).any()
        assert snap.point(*POINT)[7, 8, 30] == 0


# Place


def test_the_place_of_the_image_is_kept(address: str) -> None:
    direction = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ np.diag([1, 1, -1])
    image = image_of(scan(), (0.7, 0.9, 2.5), (-31.5, 12.25, 100.0), tuple(direction.ravel()))
    with Snap(address) as snap:
        snap.upload(image)
    (volume,) = volumes(address)
    for index in [(0, 0, 0), (39, 0, 0), (0, 19, 0), (5, 6, 13)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)  # LPS
        world = np.array(volume["affine"]) @ [*index, 1]
        np.testing.assert_allclose(world[:3], [-x, -y, z], atol=1e-4)


def test_a_file_that_is_open_in_the_annotator_is_the_same_image(address: str, tmp_path: Path) -> None:
    direction = tuple(Rotation.from_euler("z", 30, degrees=True).as_matrix().ravel())
    image = image_of(scan(), (0.7, 0.9, 2.5), (1, 2, 3), direction)
    path = tmp_path / "scan.nii.gz"
    SimpleITK.WriteImage(image, path)
    opened = httpx.post(f"{address}/api/v1/volumes/open", json={"path": str(path)}).json()
    with Snap(address) as snap:
        snap.upload(SimpleITK.ReadImage(path))
        snap.point(*POINT)
    (volume,) = volumes(address)
    assert volume["id"] == opened["id"]
    assert [item["voxels"] for item in volume["objects"]] == [7 * 7 * 11]


def test_the_same_voxels_in_another_place_are_another_image(address: str) -> None:
    with Snap(address) as snap:
        snap.upload(image_of(scan(), origin=(0, 0, 0)))
        snap.upload(image_of(scan(), origin=(0, 0, 50)))
        assert len(volumes(address)) == 2


def test_dimensions_alone_will_do(address: str) -> None:
    with Snap(address) as snap:
        snap.shape = SHAPE
        sent = snap._send("/upload_raw", scan(), {"dimensions": [40, 20, 14]})
        assert sent.status_code == 200
        np.testing.assert_array_equal(snap.point(*POINT), box_mask())


def test_three_components_are_colours(address: str) -> None:
    colours = np.stack([scan().astype(np.uint8)] * 3, -1)
    with Snap(address) as snap:
        image = SimpleITK.GetImageFromArray(colours, isVector=True)
        snap.upload(image)
        assert snap.point(*POINT)[7, 4, 25] == 1
    assert volumes(address)[0]["is_rgb"] is True


# Objects


@BOTH
def test_another_label_begins_another_object(address: str, generation: Generation) -> None:
    with ready(address, generation) as snap:
        snap.point(*POINT)
        snap.reset()
        assert snap.point(25, 4, 8, positive=False).sum() == 0
        snap.point(25, 4, 9)
    (volume,) = volumes(address)
    assert [item["num_rounds"] for item in volume["objects"]] == [1, 1]


def test_what_nninteractives_client_began_goes_on(address: str) -> None:
    client = nnInteractiveRemoteInferenceSession(address)
    client.set_image(scan()[None], {"spacing": [2.0, 1.0, 1.0]})
    client.set_target_buffer(np.zeros(SHAPE, np.uint8))
    client.add_point_interaction(list(POINT[::-1]), True)
    client.add_point_interaction([7, 8, 30], False)
    client.close()
    with ready(address, "v2", "limnet-continue") as snap:
        mask = snap.point(24, 5, 8)
    assert mask[7, 8, 30] == 0  # the other client's negative point is law here too
    (volume,) = volumes(address)
    assert [item["num_rounds"] for item in volume["objects"]] == [3]


def test_the_list_of_models_is_what_may_be_started(address: str) -> None:
    models = httpx.get(f"{address}/v2/models").json()["models"]
    assert [model["id"] for model in models] == ["limnet", "limnet-continue"]
    assert all(model["dimensions"] == 3 and "point" in model["interactions"] for model in models)
    assert httpx.get(f"{address}/v2/start_session/SAM2").status_code == 404


# Sessions


@BOTH
def test_a_session_that_has_ended_is_not_found(address: str, generation: Generation) -> None:
    snap = ready(address, generation)
    path = f"/process_point_interaction/{snap.session}"
    snap.close()
    answer = httpx.get(f"{address}{path}", params={"x": 1, "y": 1, "z": 1})
    assert answer.status_code == 404
    assert "invalid session" in answer.json()["detail"]


def test_a_session_outlives_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, FakeLimNet(size=64), port=port) as (url, _):
        snap = ready(url)
        snap.point(*POINT)
    with serving(tmp_path, FakeLimNet(size=64), port=port) as (url, _), snap:
        assert snap.point(30, 8, 7, positive=False).sum() == 7 * 7 * 11 - 1
        assert [item["num_rounds"] for item in volumes(url)[0]["objects"]] == [2]


def test_a_prompt_before_an_image_says_what_is_missing(address: str) -> None:
    with Snap(address) as snap:
        answer = snap.http.get(f"/process_point_interaction/{snap.session}?x=1&y=1&z=1")
    assert answer.status_code == 400
    assert "no image" in answer.json()["detail"]


def test_the_audit_log_knows_of_the_image(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(size=64)) as (url, _), ready(url):
        assert '"action": "image from a viewer"' in (tmp_path / "audit.jsonl").read_text()


# Keys


def test_with_keys_the_address_carries_one(tmp_path: Path) -> None:
    key = Keyring(tmp_path).add("anna")
    with serving(tmp_path, FakeLimNet(size=64)) as (url, _):
        assert httpx.get(f"{url}/status").json()["status"] == "ok"
        assert httpx.get(f"{url}/start_session").status_code == 401
        assert httpx.get(f"{url}/start_session", auth=("any", "wrong")).status_code == 401
        for auth in [("any", key), (key, "")]:
            with ready(url, auth=auth) as snap:
                assert snap.point(*POINT).any()


def test_another_users_session_is_not_found(tmp_path: Path) -> None:
    keys = Keyring(tmp_path)
    anna, bert = keys.add("anna"), keys.add("bert")
    with serving(tmp_path, FakeLimNet(size=64)) as (url, _), ready(url, auth=("", anna)) as snap:
        path = f"{url}/process_point_interaction/{snap.session}?x=25&y=4&z=7&foreground=true"
        assert httpx.get(path, auth=("", bert)).status_code == 404


def test_a_page_of_another_site_may_not_even_get(address: str) -> None:
    answer = httpx.get(f"{address}/start_session", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


# The judge


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ITK-SNAP's own server with its stand-in networks, a process and folder of its own."""
    if not (ORACLE / "itksnap_dls").exists():
        wanted = ["itksnap-dls==0.1.6", "huggingface_hub", "filelock", "requests", "certifi", "urllib3"]
        wanted += ["idna", "charset_normalizer"]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--retries", "0", "--timeout", "20"]
        pip += ["--target", str(ORACLE)]
        if subprocess.run([*pip, *wanted], capture_output=True, timeout=300, check=False).returncode:
            pytest.skip("itksnap-dls cannot be fetched")
    port = free_port()
    log = tmp_path_factory.mktemp("oracle") / "log"
    command = [sys.executable, "-m", "itksnap_dls", "--mock-models", "--no-network", "-H", "127.0.0.1"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "-p", str(port)], env={"PYTHONPATH": str(ORACLE)}, stdout=out, stderr=out
        )
    try:
        for _ in range(300):
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None:
                pytest.skip(f"itksnap-dls does not start: {log.read_text()[-300:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@BOTH
def test_its_own_server_puts_points_and_drawings_where_ours_does(
    address: str, oracle: str, generation: Generation
) -> None:
    """Its stand-in grows a ball around every prompt: the ball's middle tells where it saw the prompt."""
    with ready(oracle, generation, "nnInteractive") as theirs, ready(address, generation) as ours:
        for act in [
            lambda snap: snap.point(*POINT),
            lambda snap: snap.draw("scribble", square()),
            lambda snap: snap.draw("lasso", square()),
        ]:
            their_mask, our_mask = act(theirs), act(ours)
            assert their_mask.shape == our_mask.shape == SHAPE
            assert set(np.unique(their_mask)) == set(np.unique(our_mask)) == {0, 1}
            middle = tuple(round(float(n.mean())) for n in np.nonzero(their_mask))
            assert middle == POINT[::-1]
            assert our_mask[middle] == 1
            theirs.reset()
            ours.reset()


def test_our_reader_agrees_with_its_idea_of_the_volume(tmp_path: Path, address: str) -> None:
    """What ITK writes of an image, read by us, is what its upload becomes."""
    image = image_of(scan(), (0.5, 1.5, 3.0), (10, -20, 30))
    path = tmp_path / "scan.nrrd"
    SimpleITK.WriteImage(image, path)
    with Snap(address) as snap:
        snap.upload(image)
    (volume,) = volumes(address)
    read = read_volume(path)
    np.testing.assert_allclose(volume["affine"], read.affine, atol=1e-9)
    assert tuple(volume["shape"]) == read.shape


def test_an_image_that_is_unloaded_after_every_request_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(size=64), idle_minutes=1e-6) as (url, _), ready(url) as snap:
        snap.point(*POINT)
        assert snap.point(30, 8, 7, positive=False).sum() == 7 * 7 * 11 - 1
