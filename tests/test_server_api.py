"""The API: volumes, objects, prompts, rounds, what comes out; and what errors look like."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from PIL import Image

import limnet
from annotator import API, INSIDE, click, listening, open_ball, sweep
from conftest import CENTRE, Ball
from doubles import FakeLimNet
from limnet.server.slices import mask_of


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One server for all tests of this file, each of which opens a volume of its own."""
    base = tmp_path_factory.getbasetemp()
    with listening(tmp_path_factory.mktemp("server"), allowed=(base.resolve(),)) as client:
        yield client


@pytest.fixture
def item(client: httpx.Client, ball: Ball) -> str:
    """An empty object of the ball's volume."""
    return open_ball(client, ball.volume)


@pytest.fixture
def session(ball: Ball) -> limnet.Session:
    """The same without a server."""
    return limnet.Session(limnet.read_volume(ball.volume), FakeLimNet(size=64))


def mask_from(client: httpx.Client, item: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The mask as a client puts it together."""
    answer = client.get(f"{item}/mask")
    i0, i1, j0, j1, k0, k1 = map(int, answer.headers["x-mask-box"].split(","))
    mask = np.zeros(shape, np.uint8)
    mask[i0:i1, j0:j1, k0:k1] = np.frombuffer(answer.content, np.uint8).reshape(i1 - i0, j1 - j0, k1 - k0)
    return mask


def test_about_tells_version_user_and_limits(client: httpx.Client) -> None:
    about = client.get(f"{API}/about").json()
    assert (about["version"], about["licence"], about["user"]) == (limnet.__version__, "Apache-2.0", "local")
    assert about["weights"] == "0.0.0-fake"
    assert about["limits"]["max_upload_mib"] == 2048


def test_a_volume_is_told_as_it_lies(client: httpx.Client, ball: Ball) -> None:
    answer = client.post(f"{API}/volumes/open", json={"path": str(ball.volume)})
    volume = answer.json()
    assert answer.status_code == 201
    assert (volume["name"], volume["state"], volume["shape"]) == ("ball.nii.gz", "open", [40, 32, 12])
    assert (volume["spacing_mm"], volume["sweep_axis"], volume["dtype"]) == ([1, 1, 3], 2, "int16")
    assert np.array_equal(volume["affine"], ball.affine)
    assert volume["intensity"]["maximum"] == 999
    assert volume["objects"] == []


def test_opening_a_volume_again_gives_the_same_one_with_200(client: httpx.Client, ball: Ball) -> None:
    first = client.post(f"{API}/volumes/open", json={"path": str(ball.volume)})
    again = client.post(f"{API}/volumes/open", json={"path": str(ball.volume)})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


def test_an_uploaded_volume_has_the_same_voxels(client: httpx.Client, ball: Ball) -> None:
    with ball.volume.open("rb") as file:
        answer = client.post(f"{API}/volumes", files={"file": ("mine.nii.gz", file)})
    assert (answer.status_code, answer.json()["name"], answer.json()["path"]) == (201, "mine.nii.gz", None)
    data = client.get(f"{API}/volumes/{answer.json()['id']}/data.nii").content
    image = nibabel.Nifti1Image.from_bytes(data)
    assert np.array_equal(np.asarray(image.dataobj), limnet.read_volume(ball.volume).array)
    assert np.allclose(image.affine, ball.affine)


def test_a_header_and_its_data_file_are_uploaded_together(client: httpx.Client) -> None:
    header = (
        "NDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\n"
        "DimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = a.raw\n"
    )
    files = [("file", ("a.raw", bytes(range(24)))), ("file", ("a.mhd", header.encode()))]
    volume = client.post(f"{API}/volumes", files=files).json()
    assert (volume["shape"], volume["intensity"]["maximum"]) == ([4, 3, 2], 23)


def test_uploaded_frames_become_one_volume_in_natural_order(client: httpx.Client) -> None:
    files = []
    for n in (2, 10, 1):
        stream = io.BytesIO()
        Image.fromarray(np.full((6, 8, 3), n, np.uint8)).save(stream, "PNG")
        files.append(("file", (f"frame{n}.png", stream.getvalue())))
    volume = client.post(f"{API}/volumes", files=files).json()
    assert (volume["shape"], volume["is_rgb"]) == ([8, 6, 3], True)
    data = client.get(f"{API}/volumes/{volume['id']}/data.nii").content
    frames = np.asarray(nibabel.Nifti1Image.from_bytes(data).dataobj)
    assert frames["R"][0, 0].tolist() == [1, 2, 10]


def test_a_click_answers_with_its_slice(client: httpx.Client, item: str, session: limnet.Session) -> None:
    answer = click(client, item).json()
    found = mask_of(answer["slice"]["runs"], tuple(answer["slice"]["shape"]))
    assert (answer["slice"]["axis"], answer["slice"]["index"]) == (2, 6)
    assert np.array_equal(found, session.click(CENTRE))
    assert answer["object"]["pending"][0]["index"] == INSIDE
    assert answer["object"]["voxels"] == found.sum()


def test_a_sweep_tells_its_slices_and_then_its_round(
    client: httpx.Client, item: str, session: limnet.Session
) -> None:
    click(client, item)
    events = sweep(client, item)
    kinds = [kind for kind, _ in events]
    assert kinds == ["slice"] * (len(kinds) - 1) + ["done"]
    assert [data["done"] for kind, data in events if kind == "slice"] == list(range(1, len(kinds)))
    done = events[-1][1]
    assert (done["round"]["number"], done["object"]["num_rounds"], done["object"]["sweeping"]) == (
        1,
        1,
        False,
    )
    session.click(CENTRE)
    session.propagate()
    assert np.array_equal(mask_from(client, item, session.volume.shape), session.mask)


def test_measures_are_those_of_the_mask(client: httpx.Client, item: str, ball: Ball) -> None:
    with ball.truth.open("rb") as file:
        measured = client.post(f"{item}/initial-mask", files={"file": ("truth.nii.gz", file)}).json()
    assert measured["voxels"] == ball.mask.sum()
    assert measured["ml"] == pytest.approx(ball.mask.sum() * 3 / 1000)
    assert measured["diameters_mm"] == [19, 19, 21]  # 19 x 19 x 7 voxels of 1 x 1 x 3 mm


def test_rounds_tell_what_they_did(client: httpx.Client, item: str) -> None:
    click(client, item)
    sweep(client, item)
    (done,) = client.get(f"{item}/rounds").json()
    assert (done["number"], done["axis"], done["is_undone"]) == (1, 2, False)
    assert all(a <= c - 8 and c + 8 < b for (a, b), c in zip(done["box"][:2], CENTRE, strict=False))
    assert done["prompts"][0]["slice"] == 6
    assert sum(done["provenance_counts"].values()) == 12
    assert done["seconds"] > 0


def test_undo_and_redo_move_through_prompts_and_rounds(client: httpx.Client, item: str) -> None:
    click(client, item)
    voxels = sweep(client, item)[-1][1]["object"]["voxels"]
    click(client, item, positive=False)
    counts = [client.post(f"{item}/{word}").json()["voxels"] for word in ("undo", "undo", "redo")]
    assert counts == [voxels, 0, voxels]
    assert client.post(f"{item}/redo").json()["num_prompts"] == 2


def test_going_to_a_round_marks_the_others_as_undone(client: httpx.Client, item: str) -> None:
    for index in (INSIDE, [20, 16, 7]):
        click(client, item, index)
        sweep(client, item)
    assert client.post(f"{item}/rounds/1/go").json()["num_rounds"] == 1
    assert [done["is_undone"] for done in client.get(f"{item}/rounds").json()] == [False, True]
    assert client.post(f"{item}/rounds/2/go").json()["num_rounds"] == 2


def test_boxes_scribbles_and_lassos_are_prompts(client: httpx.Client, item: str) -> None:
    points = [[12, 8, 6], [28, 8, 6], [28, 24, 6], [12, 24, 6]]
    for path, body in (
        ("boxes", {"low": [8, 5, 6], "high": [32, 28, 6]}),
        ("scribbles", {"points": [[18, 16, 6], [22, 16, 6]]}),
        ("lassos", {"points": points}),
    ):
        answer = client.post(f"{item}/{path}", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["object"]["voxels"] > 0
    kinds = [prompt["kind"] for prompt in answer.json()["object"]["pending"]]
    assert kinds == ["box", "scribble", "lasso"]


def test_a_brush_stroke_paints_a_disk_and_the_eraser_takes_it_away(client: httpx.Client, item: str) -> None:
    stroke = {"points": [[5, 5, 2]], "radius_mm": 2, "axis": 2}
    assert client.post(f"{item}/strokes", json=stroke).json()["object"]["voxels"] == 13  # x² + y² <= 4
    smaller = {**stroke, "radius_mm": 1, "erase": True}
    assert client.post(f"{item}/strokes", json=smaller).json()["object"]["voxels"] == 8


def test_an_initial_mask_is_a_round_that_can_be_undone(client: httpx.Client, item: str, ball: Ball) -> None:
    with ball.truth.open("rb") as file:
        answer = client.post(f"{item}/initial-mask", files={"file": ("truth.nii.gz", file)})
    assert (answer.status_code, answer.json()["voxels"]) == (201, ball.mask.sum())
    assert client.post(f"{item}/undo").json()["voxels"] == 0


def test_an_initial_mask_on_another_grid_is_refused(client: httpx.Client, item: str, tmp_path: Path) -> None:
    other = tmp_path / "other.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((40, 32, 12), np.uint8), np.eye(4)), other)
    with other.open("rb") as file:
        answer = client.post(f"{item}/initial-mask", files={"file": ("other.nii", file)})
    assert (answer.status_code, answer.json()["title"]) == (422, "Grids do not match")


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd", "mha"])
def test_an_exported_mask_is_the_mask_on_the_volumes_grid(
    client: httpx.Client, item: str, ball: Ball, tmp_path: Path, ending: str
) -> None:
    click(client, item)
    sweep(client, item)
    volume = item.rsplit("/", 2)[0]
    answer = client.post(f"{volume}/export", json={"format": ending, "kind": "mask"})
    assert f'filename="ball-mask.{ending}"' in answer.headers["content-disposition"]
    (tmp_path / f"out.{ending}").write_bytes(answer.content)
    read = limnet.read_mask(tmp_path / f"out.{ending}", like=limnet.read_volume(ball.volume))
    assert np.array_equal(read, mask_from(client, item, ball.mask.shape))


def test_labels_hold_the_ids_of_the_objects(client: httpx.Client, item: str, ball: Ball) -> None:
    volume = item.rsplit("/", 2)[0]
    second = client.post(f"{volume}/objects", json={"name": "liver", "colour": "#00ff00"}).json()
    for number, corner in ((item.rsplit("/", 1)[1], 3), (second["id"], 30)):
        stroke = {"points": [[corner, 3, 1]], "radius_mm": 0.5, "axis": 2}
        client.post(f"{volume}/objects/{number}/strokes", json=stroke)
    labels = nibabel.Nifti1Image.from_bytes(client.get(f"{volume}/labels.nii").content)
    found = np.asarray(labels.dataobj)
    assert (found[3, 3, 1], found[30, 3, 1], np.count_nonzero(found)) == (1, 2, 2)
    only = client.post(f"{volume}/export", json={"format": "nii.gz", "objects": [2]}).content
    assert np.unique(np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(only)).dataobj)).tolist() == [
        0,
        2,
    ]


def test_a_locked_object_takes_no_prompt(client: httpx.Client, item: str) -> None:
    assert client.patch(item, json={"locked": True, "name": "kept"}).json()["name"] == "kept"
    answer = client.post(f"{item}/clicks", json={"index": INSIDE})
    assert answer.status_code == 422
    assert "locked" in answer.json()["detail"]


def test_quality_is_told_for_every_slice(client: httpx.Client, item: str, session: limnet.Session) -> None:
    click(client, item)
    sweep(client, item)
    quality = client.get(f"{item}/quality").json()
    assert (quality["axis"], quality["prompted"], len(quality["quality"])) == (2, [6], 12)
    session.click(CENTRE)
    session.propagate()
    assert quality["quality"] == pytest.approx(session.quality.tolist(), nan_ok=True)
    assert 0.7 < quality["quality"][6] < 0.775  # 0.6 is expected, and three sweeps nearly agree


def test_quality_is_null_before_the_first_round(client: httpx.Client, item: str) -> None:
    quality = client.get(f"{item}/quality").json()
    assert (quality["quality"], quality["suggested"]) == ([None] * 12, None)


def test_the_thumbnail_shows_the_outline_in_the_objects_colour(client: httpx.Client, item: str) -> None:
    click(client, item)
    sweep(client, item)
    client.patch(item, json={"colour": "#00ff00"})
    answer = client.get(f"{item}/rounds/1/thumbnail.png")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert max(picture.shape[:2]) == 160
    assert (picture == (0, 255, 0)).all(-1).any()


def test_a_closed_volume_comes_back_with_its_work(client: httpx.Client, item: str, ball: Ball) -> None:
    click(client, item)
    sweep(client, item)
    before = mask_from(client, item, ball.mask.shape)
    volume = item.rsplit("/", 2)[0]
    assert client.post(f"{volume}/close").status_code == 204
    assert client.get(volume).json()["state"] == "closed"
    assert client.get(f"{item}/mask").status_code == 409
    again = client.post(f"{API}/volumes/open", json={"id": volume.rsplit("/", 1)[1]})
    assert (again.status_code, again.json()["objects"][0]["num_rounds"]) == (201, 1)
    assert np.array_equal(mask_from(client, item, ball.mask.shape), before)


def test_deleting_a_volume_wants_its_name(client: httpx.Client, item: str, ball: Ball) -> None:
    volume = item.rsplit("/", 2)[0]
    assert client.request("DELETE", volume, json={"confirm": "other"}).status_code == 409
    assert client.request("DELETE", volume, json={"confirm": "ball.nii.gz"}).status_code == 204
    assert client.get(volume).status_code == 404
    assert ball.volume.exists()


def test_files_lists_folders_and_volumes_inside_the_allowed_ones(client: httpx.Client, ball: Ball) -> None:
    (ball.volume.parent / "deeper").mkdir()
    (ball.volume.parent / "notes.txt").write_text("none of these")
    listed = client.get(f"{API}/files", params={"folder": str(ball.volume.parent)}).json()
    assert [(entry["name"], entry["kind"]) for entry in listed["entries"]] == [
        ("deeper", "folder"),
        ("ball.nii.gz", "volume"),
        ("truth.nii.gz", "volume"),
    ]
    assert listed["parent"] == str(ball.volume.parent.parent.resolve())


def test_files_begin_with_the_allowed_folders(client: httpx.Client, ball: Ball) -> None:
    (root,) = client.get(f"{API}/files").json()["entries"]
    assert root["kind"] == "folder"
    assert Path(root["path"]) in ball.volume.resolve().parents
    assert client.get(f"{API}/files", params={"folder": root["path"]}).json()["parent"] is None


def test_a_folder_of_frames_is_listed_as_one_volume(client: httpx.Client, ball: Ball) -> None:
    frames = ball.volume.parent / "frames"
    frames.mkdir()
    Image.new("L", (4, 4), 3).save(frames / "1.png")
    entry = client.get(f"{API}/files", params={"folder": str(frames)}).json()["entries"][0]
    assert (entry["kind"], entry["path"]) == ("volume", str(frames.resolve()))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("PUT", "/volumes", None, 405),
        ("GET", "/volumes/nobody", None, 404),
        ("POST", "/volumes/open", {"path": "/etc/passwd"}, 403),
        ("POST", "/volumes/open", {"sample": "perhaps"}, 422),
        ("POST", "/volumes/open", {}, 400),
        ("POST", "/volumes/open", {"path": "x", "unknown": 1}, 422),
        ("POST", "ITEM/clicks", {"index": [0, 0, 99]}, 422),
        ("POST", "ITEM/clicks", {"index": [0, 0]}, 422),
        ("POST", "ITEM/clicks", {"index": [0, 0, 0], "positive": False}, 422),
        ("POST", "ITEM9/clicks", {"index": [0, 0, 0]}, 404),
        ("POST", "ITEM/strokes", {"points": [[0, 0, 99]], "radius_mm": 1, "axis": 2}, 400),
        ("POST", "ITEM/sweep", None, 422),
        ("GET", "ITEM/sweep/events", None, 404),
        ("GET", "ITEM/rounds/1/thumbnail.png", None, 404),
        ("POST", "ITEM/rounds/7/go", None, 422),
    ],
)
def test_every_error_is_a_problem_of_one_line(
    client: httpx.Client, item: str, method: str, path: str, body: object, status: int
) -> None:
    url = path.replace("ITEM", item) if path.startswith("ITEM") else API + path
    answer = client.request(method, url, json=body)
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["instance"]) == (status, url)
    assert problem["type"].startswith("urn:limnet:problem:")
    assert problem["detail"]
    assert "\n" not in problem["detail"]


def test_an_unexpected_error_tells_nothing_of_itself(
    client: httpx.Client, item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr("limnet.server.api_objects.quality_out", fail)
    answer = client.get(f"{item}/quality")
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal error")
    assert "swordfish" not in answer.text


def test_the_description_names_every_problem_and_no_untyped_answer(client: httpx.Client) -> None:
    described = client.get(f"{API}/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                kinds = set(answer.get("content", {}))
                if int(status) >= 400:
                    assert kinds == {"application/problem+json"}, (method, path, status)
                elif status != "204":
                    assert kinds, (method, path, status)


def test_the_voxel_that_was_clicked_is_the_balls_centre() -> None:
    assert tuple(INSIDE) == CENTRE
