"""What the server refuses: strangers, other sites, other folders, other users, too much."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from annotator import API, click, listening, open_ball, sweep
from conftest import Ball
from limnet.errors import ConfigError
from limnet.server.keys import Keyring

COOKIE = "limnet-8127"  # by the default port of the settings


@pytest.fixture
def client(ball: Ball) -> Iterator[httpx.Client]:
    with listening(ball.volume.parent, max_upload_mib=1, max_voxels=100_000) as client:
        yield client


@pytest.fixture
def keys(ball: Ball) -> Keyring:
    """The keys of the server's work folder; once it has one, everybody needs one."""
    return Keyring(ball.volume.parent / "work")


def as_user(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def upload(client: httpx.Client, name: str, content: bytes) -> httpx.Response:
    return client.post(f"{API}/volumes", files={"file": (name, content)})


def nifti_header(shape: tuple[int, int, int]) -> bytes:
    """The 352 bytes before the voxels of a NIfTI-1 file of int16."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<h", header, 254, 1)
    struct.pack_into("<12f", header, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    header[344:348] = b"n+1\0"
    return bytes(header)


# Hosts and origins


@pytest.mark.parametrize(("host", "status"), [("localhost:1", 200), ("[::1]:1", 200), ("evil.example", 421)])
def test_the_host_must_be_this_computers(client: httpx.Client, host: str, status: int) -> None:
    assert client.get(f"{API}/about", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_page_of_another_site_changes_nothing(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post(f"{API}/volumes/open", json={"sample": True}, headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    assert client.get(f"{API}/volumes").json() == []


def test_the_annotators_own_page_may(client: httpx.Client, ball: Ball) -> None:
    own = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post(f"{API}/volumes/open", json={"path": str(ball.volume)}, headers=own).status_code == 201


def test_no_other_site_may_read_or_frame_anything(client: httpx.Client) -> None:
    headers = client.get(f"{API}/about", headers={"Origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'self'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_an_error_carries_the_headers_too(client: httpx.Client) -> None:
    assert "content-security-policy" in client.get("/nothing", headers={"Host": "evil.example"}).headers


# Keys


def test_once_there_is_a_key_everybody_needs_one(client: httpx.Client, keys: Keyring) -> None:
    key = keys.add("ann")
    answer = client.get(f"{API}/about")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get(f"{API}/about", headers=as_user(key)).json()["user"] == "ann"
    assert client.get(f"{API}/about", headers=as_user("wrong")).status_code == 401


def test_a_server_for_others_needs_keys_even_without_any(ball: Ball) -> None:
    with listening(ball.volume.parent, host="0.0.0.0") as client:
        assert client.get(f"{API}/about").status_code == 401


def test_a_removed_key_is_refused_at_once(client: httpx.Client, keys: Keyring) -> None:
    key = keys.add("ann")
    keys.add("bob")
    keys.remove("ann")
    assert client.get(f"{API}/about", headers=as_user(key)).status_code == 401


def test_a_key_in_the_address_becomes_a_cookie_that_scripts_cannot_read(
    client: httpx.Client, keys: Keyring
) -> None:
    answer = client.get("/", params={"key": keys.add("ann")})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(COOKIE)
    assert all(word in cookie for word in ("httponly", "samesite=strict"))
    assert client.get(f"{API}/about").json()["user"] == "ann"


def test_a_cookie_dies_with_its_key(client: httpx.Client, keys: Keyring) -> None:
    client.post(f"{API}/login", json={"key": keys.add("ann")})
    assert client.get(f"{API}/about").status_code == 200
    keys.remove("ann")
    keys.add("ann")
    assert client.get(f"{API}/about").status_code == 401


def test_a_cookie_that_was_changed_is_refused(client: httpx.Client, keys: Keyring) -> None:
    keys.add("bob")
    client.post(f"{API}/login", json={"key": keys.add("ann")})
    forged = client.cookies[COOKIE].replace("ann", "bob", 1)
    with httpx.Client(base_url=client.base_url, cookies={COOKIE: forged}, trust_env=False) as fresh:
        assert fresh.get(f"{API}/about").status_code == 401


def test_a_wrong_key_gives_no_cookie(client: httpx.Client, keys: Keyring) -> None:
    keys.add("ann")
    answer = client.post(f"{API}/login", json={"key": "guess"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_keys_are_stored_hashed_and_for_the_owner_alone(keys: Keyring, ball: Ball) -> None:
    key = keys.add("ann")
    path = ball.volume.parent / "work" / "keys.json"
    assert key not in path.read_text()
    assert len(json.loads(path.read_text())[0]["sha256"]) == 64
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["", "../ann", "Ann", "a" * 64, ".hidden"])
def test_a_users_name_is_fit_for_a_folder(keys: Keyring, name: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 63"):
        keys.add(name)


def test_a_user_has_one_key(keys: Keyring) -> None:
    keys.add("ann")
    with pytest.raises(ConfigError, match="has a key already"):
        keys.add("ann")


def test_volumes_of_one_user_do_not_exist_for_another(
    client: httpx.Client, keys: Keyring, ball: Ball
) -> None:
    ann, bob = as_user(keys.add("ann")), as_user(keys.add("bob"))
    client.headers.update(ann)
    item = open_ball(client, ball.volume)
    volume = item.rsplit("/", 2)[0]
    click(client, item)
    sweep(client, item)
    client.headers.update(bob)
    assert client.get(f"{API}/volumes").json() == []
    for method, path in (
        ("GET", volume),
        ("GET", f"{volume}/data.nii"),
        ("POST", f"{volume}/close"),
        ("GET", f"{item}/mask"),
        ("GET", f"{item}/sweep/events"),
        ("DELETE", f"{item}/sweep"),
    ):
        assert client.request(method, path).status_code == 404, path
    other = client.post(f"{API}/volumes/open", json={"path": str(ball.volume)}).json()
    assert other["id"] != volume.rsplit("/", 1)[1]
    assert other["objects"] == []


# Paths


@pytest.mark.parametrize("text", ["/etc", "{folder}/../..", "/etc/passwd", "{folder}/none", "\0", "a" * 4000])
def test_nothing_outside_the_allowed_folders_is_opened(client: httpx.Client, ball: Ball, text: str) -> None:
    path = text.format(folder=ball.volume.parent) if "{" in text else text
    for answer in (
        client.post(f"{API}/volumes/open", json={"path": path}),
        client.get(f"{API}/files", params={"folder": path}),
    ):
        assert answer.status_code in (403, 404), answer.text


def test_a_link_out_of_the_allowed_folder_is_neither_listed_nor_opened(
    client: httpx.Client, ball: Ball, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.nii.gz"
    outside.write_bytes(ball.volume.read_bytes())
    link = ball.volume.parent / "link.nii.gz"
    link.symlink_to(outside)
    listed = client.get(f"{API}/files", params={"folder": str(ball.volume.parent)}).json()["entries"]
    assert "link.nii.gz" not in [entry["name"] for entry in listed]
    assert client.post(f"{API}/volumes/open", json={"path": str(link)}).status_code == 403


def test_a_header_cannot_name_a_file_outside(
    client: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(bytes(range(24)))
    header = (
        "NDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\n"
        f"DimSize = 4 3 2\nElementType = MET_UCHAR\nElementDataFile = {secret}\n"
    )
    answer = upload(client, "a.mhd", header.encode())
    assert answer.status_code == 422
    assert "outside" in answer.json()["detail"]


def test_an_uploads_name_cannot_leave_its_folder(client: httpx.Client, ball: Ball) -> None:
    answer = upload(client, "../../../../escaped.nii.gz", ball.volume.read_bytes())
    assert (answer.status_code, answer.json()["name"]) == (201, "escaped.nii.gz")
    (found,) = ball.volume.parent.rglob("escaped.nii.gz")
    assert found.parent.name == "volume"


def test_a_pickle_is_no_volume(client: httpx.Client, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([{"a": 1}], dtype=object))
    answer = upload(client, "a.npz", (tmp_path / "a.npz").read_bytes())
    assert (answer.status_code, answer.json()["title"]) == (422, "Not a volume")


# Sizes


def test_an_upload_beyond_the_limit_is_refused_before_it_is_read(client: httpx.Client) -> None:
    answer = upload(client, "a.nii", bytes(3 << 20))
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


def test_an_upload_that_hides_its_length_is_stopped(client: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.nii"\r\n\r\n'
        for _ in range(40):
            yield bytes(1 << 16)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        answer = client.post(f"{API}/volumes", content=parts(), headers=headers)
    except httpx.TransportError:  # it may close the connection while the client still sends
        return
    assert answer.status_code == 413


def test_json_beyond_a_few_mib_is_refused(client: httpx.Client) -> None:
    body = b'{"path": "' + b"a" * (5 << 20) + b'"}'
    answer = client.post(f"{API}/volumes/open", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def huge_nrrd() -> bytes:
    lines = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: 1024 1024 1024",
    ]
    lines += ["space directions: (1,0,0) (0,1,0) (0,0,1)", "space origin: (0,0,0)", "endian: little"]
    lines += ["encoding: gzip", "", ""]
    return "\n".join(lines).encode() + gzip.compress(bytes(900_000))


def huge_metaimage() -> bytes:
    return (
        b"NDims = 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 1\nDimSize ="
        b" 1024 1024 1024\nElementType = MET_SHORT\nCompressedData = True\nElementDataFile = LOCAL\n"
    ) + bytes(500_000)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.nii.gz", gzip.compress(nifti_header((1024, 1024, 1024)) + bytes(100_000))),
        ("a.nii", nifti_header((1024, 1024, 1024)) + bytes(100_000)),
        ("a.nrrd", huge_nrrd()),
        ("a.mha", huge_metaimage()),
    ],
)
def test_a_header_that_claims_2_gib_is_refused_without_taking_memory(
    client: httpx.Client, name: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated: list[int] = []
    real = np.empty

    def watched(shape: object, *args: object, **names: object) -> object:
        allocated.append(int(np.prod(np.array(shape, dtype=float))))
        return real(shape, *args, **names)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "empty", watched)
    answer = upload(client, name, content)
    assert answer.status_code in (413, 422)
    assert "bytes of voxels" in answer.json()["detail"]
    assert max(allocated, default=0) < 1 << 24


def test_a_gzip_bomb_is_unpacked_only_as_far_as_its_header_claims(client: httpx.Client, ball: Ball) -> None:
    bomb = gzip.compress(nifti_header((10, 10, 10)) + bytes(range(200)) * 10 + bytes(80 << 20))
    answer = upload(client, "bomb.nii.gz", bomb)
    assert len(bomb) < 1 << 20
    assert answer.json()["shape"] == [10, 10, 10]


def test_more_voxels_than_the_limit_are_refused(client: httpx.Client, tmp_path: Path) -> None:
    content = nifti_header((100, 100, 11)) + np.arange(110_000, dtype="<i2").tobytes()
    answer = upload(client, "a.nii", content)
    assert (answer.status_code, "110,000 voxels" in answer.json()["detail"]) == (413, True)


def test_nothing_of_a_refused_upload_stays_and_nothing_tells_where_it_was(
    client: httpx.Client, ball: Ball
) -> None:
    answer = upload(client, "a.nii", b"not a volume")
    assert answer.json()["detail"].startswith("a.nii: ")
    assert str(ball.volume.parent) not in answer.text
    assert not [p for p in (ball.volume.parent / "work" / "users").rglob("*") if p.is_file()]


# The audit log


def test_the_audit_log_tells_who_did_what_and_no_intensities(client: httpx.Client, ball: Ball) -> None:
    item = open_ball(client, ball.volume)
    volume = item.rsplit("/", 2)[0]
    click(client, item)
    client.post(f"{volume}/export", json={})
    client.post(f"{volume}/close")
    client.request("DELETE", volume, json={"confirm": "ball.nii.gz"})
    path = ball.volume.parent / "work" / "audit.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["user"], line["action"]) for line in lines] == [
        ("local", "open"),
        ("local", "export"),
        ("local", "close"),
        ("local", "delete"),
    ]
    assert set().union(*lines) <= {"time", "user", "action", "volume", "path", "name", "file", "objects"}
