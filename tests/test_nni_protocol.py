"""nnInteractive's real client against a real server: every call, undo, leases, restarts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)
from numpy.typing import NDArray

from doubles import FakeLimNet, box_volume
from limnet.server.nni_lease import NniSettings
from limnet.server.workspace import Workspace
from nni_server import free_port, serving

Buffer = NDArray[np.uint8]

# Theirs: (k, j, i) of 16 x 24 x 24 voxels, bright from (4, 8, 8) to (11, 15, 15).
IMAGE = box_volume().array.transpose(2, 1, 0)[None]
BOX = (slice(4, 12), slice(8, 16), slice(8, 16))
SPACING = {"spacing": [2.0, 1.0, 1.0]}
INSIDE = [6, 10, 10]


class Client(nnInteractiveRemoteInferenceSession):
    """The real client; one that finds no place lets go of its socket."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        try:
            super().__init__(url, api_key)
        except Exception:
            self._http.close()
            raise


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("work"), FakeLimNet()) as (url, _):
        yield url


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with ready(address) as client:
        yield client


def ready(address: str, image: NDArray[np.generic] = IMAGE) -> Client:
    """A client that has sent its image and its buffer."""
    client = Client(address)
    client.set_image(image, SPACING)
    client.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
    return client


def box_mask() -> Buffer:
    mask = np.zeros(IMAGE.shape[1:], np.uint8)
    mask[BOX] = 1
    return mask


def square(value: int = 1) -> tuple[Buffer, list[list[int]]]:
    """A drawing on slice 6 and its bounds."""
    return np.full((1, 4, 4), value, np.uint8), [[6, 7], [9, 13], [9, 13]]


def two_boxes() -> NDArray[np.generic]:
    """The image with a second bright box, which touches nothing."""
    image = IMAGE.copy()
    image[0, 5:9, 1:5, 1:5] = 100
    return image


def objects(address: str) -> list[dict[str, int]]:
    """What the annotator shows of the only image."""
    (volume,) = httpx.get(f"{address}/api/v1/volumes").json()
    return list(httpx.get(f"{address}/api/v1/volumes/{volume['id']}").json()["objects"])


# Prompts


def test_a_point_brings_the_object_and_the_box_that_changed(client: Client) -> None:
    assert client.add_point_interaction(INSIDE, True) == [[4, 12], [8, 16], [8, 16]]
    np.testing.assert_array_equal(client.target_buffer, box_mask())


def test_a_box_a_scribble_and_a_lasso_bring_it_too(client: Client) -> None:
    drawing, bounds = square()
    whole = np.zeros(IMAGE.shape[1:], np.uint8)
    whole[6, 9:13, 9:13] = 1
    calls = [
        lambda: client.add_bbox_interaction([[6.0, 7.0], [8.0, 16.0], [8.0, 16.0]], True),
        lambda: client.add_scribble_interaction(drawing, True, interaction_bbox=bounds),
        lambda: client.add_scribble_interaction(whole, True),
        lambda: client.add_lasso_interaction(
            np.ones((1, 8, 8), bool), True, interaction_bbox=[[6, 7], [8, 16], [8, 16]]
        ),
    ]
    for call in calls:
        client.reset_interactions()
        assert call() is not None
        assert client.target_buffer[6, 10, 10] == 1
        assert client.target_buffer[5:8].any((1, 2)).all()


def test_a_negative_point_takes_a_voxel_out(client: Client) -> None:
    client.add_point_interaction(INSIDE, True)
    client.add_point_interaction([6, 15, 15], False)
    assert client.target_buffer[6, 15, 15] == 0
    assert client.target_buffer[6, 10, 10] == 1


def test_a_negative_point_that_comes_first_waits_for_a_positive_one(client: Client) -> None:
    assert client.add_point_interaction([6, 15, 15], False) is None
    client.add_point_interaction(INSIDE, True)
    assert client.target_buffer[6, 15, 15] == 0
    assert client.target_buffer[5, 10, 10] == 1


def test_queued_prompts_are_predicted_together(client: Client) -> None:
    assert client.add_point_interaction(INSIDE, True, run_prediction=False) is None
    assert client.add_point_interaction([8, 10, 10], True, run_prediction=False) is None
    assert not client.target_buffer.any()
    assert client._predict() == [[4, 12], [8, 16], [8, 16]]
    assert client._predict() is None


def test_queued_prompts_of_two_axes_become_two_rounds(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet()) as (url, _), ready(url) as client:
        client.add_point_interaction(INSIDE, True, run_prediction=False)
        client.add_bbox_interaction([[4, 12], [10, 11], [8, 16]], True, run_prediction=False)
        client._predict()
        assert [item["num_rounds"] for item in objects(url)] == [2]


def test_a_prompt_that_cannot_be_used_is_a_400_and_changes_nothing(client: Client) -> None:
    client.add_point_interaction(INSIDE, True)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        client.add_point_interaction([99, 0, 0], True)
    assert client.undo()
    assert not client.undo()


# Undo, reset, initial segmentations


def test_undo_goes_back_step_by_step_until_nothing_is_left(address: str) -> None:
    with ready(address, two_boxes()) as client:
        states = [client.target_buffer.copy()]
        for point, positive in ((INSIDE, True), ([6, 2, 2], True), ([6, 15, 15], False)):
            client.add_point_interaction(point, positive)
            states.append(client.target_buffer.copy())
        assert len({state.tobytes() for state in states}) == 4
        for state in reversed(states[:-1]):
            assert client.undo() is True
            np.testing.assert_array_equal(client.target_buffer, state)
        assert client.undo() is False


def test_undo_of_a_queued_prompt_has_run_though_nothing_is_seen(client: Client) -> None:
    client.add_point_interaction(INSIDE, True, run_prediction=False)
    assert client.undo() is True
    assert client._last_paste_bbox is None
    assert client._predict() is None


def test_undo_of_a_prediction_of_two_prompts_takes_back_one_of_them(client: Client) -> None:
    client.add_point_interaction(INSIDE, True, run_prediction=False)
    client.add_point_interaction([6, 15, 15], False)
    assert client.undo()
    assert not client.target_buffer.any()
    client._predict()
    np.testing.assert_array_equal(client.target_buffer, box_mask())
    assert [client.undo(), client.undo()] == [True, False]


def test_reset_begins_another_object_and_the_former_one_stays(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet()) as (url, _), ready(url, two_boxes()) as client:
        client.add_point_interaction(INSIDE, True)
        client.reset_interactions()
        assert not client.target_buffer.any()
        client.add_point_interaction([6, 2, 2], True)
        assert client.target_buffer.sum() == 4 * 4 * 4
        assert [item["voxels"] for item in objects(url)] == [512, 64]


def test_an_initial_segmentation_wipes_prompts_and_undo_brings_them_back(client: Client) -> None:
    client.add_point_interaction(INSIDE, True)
    seg = np.zeros(IMAGE.shape[1:], np.uint8)
    seg[5:7, 9:12, 9:12] = 1
    client.add_initial_seg_interaction(seg)
    np.testing.assert_array_equal(client.target_buffer, seg)
    assert client.undo()
    np.testing.assert_array_equal(client.target_buffer, box_mask())
    assert [client.undo(), client.undo()] == [True, False]


def test_an_initial_segmentation_can_be_refined_at_once(client: Client) -> None:
    seg = np.zeros(IMAGE.shape[1:], np.uint8)
    seg[6:8, 9:12, 9:12] = 1
    assert client.add_initial_seg_interaction(seg, run_prediction=True) is not None
    assert (client.target_buffer > seg).any()
    assert not (client.target_buffer > box_mask()).any()


def test_a_mask_that_an_object_has_already_continues_that_object(client: Client) -> None:
    client.add_point_interaction(INSIDE, True)
    before = client.target_buffer.copy()
    client.add_point_interaction([6, 15, 15], False)
    kept = client.target_buffer.copy()
    client.reset_interactions()
    client.add_initial_seg_interaction(kept)
    assert client.undo()
    np.testing.assert_array_equal(client.target_buffer, before)


# What clients ask


def test_every_key_that_clients_index_is_there(client: Client) -> None:
    assert client.supported_interactions == {
        "points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True,
    }  # fmt: skip
    assert len(client.preferred_scribble_thickness) == 3
    assert client.supports_undo
    assert client.license.startswith("Apache-2.0")
    assert client.original_image_shape == (1, 16, 24, 24)
    assert client.ping()


def test_slicer_calls_in_its_own_order(address: str) -> None:
    with Client(address) as test_connection:
        assert test_connection._lease_token
    with Client(address) as client:
        client.set_do_autozoom(True)
        client.set_image(IMAGE, SPACING)
        client.set_target_buffer(np.zeros(IMAGE.shape[1:], np.uint8))
        client.reset_interactions()
        client.add_initial_seg_interaction(box_mask(), run_prediction=False)
        client.add_point_interaction([6, 15, 15], False)
        assert client.target_buffer.sum() == box_mask().sum() - 1
        assert client.undo()
        np.testing.assert_array_equal(client.target_buffer, box_mask())


def test_a_flat_image_is_one_slice(address: str) -> None:
    with ready(address, IMAGE[:, 6:7].copy()) as client:
        assert client.add_point_interaction([0, 10, 10], True) == [[0, 1], [8, 16], [8, 16]]


def test_an_image_with_nan_voxels_is_taken_and_the_answer_says_so(address: str) -> None:
    image = IMAGE.astype(np.float32)
    image[0, 0, 0, 0] = np.nan
    with ready(address, image) as client:
        client.add_point_interaction(INSIDE, True)
        np.testing.assert_array_equal(client.target_buffer, box_mask())


def test_two_clients_at_once_do_not_see_each_other(address: str) -> None:
    def segment(point: list[int]) -> int:
        with ready(address, two_boxes()) as client:
            for _ in range(3):
                client.add_point_interaction(point, True)
                client.undo()
            client.add_point_interaction(point, True)
            return int(client.target_buffer.sum())

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(segment, [INSIDE, [6, 2, 2]])) == [512, 64]


# Leases


def test_no_key_a_wrong_key_and_the_right_one(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet()) as (url, app):
        key = app.state.room.keys.add("ann")
        for wrong in (None, "wrong"):
            with pytest.raises(httpx.HTTPStatusError, match="401"):
                Client(url, api_key=wrong)
        with Client(url, api_key=key) as client:
            assert client.lease_status()["remaining_seconds"] > 0


def test_a_full_server_says_so_and_a_released_place_is_free(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(), NniSettings(max_sessions=1)) as (url, _):
        first = Client(url)
        with pytest.raises(ServerAtCapacityError, match="1 clients"):
            Client(url)
        assert httpx.post(f"{url}/claim").headers["retry-after"] == "10"
        first.close()
        Client(url).close()


def test_a_silent_client_makes_room_and_an_idle_one_expires(tmp_path: Path) -> None:
    now = [1000.0]
    settings = NniSettings(max_sessions=1, idle_seconds=600, liveness_seconds=60)
    with serving(tmp_path, FakeLimNet(), settings, clock=lambda: now[0]) as (url, _):
        silent = ready(url)
        now[0] += 300
        assert silent.heartbeat() == 300.0  # a sign of life, no action
        now[0] += 61
        second = Client(url)
        with pytest.raises(SessionExpiredError, match="nothing is lost"):
            silent.undo()
        now[0] += 601
        with pytest.raises(SessionExpiredError):
            second.lease_status()


def test_after_expiry_the_same_image_and_mask_go_on_with_all_undo(tmp_path: Path) -> None:
    now = [1000.0]
    settings = NniSettings(idle_seconds=600)
    with serving(tmp_path, FakeLimNet(), settings, clock=lambda: now[0]) as (url, _):
        client = ready(url)
        client.add_point_interaction(INSIDE, True)
        client.add_point_interaction([6, 15, 15], False)
        kept = client.target_buffer.copy()
        now[0] += 601
        with pytest.raises(SessionExpiredError):
            client.undo()
        again = ready(url)
        again.add_initial_seg_interaction(kept)
        assert again.undo()
        np.testing.assert_array_equal(again.target_buffer, box_mask())


def test_an_image_is_resumed_without_its_mask_when_asked(client: Client, address: str) -> None:
    client.add_point_interaction(INSIDE, True)
    again = Client(address)
    again.set_image(IMAGE, {**SPACING, "limnet_resume": True})
    again.set_target_buffer(np.zeros(IMAGE.shape[1:], np.uint8))
    assert again._predict() == [[4, 12], [8, 16], [8, 16]]
    again.close()


def test_a_restart_of_the_server_ends_no_session(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, FakeLimNet(), port=port) as (url, _):
        client = ready(url)
        client.add_point_interaction(INSIDE, True)
        client.add_point_interaction([6, 15, 15], False)
    with serving(tmp_path, FakeLimNet(), port=port):
        client._http.get("/healthz")
        assert client.undo()
        np.testing.assert_array_equal(client.target_buffer, box_mask())
        client.close()


def test_an_image_deleted_in_the_annotator_ends_the_session(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet()) as (url, app):
        client = ready(url)
        (slot,) = app.state.room.workspace.list("local")
        app.state.room.workspace.delete("local", slot.record.id)
        with pytest.raises(SessionExpiredError, match="deleted"):
            client.add_point_interaction(INSIDE, True)


def test_an_image_closed_in_the_annotator_opens_again(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet()) as (url, app):
        client = ready(url)
        (slot,) = app.state.room.workspace.list("local")
        app.state.room.workspace.close("local", slot.record.id)
        assert client.add_point_interaction(INSIDE, True) is not None


# The minute that clients wait


class Gate:
    """Lets three slices of a sweep through, and the rest once it is opened."""

    def __init__(self, workspace: Workspace) -> None:
        self._turn = workspace.turn
        self._num_slices = 0
        self.opened = threading.Event()
        workspace.turn = self.turn  # type: ignore[method-assign]

    def turn(self, user: str, *, preview: bool = False) -> AbstractContextManager[None]:
        self._num_slices += not preview
        if self._num_slices > 3:
            assert self.opened.wait(20)
        return self._turn(user, preview=preview)


def test_a_sweep_that_takes_too_long_is_answered_in_part_and_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(), NniSettings(reply_seconds=0.5)) as (url, app):
        room = app.state.room
        gate, client = Gate(room.workspace), ready(url)
        client.add_point_interaction(INSIDE, True)
        assert client.target_buffer.any((1, 2)).sum() in (1, 2, 3)  # of 8; a slow machine is not there yet
        gate.opened.set()
        assert room.sweeps.last("local", room.workspace.list("local")[0].record.id, 1).wait(20)
        assert client._predict() is not None
        np.testing.assert_array_equal(client.target_buffer, box_mask())


def test_a_prompt_while_a_sweep_runs_waits_for_it_and_is_carried_then(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(), NniSettings(reply_seconds=0.5)) as (url, app):
        gate, client = Gate(app.state.room.workspace), ready(url)
        client.add_point_interaction(INSIDE, True)
        client.add_point_interaction([6, 15, 15], False)  # answered in part once more
        gate.opened.set()
        for _ in range(40):  # of half a second at most
            client._predict()
            if not client.target_buffer[6, 15, 15]:
                break
        assert client.target_buffer.sum() == box_mask().sum() - 1
        assert [item["num_rounds"] for item in objects(url)] == [2]


def test_undo_of_a_sweep_that_still_runs_cancels_it(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(), NniSettings(reply_seconds=0.5)) as (url, app):
        gate, client = Gate(app.state.room.workspace), ready(url)
        client.add_point_interaction(INSIDE, True)
        threading.Timer(0.2, gate.opened.set).start()
        assert client.undo()
        assert not client.target_buffer.any()
        assert not client.undo()
