"""The workspace: what is in memory, what comes back from disk, and what a restart changes (nothing)."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from annotator import API, click, listening, open_ball, settings_in, sweep
from conftest import CENTRE, Ball
from doubles import FakeLimNet
from limnet.errors import JournalError, ServerError
from limnet.server.refusals import Conflict, NotFound
from limnet.server.work_folder import lock_folder
from limnet.server.workspace import Workspace
from limnet.volume import Volume, read_volume

USER = "local"


@pytest.fixture
def model() -> FakeLimNet:
    return FakeLimNet(size=64)


def workspace_in(folder: Path, model: FakeLimNet, **more: Any) -> Workspace:
    settings = settings_in(folder, **more)
    settings.work_dir.mkdir(exist_ok=True)
    return Workspace(settings, model)


def segment(workspace: Workspace, id: str) -> np.ndarray[Any, Any]:
    """Add an object, one round; its mask."""
    with workspace.work(USER, id) as annotation:
        session = annotation.add().session
        session.click(CENTRE)
        session.propagate()
        return session.mask


def mask_of(workspace: Workspace, id: str) -> np.ndarray[Any, Any]:
    with workspace.use(USER, id) as annotation:
        return annotation.objects[0].session.mask


def is_loaded(workspace: Workspace, id: str) -> bool:
    return workspace.find(USER, id).annotation is not None


def other_ball(ball: Ball, name: str) -> Path:
    """The same volume in another file."""
    path = ball.volume.with_name(name)
    path.write_bytes(ball.volume.read_bytes())
    return path


def test_beyond_the_memory_limit_the_least_recently_used_is_unloaded(ball: Ball, model: FakeLimNet) -> None:
    size = 40 * 32 * 12 * 2  # bytes of a volume
    workspace = workspace_in(ball.volume.parent, model)
    ids = [workspace.open_file(USER, other_ball(ball, f"{n}.nii.gz")) for n in range(3)]
    with workspace.use(USER, ids[0]):
        pass
    object.__setattr__(workspace.settings, "memory_mib", 2.5 * size / 2**20)
    workspace.shrink()
    assert [is_loaded(workspace, id) for id in ids] == [True, False, True]


def test_what_is_in_use_is_never_unloaded(ball: Ball, model: FakeLimNet) -> None:
    workspace = workspace_in(ball.volume.parent, model, idle_minutes=1e-9)
    id = workspace.open_file(USER, ball.volume)
    with workspace.hold(USER, id):
        workspace.shrink()
        assert is_loaded(workspace, id)
    assert not is_loaded(workspace, id)


def test_an_unloaded_annotation_comes_back_bit_for_bit(ball: Ball, model: FakeLimNet) -> None:
    workspace = workspace_in(ball.volume.parent, model, idle_minutes=1e-9)
    id = workspace.open_file(USER, ball.volume)
    mask = segment(workspace, id)
    assert not is_loaded(workspace, id)
    assert np.array_equal(mask_of(workspace, id), mask)


def test_a_restart_changes_nothing(ball: Ball, model: FakeLimNet) -> None:
    folder = ball.volume.parent
    with listening(folder) as client:
        item = open_ball(client, ball.volume)
        click(client, item)
        sweep(client, item)
        click(client, item, [20, 16, 7])
        before = client.get(item.rsplit("/", 2)[0]).json(), client.get(f"{item}/mask").content
        first_id = client.get(f"{API}/about").json()["server_id"]
    with listening(folder) as client:
        assert client.get(f"{API}/about").json()["server_id"] != first_id
        assert (client.get(item.rsplit("/", 2)[0]).json(), client.get(f"{item}/mask").content) == before


def test_an_array_is_kept_with_its_exact_place(tmp_path: Path, model: FakeLimNet) -> None:
    affine = np.diag([0.7, 0.7, 2.3, 1.0])  # in no float32
    array = np.random.default_rng(0).normal(size=(8, 9, 5))
    workspace = workspace_in(tmp_path, model)
    id = workspace.open_volume(USER, Volume(array, affine), "from a viewer")
    workspace.close_all()
    with workspace_in(tmp_path, model).use(USER, id) as annotation:
        assert np.array_equal(annotation.volume.array, array)
        assert np.array_equal(annotation.volume.affine, affine)


def test_a_file_that_changed_is_not_taken_for_the_annotated_one(ball: Ball, model: FakeLimNet) -> None:
    folder = ball.volume.parent
    workspace = workspace_in(folder, model)
    id = workspace.open_file(USER, ball.volume)
    segment(workspace, id)
    workspace.close_all()
    array = read_volume(ball.volume).array.copy()
    array[0, 0, 0] += 1
    nibabel.save(nibabel.Nifti1Image(array, ball.affine), ball.volume)
    with pytest.raises(JournalError, match="other voxels"), workspace_in(folder, model).use(USER, id):
        pass
    assert workspace_in(folder, model).open_file(USER, ball.volume) != id


def test_a_file_that_comes_back_brings_its_work_back(ball: Ball, model: FakeLimNet) -> None:
    folder = ball.volume.parent
    workspace = workspace_in(folder, model)
    id = workspace.open_file(USER, ball.volume)
    mask = segment(workspace, id)
    workspace.close_all()
    os.utime(ball.volume, (1, 1))  # touched, not changed
    again = workspace_in(folder, model)
    assert again.open_file(USER, ball.volume) == id
    assert np.array_equal(mask_of(again, id), mask)


def test_opening_a_file_twice_at_once_opens_it_once(ball: Ball, model: FakeLimNet) -> None:
    workspace, ids = workspace_in(ball.volume.parent, model), list[str]()
    threads = [
        threading.Thread(target=lambda: ids.append(workspace.open_file(USER, ball.volume))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_a_closed_annotation_wants_to_be_opened(ball: Ball, model: FakeLimNet) -> None:
    workspace = workspace_in(ball.volume.parent, model)
    id = workspace.open_file(USER, ball.volume)
    workspace.close(USER, id)
    assert not is_loaded(workspace, id)
    with pytest.raises(Conflict, match="closed"), workspace.use(USER, id):
        pass
    assert workspace.open_file(USER, ball.volume) == id
    assert is_loaded(workspace, id)


def test_a_deleted_annotation_is_gone_for_whoever_waits_for_it(ball: Ball, model: FakeLimNet) -> None:
    workspace = workspace_in(ball.volume.parent, model)
    id = workspace.open_file(USER, ball.volume)
    slot = workspace.find(USER, id)
    workspace.delete(USER, id)
    with pytest.raises(NotFound):
        workspace.find(USER, id)
    with pytest.raises(NotFound), slot.lock:
        workspace._load(slot)


def test_a_user_keeps_so_many_volumes_and_no_more(ball: Ball, model: FakeLimNet) -> None:
    workspace = workspace_in(ball.volume.parent, model, max_volumes=1)
    workspace.open_file(USER, ball.volume)
    with pytest.raises(Conflict, match="the most allowed"):
        workspace.open_file(USER, other_ball(ball, "second.nii.gz"))


def test_what_was_never_finished_is_removed_at_the_start(tmp_path: Path, model: FakeLimNet) -> None:
    rest = tmp_path / "work" / "users" / USER / ".half-an-upload"
    rest.mkdir(parents=True)
    workspace_in(tmp_path, model)
    assert not rest.exists()


def test_a_damaged_record_is_told_and_the_others_are_there(ball: Ball, model: FakeLimNet) -> None:
    folder = ball.volume.parent
    workspace = workspace_in(folder, model)
    ids = [workspace.open_file(USER, path) for path in (ball.volume, other_ball(ball, "second.nii.gz"))]
    workspace.close_all()
    (folder / "work" / "users" / USER / ids[0] / "record.json").write_text("{")
    again = workspace_in(folder, model)
    assert [slot.record.id for slot in again.list(USER)] == ids[1:]
    (line,) = again.damaged
    assert "record.json: cannot be read" in line


def test_two_servers_never_share_a_work_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path), pytest.raises(ServerError, match="in use by another limnet serve"):
        lock_folder(tmp_path)
    lock_folder(tmp_path).close()
