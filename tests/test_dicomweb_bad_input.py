"""DICOMweb servers that refuse, lie or dawdle: one line that helps, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from itertools import chain, count, repeat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import bad_dicomweb
from bad_dicomweb import (  # noqa: F401
    BOUNDARY,
    MULTIPART,
    SERIES,
    STUDY,
    Bad,
    bad,
    entry,
    files,
    listing,
    multipart,
    plain,
    surroundings,
    until_closed,
)
from dicom_files import write_series
from limnet.cli import main


@pytest.fixture
def refused(
    bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """What `dicomweb get` and a command with the address as its volume must say, each in one line."""
    parts: list[str] = []
    yield parts
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    commands = (["dicomweb", "get", bad.address, "-o", str(tmp_path / "scan")], ["info", bad.address])
    for words in commands:
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.count("\n") == 1
        assert all(part in err for part in (*parts, bad.root)), err
        assert not [path for path in tmp_path.iterdir() if path.name != "rest"]


def test_a_good_answer_is_taken(bad: Bad, files: list[bytes], tmp_path: Path) -> None:
    """The double itself does what a server should, so that what follows fails for its own reason only."""
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart(files), MULTIPART)
    assert main(["dicomweb", "get", bad.address, "-o", str(tmp_path / "scan")]) == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "scan").iterdir())] == files
    bad.retrieve = until_closed([bytes([byte]) for byte in multipart(files)])
    assert main(["dicomweb", "get", bad.address, "-o", str(tmp_path / "again")]) == 0
    assert [path.read_bytes() for path in sorted((tmp_path / "again").iterdir())] == files


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "it does not know you"),
        (403, "you may not do that there"),
        (404, "there is no such thing"),
        (302, "302, it points to https://elsewhere.example/login; give that address"),
        (503, "the server failed"),
    ],
)
def test_a_status_is_put_in_words(status: int, words: str, bad: Bad, refused: list[str]) -> None:
    location = "https://elsewhere.example/login?token=abc"
    bad.search = listing(entry(3))
    bad.retrieve = plain("<html>", "text/html", status, Location=location)
    refused += [words]


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/dicom+xml", "image/png"])
def test_a_list_of_another_type_is_refused(kind: str, bad: Bad, refused: list[str]) -> None:
    bad.search = plain("<html>Please log in</html>", kind)
    refused += [kind.partition(";")[0], "is this the root of a DICOMweb server"]


@pytest.mark.parametrize("body", ["[{]", '["a"]', "17", '{"0020000E": 3}', "[" * 100_000])
def test_a_list_that_is_no_dicom_is_refused(body: str, bad: Bad, refused: list[str]) -> None:
    bad.search = plain(body)
    refused += ["list of series"]


@pytest.mark.parametrize("uid", [["../../etc/passwd"], ["1.2 3"], [], ["1." * 40], [{"a": 1}]])
def test_a_uid_that_is_none_is_never_used(
    uid: list[object], bad: Bad, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.search = listing({**entry(3), "0020000D": {"vr": "UI", "Value": uid}})
    assert main(["dicomweb", "get", bad.root, "--series", SERIES, "-o", str(tmp_path / "scan")]) == 2
    assert "lists a series without a valid UID" in capsys.readouterr().err
    assert {urlsplit(path).path for path, _, _ in bad.requests} == {"/dicom-web/series"}


def test_a_page_in_place_of_images_is_refused(bad: Bad, refused: list[str]) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain("<html>", "text/html")
    refused += ["comes as text/html, expected multipart/related"]


def test_a_partial_answer_is_refused(bad: Bad, files: list[bytes], refused: list[str]) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart(files), MULTIPART, 206)
    refused += ["206, it sends only a part"]


@pytest.mark.parametrize("kept", [0, 10, 60, 500, 1500, -3, -4, -40])
def test_an_answer_that_is_cut_short_is_refused(
    kept: int, bad: Bad, files: list[bytes], refused: list[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(3)), until_closed([multipart(files)[:kept]])
    refused += ["its answer ends too early"]


def test_an_answer_shorter_than_it_says_is_refused(bad: Bad, files: list[bytes], refused: list[str]) -> None:
    body = multipart(files)
    bad.search = listing(entry(3))
    bad.retrieve = until_closed([b""], f"{MULTIPART}\r\nContent-Length: {len(body)}")
    refused += ["the connection broke"]


@pytest.mark.parametrize(
    ("said", "words"),
    [(4, "3 instances came, it lists 4"), (2, "comes with more than the 2 instances it lists")],
)
def test_a_wrong_number_of_instances_is_refused(
    said: int, words: str, bad: Bad, files: list[bytes], refused: list[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(said)), plain(multipart(files), MULTIPART)
    refused += [words]


def test_an_instance_that_comes_twice_does_not_stand_for_another(
    bad: Bad, files: list[bytes], refused: list[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart([*files[:2], files[0]]), MULTIPART)
    refused += ["2 instances came, it lists 3 (1 came twice)"]


def test_an_instance_of_another_series_is_refused(
    bad: Bad, files: list[bytes], tmp_path_factory: pytest.TempPathFactory, refused: list[str]
) -> None:
    other = write_series(tmp_path_factory.mktemp("x"), np.ones((5, 4, 1), np.int16), np.eye(4), study=STUDY)
    bad.search = listing(entry(3))
    bad.retrieve = plain(multipart([*files[:2], other[0].read_bytes()]), MULTIPART)
    refused += ["it sent an instance of another series"]


def test_a_part_that_is_no_dicom_is_refused(bad: Bad, files: list[bytes], refused: list[str]) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart([*files[:2], b"oops"]), MULTIPART)
    refused += ["instance 3 is no DICOM file"]


def test_a_part_of_another_type_is_refused(bad: Bad, files: list[bytes], refused: list[str]) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart(files, "image/jpeg"), MULTIPART)
    refused += ["has a part of image/jpeg"]


def test_a_damaged_instance_is_refused(bad: Bad, files: list[bytes], refused: list[str]) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart([*files[:2], files[2][:300]]), MULTIPART)
    refused += ["series"]


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A part without an end."""
    until_closed(chain([f"--{BOUNDARY}\r\n\r\n".encode()], repeat(bytes(1 << 18))))(handler)


def test_more_than_the_limit_is_refused(
    bad: Bad, monkeypatch: pytest.MonkeyPatch, refused: list[str]
) -> None:
    monkeypatch.setenv("LIMNET_DICOMWEB_MAX_GIB", "0.01")
    bad.search, bad.retrieve = listing(entry(3)), endless
    refused += ["sends more than 0.01 GiB", "LIMNET_DICOMWEB_MAX_GIB"]


@pytest.mark.parametrize("header", [b"x" * 100_000, b"\r\n" + b"y" * 100_000])
def test_what_only_calls_itself_multipart_is_refused(header: bytes, bad: Bad, refused: list[str]) -> None:
    bad.search = listing(entry(3))
    start = b"" if header[:1] == b"x" else f"--{BOUNDARY}".encode()
    bad.retrieve = until_closed([start + header])
    refused += ["answer"]


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """Sends a byte now and then, for ever."""

    def drops() -> Iterator[bytes]:
        for _ in count():
            yield b"x"
            time.sleep(0.1)

    until_closed(drops())(handler)


def silent(_: BaseHTTPRequestHandler) -> None:
    """Answers when it is too late."""
    time.sleep(3)


@pytest.mark.parametrize(
    ("answer", "words"), [(silent, "no answer within 0.5 s"), (dripping, "less than 4 KiB a second")]
)
def test_a_server_that_dawdles_is_given_up(
    answer: bad_dicomweb.Answer, words: str, bad: Bad, monkeypatch: pytest.MonkeyPatch, refused: list[str]
) -> None:
    monkeypatch.setenv("LIMNET_DICOMWEB_TIMEOUT", "0.5")
    bad.search, bad.retrieve = listing(entry(3)), answer
    refused += [words]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a program without asking it")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("is_volume", [False, True])
def test_whoever_is_stopped_while_fetching_leaves_nothing(
    is_volume: bool, sent: signal.Signals, bad: Bad, files: list[bytes], tmp_path: Path
) -> None:
    go_on = threading.Event()

    def in_the_midst(handler: BaseHTTPRequestHandler) -> None:
        def pieces() -> Iterator[bytes]:
            yield multipart(files)[:-100]
            go_on.wait(30)

        until_closed(pieces())(handler)

    bad.search, bad.retrieve = listing(entry(3)), in_the_midst
    words = (
        ["info", bad.address] if is_volume else ["dicomweb", "get", bad.address, "-o", str(tmp_path / "x")]
    )
    command = [sys.executable, "-m", "limnet", *words]
    process = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not list(tmp_path.rglob("000003.dcm")):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(sent)
        assert process.wait(20) == (130 if sent == signal.SIGINT else 143)
    finally:
        go_on.set()
        process.kill()
        process.wait(10)
    assert not list(tmp_path.iterdir())


def test_a_filter_that_the_server_ignores_still_filters(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    bad.search = listing(entry(3, patient="A"), entry(3, series="1.2.3.5", patient="B"))
    assert main(["dicomweb", "list", bad.root, "--patient", "A"]) == 0
    out = capsys.readouterr().out
    assert f"/series/{SERIES}\n" in out
    assert "1.2.3.5" not in out


def test_series_of_nobody_are_not_shown_as_those_of_a_patient(
    bad: Bad, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.search = listing(entry(3, patient="A"), entry(3, series="1.2.3.5"))
    assert main(["dicomweb", "list", bad.root, "--patient", "A"]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "a series is listed without its patient's id, so it may be anybody's" in err


@pytest.mark.parametrize("knows_pages", [True, False])
def test_a_list_in_pages_is_read_to_its_end(
    knows_pages: bool, bad: Bad, capsys: pytest.CaptureFixture[str]
) -> None:
    def two_at_once(handler: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        start = int(query.get("offset", ["0"])[0]) if knows_pages else 0
        listing(*(entry(1, series=f"1.2.{n}") for n in range(start, min(5, start + 2))))(handler)

    bad.search = two_at_once
    for limit, told in ((100, 5), (5, 5), (3, 3)):
        assert main(["dicomweb", "list", bad.root, "--limit", str(limit)]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        cut = [line for line in lines if line.startswith("and more")]
        assert len(lines) - len(cut) == (told if knows_pages else 2)
        assert bool(cut) == (knows_pages and limit < 5)


def test_without_a_number_the_series_is_taken_with_a_warning(
    bad: Bad, files: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(None)), plain(multipart(files), MULTIPART)
    assert main(["dicomweb", "get", bad.address, "-o", str(tmp_path / "scan")]) == 0
    assert "does not tell how many instances" in capsys.readouterr().err


def test_instances_are_counted_when_no_number_is_told(
    bad: Bad, files: list[bytes], refused: list[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(None)), plain(multipart(files), MULTIPART)
    bad.others = listing(*({"00080018": {"vr": "UI", "Value": [f"1.{n}"]}} for n in range(4)))
    refused += ["3 instances came, it lists 4"]


def test_a_server_that_lists_series_by_study_only_is_asked_so(
    bad: Bad, files: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def by_study(handler: BaseHTTPRequestHandler) -> None:
        study = handler.path.split("/series")[0].rpartition("/")[2]
        known = {STUDY: SERIES, "1.2.9": "1.2.9.4"}
        (listing(entry(3, study, known[study])) if study in known else plain("", status=404))(handler)

    bad.search, bad.retrieve = by_study, plain(multipart(files), MULTIPART)
    bad.others = listing(entry(None, "1.2.9", ""), entry(None, STUDY, ""))
    assert main(["dicomweb", "list", bad.root]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == [
        f"{bad.root}/studies/1.2.9/series/1.2.9.4",
        bad.address,
    ]
    assert main(["dicomweb", "get", bad.root, "--series", SERIES, "-o", str(tmp_path / "scan")]) == 0
    assert len(list((tmp_path / "scan").iterdir())) == 3


def test_a_single_file_needs_no_multipart(bad: Bad, files: list[bytes], tmp_path: Path) -> None:
    bad.search, bad.retrieve = listing(entry(1)), plain(files[0], "application/dicom")
    assert main(["dicomweb", "get", bad.address, "-o", str(tmp_path / "scan")]) == 0
    assert (tmp_path / "scan" / "000001.dcm").read_bytes() == files[0]


def test_a_folder_that_exists_stays_as_it_is(
    bad: Bad, files: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.search, bad.retrieve = listing(entry(3)), plain(multipart(files), MULTIPART)
    assert main(["dicomweb", "get", bad.address, "-o", str(tmp_path)]) == 2
    assert "exists already; name a new folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
