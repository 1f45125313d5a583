"""When an image that comes is one that is here already, and when it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import FakeLimNet
from limnet.server.app import create_app
from limnet.server.room import Room
from limnet.server.same_image import reopen_same
from limnet.server.settings import ServerSettings
from limnet.volume import Volume

USER = "local"
AFFINE = np.array([[0.0, -0.7, 0, 10], [0.9, 0, 0, -20], [0, 0, 2.5, 5], [0, 0, 0, 1]])


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    settings = ServerSettings(work_dir=tmp_path / "work", allowed=(tmp_path.resolve(),))
    room: Room = create_app(settings, FakeLimNet()).state.room
    yield room
    room.close()


def voxels(dtype: str = "int16") -> NDArray[np.generic]:
    return np.arange(-60, 60).reshape(4, 5, 6).astype(dtype)


def in_file(folder: Path, array: NDArray[np.generic]) -> Path:
    path = folder / "scan.nii"
    nibabel.save(nibabel.Nifti1Image(array, AFFINE), path)
    return path


def test_the_same_voxels_in_the_same_place_are_the_same(room: Room, tmp_path: Path) -> None:
    opened = room.workspace.open_file(USER, in_file(tmp_path, voxels()))
    assert reopen_same(room, USER, Volume(voxels(), AFFINE), "place") == opened


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_another_type_of_equal_voxels_is_the_same(room: Room, tmp_path: Path, dtype: str) -> None:
    opened = room.workspace.open_file(USER, in_file(tmp_path, voxels()))
    assert reopen_same(room, USER, Volume(voxels(dtype), AFFINE), "place") == opened


@pytest.mark.parametrize("change", [0.5, 1e6])
def test_voxels_that_the_other_type_cannot_hold_are_others(room: Room, tmp_path: Path, change: float) -> None:
    room.workspace.open_file(USER, in_file(tmp_path, voxels()))
    array = voxels("float64")
    array[1, 2, 3] += change
    assert reopen_same(room, USER, Volume(array, AFFINE), "place") is None


def test_less_said_of_the_grid_contradicts_less(room: Room, tmp_path: Path) -> None:
    opened = room.workspace.open_file(USER, in_file(tmp_path, voxels()))
    spaced = Volume(voxels(), np.diag([-0.9, -0.7, 2.5, 1]))
    bare = Volume(voxels(), np.eye(4))
    assert reopen_same(room, USER, spaced, "place") is None
    assert reopen_same(room, USER, spaced, "spacing") == opened
    assert reopen_same(room, USER, bare, "spacing") is None
    assert reopen_same(room, USER, bare, "nothing") == opened


def test_another_order_of_axes_is_another_image(room: Room, tmp_path: Path) -> None:
    room.workspace.open_file(USER, in_file(tmp_path, voxels()))
    for turned in (voxels()[::-1], voxels().transpose(2, 1, 0)):
        assert reopen_same(room, USER, Volume(turned, np.eye(4)), "nothing") is None


def test_colours_are_not_grey(room: Room) -> None:
    grey = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    room.workspace.open_volume(USER, Volume(grey, np.eye(4)), "grey")
    assert reopen_same(room, USER, Volume(np.stack([grey] * 3, -1), np.eye(4)), "nothing") is None


def test_another_users_image_is_nobodys(room: Room) -> None:
    room.workspace.open_volume("anna", Volume(voxels(), np.eye(4)), "scan")
    assert reopen_same(room, "bert", Volume(voxels(), np.eye(4)), "nothing") is None


def test_a_closed_one_is_opened_again(room: Room) -> None:
    opened = room.workspace.open_volume(USER, Volume(voxels(), np.eye(4)), "scan")
    room.workspace.close(USER, opened)
    assert reopen_same(room, USER, Volume(voxels(), np.eye(4)), "nothing") == opened
    assert not room.workspace.find(USER, opened).record.is_closed


def test_one_whose_file_has_changed_is_passed_over(room: Room, tmp_path: Path) -> None:
    path = in_file(tmp_path, voxels())
    opened = room.workspace.open_file(USER, path)
    room.workspace.close(USER, opened)
    in_file(tmp_path, voxels() + 1)
    assert reopen_same(room, USER, Volume(voxels(), AFFINE), "place") is None
    assert room.workspace.find(USER, opened).record.is_closed
    path.unlink()
    assert reopen_same(room, USER, Volume(voxels(), AFFINE), "place") is None
