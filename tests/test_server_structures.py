"""Named structures through the API: DICOM-SEG, RTSTRUCT and .seg.nrrd out, and objects in from such files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import limnet
from annotator import API, listening
from conftest import Ball
from dicom_files import PATIENT, random_affine, write_series
from limnet.cli import main
from limnet.volume.dicom.source import read_source
from limnet.volume.exchange import read_structures, write_structures
from limnet.volume.structure import Structure
from test_server_process import serving

highdicom = pytest.importorskip("highdicom")
SHAPE = (24, 20, 9)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An oblique series with a bright block."""
    array = np.random.default_rng(1).integers(0, 50, SHAPE).astype(np.int16)
    array[5:15, 4:12, 2:7] += 900
    write_series(tmp_path / "scan", array, random_affine(np.random.default_rng(7)))
    return tmp_path / "scan"


@pytest.fixture
def client(scan: Path, ball: Ball) -> Iterator[httpx.Client]:
    with listening(scan.parent, max_objects=3) as client:
        yield client


def opened(client: httpx.Client, path: Path) -> dict[str, Any]:
    found: dict[str, Any] = client.post(f"{API}/volumes/open", json={"path": str(path)}).json()
    return found


def drawn(client: httpx.Client, volume: str, name: str, at: list[int], colour: str = "#3366cc") -> int:
    """A new object with a small disk around a voxel of slice 3."""
    objects = f"{API}/volumes/{volume}/objects"
    number: int = client.post(objects, json={"name": name, "colour": colour}).json()["id"]
    stroke = {"points": [[*at, 3]], "radius_mm": 5.0, "axis": 2}
    answer = client.post(f"{objects}/{number}/strokes", json=stroke)
    assert answer.status_code == 201, answer.text
    return number


def mask_of(client: httpx.Client, volume: str, number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:  # type: ignore[type-arg]
    answer = client.get(f"{API}/volumes/{volume}/objects/{number}/mask")
    i0, i1, j0, j1, k0, k1 = map(int, answer.headers["X-Mask-Box"].split(","))
    mask = np.zeros(shape, bool)
    mask[i0:i1, j0:j1, k0:k1] = np.frombuffer(answer.content, np.uint8).reshape(i1 - i0, j1 - j0, k1 - k0)
    return mask


def exported(client: httpx.Client, volume: str, path: Path, form: str, **more: Any) -> Path:
    answer = client.post(f"{API}/volumes/{volume}/export", json={"format": form, **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].endswith(f'.{form}"')
    target = path / f"out.{form}"
    target.write_bytes(answer.content)
    return target


def sent(client: httpx.Client, volume: str, *paths: Path) -> httpx.Response:
    files = [("file", (path.name, path.read_bytes())) for path in paths]
    return client.post(f"{API}/volumes/{volume}/objects/import", files=files)


def test_dicom_formats_are_offered_for_dicom_alone(client: httpx.Client, scan: Path, ball: Ball) -> None:
    plain = ["nii.gz", "nrrd", "mha", "seg.nrrd"]
    assert opened(client, ball.volume)["formats"] == plain
    assert opened(client, scan)["formats"] == [*plain, "seg.dcm", "labelmap.dcm", "rtstruct.dcm"]
    assert [volume["formats"] for volume in client.get(f"{API}/volumes").json()] == [
        [*plain, "seg.dcm", "labelmap.dcm", "rtstruct.dcm"],
        plain,
    ]


@pytest.mark.parametrize("form", ["seg.dcm", "labelmap.dcm"])
def test_a_seg_of_the_api_is_what_highdicom_reads(
    client: httpx.Client, scan: Path, tmp_path: Path, form: str
) -> None:
    volume = opened(client, scan)["id"]
    numbers = [drawn(client, volume, "Liver", [8, 8]), drawn(client, volume, "spot", [16, 12])]
    seg = highdicom.seg.segread(exported(client, volume, tmp_path, form))
    names = [seg.get_segment_description(n).segment_label for n in (1, 2)]
    kinds = [seg.get_segment_description(n).segmented_property_type.value for n in (1, 2)]
    assert (names, kinds) == (["Liver", "spot"], ["10200004", "85756007"])  # SNOMED CT: liver, tissue
    place = seg.get_volume(combine_segments=form == "labelmap.dcm")
    shown = place.array == 1 if form == "labelmap.dcm" else place.array[..., 0] > 0
    theirs = place.map_indices_to_reference(np.argwhere(shown)) * [-1, -1, 1]
    read = limnet.read_volume(scan)
    ours = limnet.volume.to_world(read.affine, np.argwhere(mask_of(client, volume, numbers[0])))
    assert len(theirs) == len(ours) > 10
    order = [np.lexsort(np.round(points, 2).T) for points in (theirs, ours)]
    assert np.abs(theirs[order[0]] - ours[order[1]]).max() < 1e-3
    assert str(seg.PatientID) == PATIENT[1]
    assert {str(item[1]) for item in seg.get_source_image_uids()} == {
        read_source(scan).first.SeriesInstanceUID
    }


@pytest.mark.parametrize("form", ["seg.dcm", "rtstruct.dcm", "labelmap.dcm", "seg.nrrd"])
def test_what_goes_out_comes_in_again_as_the_same_objects(
    client: httpx.Client, scan: Path, tmp_path: Path, form: str
) -> None:
    volume = opened(client, scan)["id"]
    numbers = [
        drawn(client, volume, "left", [6, 8], "#3366cc"),
        drawn(client, volume, "right", [17, 12], "#cc6633"),
    ]
    before = [mask_of(client, volume, number) for number in numbers]
    file = exported(client, volume, tmp_path, form)
    for number in numbers:
        client.delete(f"{API}/volumes/{volume}/objects/{number}")
    answer = sent(client, volume, file)
    assert answer.status_code == 201, answer.text
    added = answer.json()
    assert [item["name"] for item in added] == ["left", "right"]
    for item, mask, colour in zip(added, before, ((0x33, 0x66, 0xCC), (0xCC, 0x66, 0x33)), strict=True):
        assert np.array_equal(mask_of(client, volume, item["id"]), mask)
        assert np.abs(np.array(list(bytes.fromhex(item["colour"][1:]))) - colour).max() <= 1  # CIELab rounds
        assert item["num_rounds"] == 1
        undone = client.post(f"{API}/volumes/{volume}/objects/{item['id']}/undo").json()
        assert undone["voxels"] == 0


def test_overlapping_objects_stay_whole_where_the_format_can(
    client: httpx.Client, scan: Path, tmp_path: Path
) -> None:
    volume = opened(client, scan)["id"]
    numbers = [drawn(client, volume, "one", [8, 8]), drawn(client, volume, "two", [9, 8])]
    one, two = (mask_of(client, volume, number) for number in numbers)
    assert (one & two).any()
    read = limnet.read_volume(scan)
    both = read_structures(exported(client, volume, tmp_path, "seg.dcm"), read)
    assert [np.array_equal(item.mask, mask) for item, mask in zip(both, (one, two), strict=True)] == [
        True
    ] * 2
    first, second = read_structures(exported(client, volume, tmp_path, "seg.nrrd"), read)
    assert np.array_equal(first.mask, one & ~two)  # the newest claim wins, as in the label map
    assert np.array_equal(second.mask, two)


def test_one_object_or_all_as_one(client: httpx.Client, scan: Path, tmp_path: Path) -> None:
    volume = opened(client, scan)["id"]
    numbers = [drawn(client, volume, "one", [6, 8]), drawn(client, volume, "two", [17, 12])]
    one, two = (mask_of(client, volume, number) for number in numbers)
    read = limnet.read_volume(scan)
    (only,) = read_structures(exported(client, volume, tmp_path, "seg.dcm", objects=[numbers[1]]), read)
    assert (only.name, np.array_equal(only.mask, two)) == ("two", True)
    (whole,) = read_structures(exported(client, volume, tmp_path, "seg.dcm", kind="mask"), read)
    assert np.array_equal(whole.mask, one | two)
    missing = client.post(f"{API}/volumes/{volume}/export", json={"format": "seg.dcm", "objects": [99]})
    assert missing.status_code == 404


def test_an_uploaded_series_can_be_exported_too(client: httpx.Client, scan: Path, tmp_path: Path) -> None:
    files = [("file", (path.name, path.read_bytes())) for path in sorted(scan.iterdir())]
    volume = client.post(f"{API}/volumes", files=files).json()["id"]
    number = drawn(client, volume, "spot", [8, 8])
    file = exported(client, volume, tmp_path, "rtstruct.dcm")
    (spot,) = read_structures(file, limnet.read_volume(scan))
    assert np.array_equal(spot.mask, mask_of(client, volume, number))


def test_what_cannot_be_exported_is_one_line(client: httpx.Client, scan: Path, ball: Ball) -> None:
    plain = opened(client, ball.volume)["id"]
    answer = client.post(f"{API}/volumes/{plain}/export", json={"format": "seg.dcm"})
    assert (answer.status_code, "did not come from a DICOM series" in answer.json()["detail"]) == (400, True)
    empty = opened(client, scan)["id"]
    for form in ("seg.dcm", "labelmap.dcm", "rtstruct.dcm", "seg.nrrd"):
        answer = client.post(f"{API}/volumes/{empty}/export", json={"format": form})
        assert (answer.status_code, "every object is empty" in answer.json()["detail"]) == (409, True)
    assert client.post(f"{API}/volumes/{empty}/export", json={"format": "dcm"}).status_code == 422


def test_the_audit_log_names_no_patient(client: httpx.Client, scan: Path, tmp_path: Path) -> None:
    volume = opened(client, scan)["id"]
    drawn(client, volume, "spot", [8, 8])
    sent(client, volume, exported(client, volume, tmp_path, "seg.dcm"))
    log = (tmp_path / "work" / "audit.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["action"] for line in log.splitlines()} >= {"export", "import"}
    assert not any(word in log for word in PATIENT)


def test_a_label_map_with_a_description_brings_names(
    client: httpx.Client, ball: Ball, tmp_path: Path
) -> None:
    volume, read = opened(client, ball.volume)["id"], limnet.read_volume(ball.volume)
    masks = [np.zeros(read.shape, bool) for _ in range(2)]
    masks[0][3:6, 3:6, 3:6], masks[1][20:24, 3:6, 3:6] = True, True
    parts = [Structure.of("a", masks[0], "#112233"), Structure.of("b", masks[1], "#445566")]
    (tmp_path / "made").mkdir()
    write_structures(tmp_path / "made" / "m.nii.gz", parts, read)
    both = sent(client, volume, tmp_path / "made" / "m.nii.gz", tmp_path / "made" / "m.labels.txt").json()
    assert [(item["name"], item["colour"]) for item in both] == [("a", "#112233"), ("b", "#445566")]
    assert np.array_equal(mask_of(client, volume, both[1]["id"], read.shape), masks[1])
    refused = sent(client, volume, tmp_path / "made" / "m.nii.gz")  # two more, three are allowed
    assert (refused.status_code, "at most 3 are allowed" in refused.json()["detail"]) == (409, True)
    assert len(client.get(f"{API}/volumes/{volume}").json()["objects"]) == 2, "all or nothing"


def test_a_seg_starts_an_object_that_is_there(client: httpx.Client, scan: Path, tmp_path: Path) -> None:
    volume = opened(client, scan)["id"]
    number = drawn(client, volume, "spot", [8, 8])
    expected = mask_of(client, volume, number)
    file = exported(client, volume, tmp_path, "seg.dcm")
    other = client.post(f"{API}/volumes/{volume}/objects", json={}).json()["id"]
    item = f"{API}/volumes/{volume}/objects/{other}"
    answer = client.post(f"{item}/initial-mask", files={"file": (file.name, file.read_bytes())})
    assert (answer.status_code, answer.json()["num_rounds"]) == (201, 1)
    assert np.array_equal(mask_of(client, volume, other), expected)


@pytest.mark.parametrize("what", ["another scan's", "a scan", "nothing", "garbage", "empty"])
def test_what_cannot_be_imported_is_one_line_and_adds_nothing(
    client: httpx.Client, scan: Path, ball: Ball, tmp_path: Path, what: str
) -> None:
    volume = opened(client, scan)["id"]
    file = tmp_path / "in.nii.gz"
    if what == "another scan's":
        other = tmp_path / "other"
        write_series(
            other,
            np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE),
            random_affine(np.random.default_rng(8)),
        )
        like = limnet.read_volume(other)
        mask = np.ones(SHAPE, bool)
        write_structures(tmp_path / "in.dcm", [Structure.of("x", mask)], like, source=read_source(other))
        file = tmp_path / "in.dcm"
    elif what == "a scan":
        file = next(scan.iterdir())
    elif what == "nothing":
        limnet.write_mask(file, np.zeros(SHAPE, np.uint8), like=limnet.read_volume(scan))
    elif what == "garbage":
        file.write_bytes(gzip.compress(b"\0" * 400))
    else:
        file.write_bytes(b"")
    answer = sent(client, volume, file)
    assert answer.status_code in (400, 422), answer.text
    detail = answer.json()["detail"]
    assert "\n" not in detail
    assert str(tmp_path / "work") not in detail
    assert client.get(f"{API}/volumes/{volume}").json()["objects"] == []


@pytest.mark.slow
def test_serve_begins_with_the_objects_of_a_file_and_adds_them_once(scan: Path, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[5:15, 4:12, 2:7] = True
    like = limnet.read_volume(scan)
    for name, part in (("left", mask), ("right", np.roll(mask, 4, 0))):
        write_structures(tmp_path / f"{name}.dcm", [Structure.of(name, part)], like, source=read_source(scan))
    for start in ("left", "right"):  # the second start finds work, and leaves it alone
        with serving(scan, "--start", str(tmp_path / f"{start}.dcm")) as (_, client):
            (volume,) = client.get(f"{API}/volumes").json()
            (item,) = client.get(f"{API}/volumes/{volume['id']}").json()["objects"]
            assert (item["name"], item["num_rounds"]) == ("left", 1)
            assert np.array_equal(mask_of(client, volume["id"], item["id"]), mask)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--start", "missing.dcm", "{scan}"], "missing.dcm: no such file"),
        (["--start", "{scan}/IM0000", "{scan}"], "DICOM, but no segmentation"),
        (["--start", "{scan}/IM0000"], "--start goes with one VOLUME"),
        (["--start", "{scan}/IM0000", "{scan}", "{scan}"], "--start goes with one VOLUME"),
    ],
)
def test_a_bad_start_is_one_line(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    words = [word.format(scan=scan) for word in words]
    how = ["--no-browser", "--port", "0", "--nni-port", "0", "--work-dir", str(tmp_path / "work")]
    assert main(["serve", *words, *how]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
