"""MONAI Label's protocol by its real client and by one of ours: images, points, labels, keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dicom_files import write_series
from doubles import FakeLimNet
from limnet.server.keys import Keyring
from monai_client import RefusedError, SmallClient, real_client
from nni_server import emptied, free_port, serving, serving_viewers
from snap_client import Snap, image_of

POINT = [25, 4, 7]  # i, j, k
CORNER = [30, 8, 7]  # the box's last voxel on that slice
SHAPE = (14, 20, 40)  # k, j, i
BOX = (slice(4, 11), slice(2, 9), slice(20, 31))
NUM_BOX = 7 * 7 * 11
OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix() @ np.diag([1, -1, 1])
PLACE: dict[str, Any] = {
    "spacing": (0.7, 0.9, 2.5),
    "origin": (-31.5, 12.25, 100.0),
    "direction": tuple(OBLIQUE.ravel()),
}

pytestmark = [  # the real client leaves files open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Connect = Callable[[str], Any]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(params=["small", pytest.param("real", marks=pytest.mark.slow)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """A client of an address."""
    folder = tmp_path / "client"
    folder.mkdir()
    made: list[SmallClient] = []
    if request.param == "small":

        def small(address: str) -> SmallClient:
            made.append(SmallClient(address, str(folder)))
            return made[-1]

        yield small
        for client in made:
            client.http.close()
        return
    module = real_client()
    if isinstance(module, str):
        pytest.skip(module)
    yield lambda address: module.MONAILabelClient(address, str(folder), "test")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """For all tests that need not end it."""
    with serving_viewers(tmp_path_factory) as url:
        yield url


@pytest.fixture
def address(server: str) -> str:
    return emptied(server)


@pytest.fixture
def client(connect: Connect, address: str) -> Any:
    return connect(address)


def scan() -> NDArray[np.int16]:
    """A bright box in the dark, and a smaller one, (k, j, i)."""
    array = np.zeros(SHAPE, np.int16)
    array[BOX] = 100
    array[2:5, 12:18, 3:8] = 90
    return array


def box_mask() -> NDArray[np.uint8]:
    mask = np.zeros(SHAPE, np.uint8)
    mask[BOX] = 1
    return mask


def written(folder: Path, ending: str = ".nii.gz", array: NDArray[Any] | None = None) -> str:
    """An oblique scan as a file, as 3D Slicer saves one."""
    path = folder / f"tmp1a2b{ending}"
    SimpleITK.WriteImage(image_of(scan() if array is None else array, **PLACE), path)
    return str(path)


def mask_in(path: str) -> NDArray[np.generic]:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))


def points(*foreground: list[int], background: tuple[list[int], ...] = (), label: str = "liver") -> Any:
    return {"label": label, "foreground": list(foreground), "background": list(background)}


def asked(client: Any, image: str, params: Any, **more: Any) -> NDArray[np.generic]:
    """The mask of a request."""
    path, _ = client.infer("limnet", image, params, **more)
    return mask_in(path)


def volumes(address: str) -> list[dict[str, Any]]:
    """What the annotator lists, each with its objects."""
    found = httpx.get(f"{address}/api/v1/volumes").json()
    return [httpx.get(f"{address}/api/v1/volumes/{volume['id']}").json() for volume in found]


def objects(address: str) -> list[tuple[str, int, int]]:
    """(name, rounds, voxels) of the objects of the only image."""
    (volume,) = volumes(address)
    return [(item["name"], item["num_rounds"], item["voxels"]) for item in volume["objects"]]


# Place


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [(".nii.gz", ".nrrd"), (".nrrd", ".nii.gz"), (".mha", ".nii"), (".nii.gz", ".mha"), (".nrrd", ".nrrd")],
)
def test_a_result_lies_where_the_image_does(client: Any, tmp_path: Path, sent: str, wanted: str) -> None:
    path = written(tmp_path, sent)
    client.upload_image(path, "CTLiver")
    result, params = client.infer("limnet", "CTLiver", points(POINT) | {"result_extension": wanted})
    assert result.endswith(wanted)
    assert params["label_names"] == {"liver": 1}
    image, mask = SimpleITK.ReadImage(path), SimpleITK.ReadImage(result)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask), box_mask())
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-6)


def test_an_image_of_the_annotator_comes_with_its_place(client: Any, address: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    opened = httpx.post(f"{address}/api/v1/volumes/open", json={"path": path}).json()
    sample = client.next_sample("latest", {})
    assert sample["id"] == opened["id"]
    (tmp_path / "got.nii").write_bytes(
        httpx.get(f"{address}/datastore/image", params={"image": sample["id"]}).content
    )
    got, image = SimpleITK.ReadImage(tmp_path / "got.nii"), SimpleITK.ReadImage(path)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(got), scan())
    np.testing.assert_allclose(got.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(got.GetOrigin(), image.GetOrigin(), atol=1e-4)


# Points


def test_each_request_holds_all_points_and_only_new_ones_make_a_round(
    client: Any, address: str, tmp_path: Path
) -> None:
    client.upload_image(written(tmp_path), "scan")
    first = asked(client, "scan", points(POINT))
    assert objects(address) == [("liver", 1, NUM_BOX)]
    np.testing.assert_array_equal(asked(client, "scan", points(POINT)), first)
    assert objects(address) == [("liver", 1, NUM_BOX)]
    second = asked(client, "scan", points(POINT, background=(CORNER,)))
    assert second[7, 8, 30] == 0
    assert objects(address) == [("liver", 2, NUM_BOX - 1)]


def test_a_point_taken_away_takes_its_round_back(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    first = asked(client, "scan", points(POINT))
    asked(client, "scan", points(POINT, background=(CORNER,)))
    np.testing.assert_array_equal(asked(client, "scan", points(POINT)), first)
    assert objects(address) == [("liver", 1, NUM_BOX)]
    assert not asked(client, "scan", points()).any()
    assert objects(address) == [("liver", 0, 0)]


def test_taking_the_first_of_two_points_away_leaves_the_second(
    client: Any, address: str, tmp_path: Path
) -> None:
    client.upload_image(written(tmp_path), "scan")
    other = [5, 14, 3]
    alone = asked(client, "scan", points(other, label="alone"))
    asked(client, "scan", points(POINT))
    both = asked(client, "scan", points(POINT, other))
    assert both[tuple(POINT[::-1])] == both[tuple(other[::-1])] == 1
    np.testing.assert_array_equal(asked(client, "scan", points(other)), alone)
    assert [rounds for _, rounds, _ in objects(address)] == [1, 1]


def test_a_point_outside_waits_for_one_inside(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    assert not asked(client, "scan", points(background=(CORNER,))).any()
    mask = asked(client, "scan", points(POINT, background=(CORNER,)))
    assert mask[7, 8, 30] == 0
    assert mask[7, 4, 25] == 1
    assert asked(client, "scan", points(POINT))[7, 8, 30] == 1


def test_every_label_is_an_object(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT, label="liver"))
    cyst = int(asked(client, "scan", points([5, 14, 3], label="cyst")).sum())
    asked(client, "scan", points(POINT, background=(CORNER,), label="liver"))
    assert objects(address) == [("liver", 2, NUM_BOX - 1), ("cyst", 1, cyst)]


def test_a_restart_neither_forgets_nor_repeats_points(connect: Connect, tmp_path: Path) -> None:
    port, work = free_port(), tmp_path / "work"
    with serving(work, FakeLimNet(size=64), port=port) as (url, _):
        client = connect(url)
        client.upload_image(written(tmp_path), "scan")
        asked(client, "scan", points(POINT))
    with serving(work, FakeLimNet(size=64), port=port) as (url, _):
        client = connect(url)
        assert asked(client, "scan", points(POINT, background=(CORNER,))).sum() == NUM_BOX - 1
        assert objects(url) == [("liver", 2, NUM_BOX - 1)]


def test_work_of_the_annotator_is_never_taken_back(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT, background=(CORNER,)))
    (volume,) = volumes(address)
    item = f"{address}/api/v1/volumes/{volume['id']}/objects/1"
    clicked = httpx.post(f"{item}/clicks", json={"index": [20, 2, 7], "positive": False})
    assert clicked.status_code == 201
    path, params = client.infer("limnet", "scan", points(POINT))
    assert "others have worked" in params["notes"][0]
    mask = mask_in(path)
    assert mask[7, 2, 20] == mask[7, 8, 30] == 0


# Images


def test_the_same_image_under_any_name_is_one_annotation(client: Any, address: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    session = client.create_session(path)["session_id"]
    assert asked(client, "tmp", points(POINT), session_id=session).sum() == NUM_BOX
    client.upload_image(written(tmp_path, ".nrrd"), "CTLiver")  # as the module does before it saves
    assert asked(client, "CTLiver", points(POINT, background=(CORNER,))).sum() == NUM_BOX - 1
    assert objects(address) == [("liver", 2, NUM_BOX - 1)]
    assert client.get_session(session)["name"] == session
    client.remove_session(session)
    assert objects(address) == [("liver", 2, NUM_BOX - 1)]


def test_a_file_that_is_open_in_the_annotator_is_the_same_image(
    client: Any, address: str, tmp_path: Path
) -> None:
    path = written(tmp_path)
    opened = httpx.post(f"{address}/api/v1/volumes/open", json={"path": path}).json()
    assert client.create_session(path)["session_id"] == opened["id"]


def test_what_other_viewers_began_comes_as_labels_and_goes_on(
    client: Any, address: str, tmp_path: Path
) -> None:
    with Snap(address) as snap:
        snap.upload(SimpleITK.ReadImage(written(tmp_path)))
        snap.point(*POINT)
    nni = nnInteractiveRemoteInferenceSession(address)
    nni.set_image(scan()[None], {"spacing": [2.5, 0.9, 0.7]})
    nni.set_target_buffer(np.zeros(SHAPE, np.uint8))
    nni.add_point_interaction([3, 14, 5], True)
    nni.close()
    client.upload_image(written(tmp_path), "scan")
    path, params = client.infer("limnet-objects", "scan", {"result_extension": ".nrrd"})
    assert params["label_names"] == {"Object 1": 1, "Object 2": 2}
    found = mask_in(path)
    np.testing.assert_array_equal(found == 1, box_mask() > 0)
    assert found[3, 14, 5] == 2
    asked(client, "scan", points(background=(CORNER,), label="Object 1"))
    assert objects(address) == [
        ("Object 1", 2, NUM_BOX - 1),
        ("Object 2", 1, int((found == 2).sum())),
    ]


def test_the_next_sample_is_one_without_a_finished_label(client: Any, address: str, tmp_path: Path) -> None:
    assert client.next_sample("first", {}) == {}
    client.upload_image(written(tmp_path), "one")
    client.upload_image(written(tmp_path, array=scan() + 1), "two")
    first, second = (volume["id"] for volume in reversed(volumes(address)))
    assert client.next_sample("first", {})["id"] == first
    client.save_label("one", written(tmp_path, array=box_mask()), params={"label_info": [{"name": "a"}]})
    assert client.next_sample("first", {})["id"] == second
    assert client.info()["datastore"] == {"total": 2, "completed": 1, "label_tags": {"final": 1}}


def test_the_list_of_images_names_the_labels_of_the_sample_at_hand(
    client: Any, address: str, tmp_path: Path
) -> None:
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT))
    image = client.next_sample("latest", {})["id"]
    labels = client.datastore()["objects"][image]["labels"]
    assert labels["original"]["info"]["params"]["label_names"] == {"liver": 1}
    np.testing.assert_array_equal(mask_in(client.download_label(image, "original")), box_mask())


# Labels that are handed in


def test_a_label_edited_in_the_viewer_becomes_a_round(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT))
    labels = box_mask()
    labels[2, 0, 0] = 1
    labels[12, 15:18, 30:33] = 2
    info = [{"name": "liver", "idx": 1}, {"name": "stone", "idx": 2}]
    saved = client.save_label("scan", written(tmp_path, array=labels), params={"label_info": info})
    assert saved["image"] == "scan"
    assert objects(address) == [("liver", 2, NUM_BOX + 1), ("stone", 1, 9)]
    client.save_label("scan", written(tmp_path, array=labels), params={"label_info": info})
    assert objects(address) == [("liver", 2, NUM_BOX + 1), ("stone", 1, 9)]


def test_numbers_of_exported_segments_count_without_those_left_out(
    client: Any, address: str, tmp_path: Path
) -> None:
    client.upload_image(written(tmp_path), "scan")
    labels = box_mask()
    labels[12, 15:18, 30:33] = 2
    info = [{"name": "liver", "idx": 2}, {"name": "stone", "idx": 3}]  # "background" was the first segment
    client.save_label("scan", written(tmp_path, array=labels), params={"label_info": info})
    assert objects(address) == [("liver", 1, NUM_BOX), ("stone", 1, 9)]


def test_a_label_of_a_locked_object_changes_nothing(client: Any, address: str, tmp_path: Path) -> None:
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT))
    (volume,) = volumes(address)
    httpx.patch(f"{address}/api/v1/volumes/{volume['id']}/objects/1", json={"locked": True})
    labels = np.roll(box_mask(), 1, 0)
    labels[12, 15:18, 30:33] = 2
    info = [{"name": "liver", "idx": 1}, {"name": "stone", "idx": 2}]
    with pytest.raises(Exception) as failed:
        client.save_label("scan", written(tmp_path, array=labels), params={"label_info": info})
    assert "locked" in getattr(failed.value, "msg", str(failed.value))
    assert objects(address) == [("liver", 1, NUM_BOX)]


# Who, and what else there is


def test_with_keys_a_key_is_the_password(connect: Connect, tmp_path: Path) -> None:
    key = Keyring(tmp_path / "work").add("anna")
    with serving(tmp_path / "work", FakeLimNet(size=64)) as (url, _):
        client = connect(url)
        assert client.auth_enabled()
        with pytest.raises(Exception) as failed:
            client.info()
        assert "401" in getattr(failed.value, "msg", str(failed.value))
        with pytest.raises(Exception) as failed:
            client.auth_token("anna", "wrong")
        assert "401" in getattr(failed.value, "msg", str(failed.value))
        client.update_auth(client.auth_token("anna", key))
        assert client.auth_valid_token()
        client.upload_image(written(tmp_path), "scan")
        assert asked(client, "scan", points(POINT)).sum() == NUM_BOX


def test_without_keys_none_is_asked_for(client: Any) -> None:
    assert not client.auth_enabled()


def test_models_are_what_the_module_for_slicer_looks_for(client: Any) -> None:
    info = client.info()
    assert {name: model["type"] for name, model in info["models"].items()} == {
        "limnet": "deepgrow",
        "limnet-objects": "segmentation",
    }
    assert info["models"]["limnet"]["dimension"] == 3
    assert not info["config"]  # else the module takes the server for an old one
    assert info["labels"] == ["object"]
    assert not any(model["labels"] for model in info["models"].values())  # else it segments by itself


def test_nothing_is_trained_and_nobody_is_told_otherwise(client: Any, address: str) -> None:
    assert client.train_status(True) is False
    with pytest.raises(Exception) as failed:
        client.train_start("limnet", {})
    assert "501" in getattr(failed.value, "msg", str(failed.value))
    assert client.info()["trainers"] == {}
    assert httpx.get(f"{address}/logs/").status_code == 200


@pytest.mark.parametrize("output", ["json", "image", "all", ""])
def test_output_says_what_comes_back(address: str, tmp_path: Path, output: str) -> None:
    small = SmallClient(address, str(tmp_path))
    small.upload_image(written(tmp_path), "scan")
    parts = {"params": (None, '{"label": "a", "foreground": [[25, 4, 7]], "result_extension": ".nrrd"}')}
    answer = small.http.post("/infer/limnet", params={"image": "scan", "output": output}, files=parts)
    small.http.close()
    kind = answer.headers["content-type"].partition(";")[0]
    expected = {"json": "application/json", "image": "application/octet-stream"}
    assert kind == expected.get(output, "multipart/form-data")
    assert (b"NRRD" in answer.content) == (output != "json")


def test_an_image_that_is_unloaded_after_every_request_changes_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "work", FakeLimNet(size=64), idle_minutes=1e-6) as (url, _):
        client = SmallClient(url, str(tmp_path))
        client.upload_image(written(tmp_path), "scan")
        first = asked(client, "scan", points(POINT))
        assert asked(client, "scan", points(POINT, background=(CORNER,))).sum() == NUM_BOX - 1
        np.testing.assert_array_equal(asked(client, "scan", points(POINT)), first)
        assert objects(url) == [("liver", 1, NUM_BOX)]
        client.http.close()


def test_a_locked_object_takes_no_points(address: str, tmp_path: Path) -> None:
    client = SmallClient(address, str(tmp_path))
    client.upload_image(written(tmp_path), "scan")
    asked(client, "scan", points(POINT))
    (volume,) = volumes(address)
    item = f"{address}/api/v1/volumes/{volume['id']}/objects/1"
    httpx.patch(item, json={"locked": True})
    with pytest.raises(RefusedError, match="locked"):
        asked(client, "scan", points(POINT, background=(CORNER,)))
    httpx.patch(item, json={"locked": False})
    assert asked(client, "scan", points(POINT, background=(CORNER,))).sum() == NUM_BOX - 1
    assert objects(address) == [("liver", 2, NUM_BOX - 1)]
    client.http.close()


def test_a_dicom_series_is_a_session_and_results_lie_where_it_does(address: str, tmp_path: Path) -> None:
    affine = np.array([[-0.8, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 2.5, -40], [0, 0, 0, 1.0]])
    paths = write_series(tmp_path / "series", scan().transpose(2, 1, 0), affine)
    client = SmallClient(address, str(tmp_path))
    files = [("files", (path.name, path.read_bytes())) for path in paths]
    session = client._json("PUT", "/session/", files=files)["session_id"]
    result, _ = client.infer("limnet", "CT", points(POINT), session_id=session)
    client.http.close()
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    image, mask = reader.Execute(), SimpleITK.ReadImage(result)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image) == 100, mask_in(result) == 1)
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), rtol=1e-5)


def test_many_labels_and_viewers_at_once_do_not_mix(address: str, tmp_path: Path) -> None:
    client = SmallClient(address, str(tmp_path))
    path = written(tmp_path)
    client.upload_image(path, "scan")

    def by_label(label: str) -> int:
        first = asked(client, "scan", points(POINT, label=label)).sum()
        second = asked(client, "scan", points(POINT, background=(CORNER,), label=label)).sum()
        return int(first - second)

    def by_snap(_: str) -> int:
        with Snap(address) as snap:
            snap.upload(SimpleITK.ReadImage(path))
            return int(snap.point(*POINT).sum() - snap.point(*CORNER, positive=False).sum())

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(act, name) for name in "abcd" for act in (by_label, by_snap)]
        assert [future.result() for future in found] == [1] * 8
    client.http.close()
    rounds = sorted(objects(address))
    assert len(rounds) == 8
    assert {count for _, count, _ in rounds} == {2}


def test_the_same_request_twice_at_once_gives_its_points_once(address: str, tmp_path: Path) -> None:
    client = SmallClient(address, str(tmp_path))
    client.upload_image(written(tmp_path), "scan")
    with ThreadPoolExecutor(4) as pool:
        masks = list(pool.map(lambda _: asked(client, "scan", points(POINT)), range(4)))
    client.http.close()
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    assert objects(address) == [("liver", 1, NUM_BOX)]


def test_the_same_new_image_from_several_at_once_is_kept_once(address: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    client = SmallClient(address, str(tmp_path))

    def by_snap(_: int) -> None:
        with Snap(address) as snap:
            snap.upload(SimpleITK.ReadImage(path))

    with ThreadPoolExecutor(6) as pool:
        uploads = [pool.submit(client.upload_image, path, f"scan {n}") for n in range(3)]
        uploads += [pool.submit(by_snap, n) for n in range(3)]
        for upload in uploads:
            upload.result()
    client.http.close()
    assert len(volumes(address)) == 1
