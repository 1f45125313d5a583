"""limnet serve as a process: how it starts, how it is stopped, and that killing it loses nothing."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from annotator import API, click, open_ball, sweep
from conftest import Ball
from limnet.cli import main
from limnet.server.keys import Keyring

SECONDS = 60  # a start on a busy machine
ENDING_SECONDS = 15  # an end on a busy machine; on an idle one it took 0.45 s, 2026-11-24


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A process that serves the volumes of a folder on a free port; killed in the end if it still runs."""
    words = ["serve", str(folder), "--no-browser", "--port", "0", "--nni-port", "0", "--threads", "1"]
    words += ["--work-dir", str(folder / "work"), *more]
    process = subprocess.Popen(
        [sys.executable, "-m", "limnet", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        with httpx.Client(
            base_url=address_of(process), timeout=SECONDS, trust_env=False, verify=False
        ) as client:
            assert client.get(f"{API}/about").status_code in (200, 401)
            yield process, client
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def address_of(process: subprocess.Popen[str]) -> str:
    """Where it says it listens."""
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if found := re.search(r"(https?://\S+?:\d+)/", line):
            return found[1]
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_killed_in_the_middle_of_a_sweep_it_comes_back_with_every_acknowledged_round(ball: Ball) -> None:
    folder = ball.volume.parent
    with serving(folder) as (process, client):
        item = open_ball(client, ball.volume)
        click(client, item)
        sweep(client, item)
        click(client, item, [20, 16, 8])
        before = client.get(f"{item}/mask").content, client.get(item.rsplit("/", 2)[0]).json()["objects"]
        client.post(f"{item}/sweep")
        process.kill()
        process.wait(SECONDS)
    with serving(folder) as (_, client):
        after = client.get(f"{item}/mask").content, client.get(item.rsplit("/", 2)[0]).json()["objects"]
        assert after == before
        assert sweep(client, item)[-1][1]["round"]["number"] == 2


@pytest.mark.slow
def test_ctrl_c_ends_it_well_even_while_it_sweeps_and_streams(ball: Ball) -> None:
    with serving(ball.volume.parent) as (process, client):
        item = open_ball(client, ball.volume)
        click(client, item)
        client.post(f"{item}/sweep")
        with client.stream("GET", f"{item}/sweep/events") as stream:
            next(stream.iter_lines())
            process.send_signal(signal.SIGINT)
            assert process.wait(ENDING_SECONDS) == 0


@pytest.mark.slow
def test_a_second_server_on_the_same_work_folder_says_so(
    ball: Ball, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ball.volume.parent
    with serving(folder):
        words = [
            "serve",
            "--no-browser",
            "--port",
            "0",
            "--nni-port",
            "0",
            "--work-dir",
            str(folder / "work"),
        ]
        assert main(words) == 2
    assert "in use by another limnet serve" in capsys.readouterr().err


@pytest.mark.slow
def test_with_a_certificate_it_serves_https_to_whoever_has_a_key(ball: Ball) -> None:
    folder = ball.volume.parent
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    cert, private = folder / "cert.pem", folder / "key.pem"
    words = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*words, "-keyout", private, "-out", cert], check=True, capture_output=True)
    key = Keyring(folder / "work").add("ann")
    tls = ["--tls-cert", str(cert), "--tls-key", str(private)]
    with serving(folder, "--host", "0.0.0.0", "--name", "localhost", *tls) as (_, client):
        assert client.base_url.scheme == "https"
        assert client.get(f"{API}/about").status_code == 401
        answer = client.get("/", params={"key": key})
        assert "secure" in answer.headers["set-cookie"].lower()
        assert client.get(f"{API}/about").json()["user"] == "ann"


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--no-browser", "--port", port, "--work-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "Give another --port" in line


def test_another_address_without_keys_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fake_networks: object
) -> None:
    words = ["serve", "--no-browser", "--host", "0.0.0.0", "--port", "0", "--nni-port", "0"]
    assert main([*words, "--work-dir", str(tmp_path)]) == 2
    assert "limnet keys add NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no-such-file.nii"], "no such file or folder"),
        (["--tls-cert", "a.pem"], "--tls-cert and --tls-key together"),
        (["--port", "70000"], "0 (any free one) to 65535"),
        (["--idle-minutes", "0"], "above 0"),
    ],
)
def test_bad_words_are_one_clear_line(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *words, "--no-browser", "--work-dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_keys_are_added_shown_once_listed_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--work-dir", str(tmp_path)]
    assert main(["keys", "add", "ann", *where]) == 0
    key = capsys.readouterr().out.strip()
    assert Keyring(tmp_path).user_of(key) == "ann"
    assert main(["keys", "list", *where]) == 0
    assert capsys.readouterr().out.startswith("ann ")
    assert main(["keys", "remove", "ann", *where]) == 0
    assert Keyring(tmp_path).user_of(key) is None


def test_removing_a_key_that_is_not_there_says_who_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Keyring(tmp_path).add("ann")
    assert main(["keys", "remove", "bob", "--work-dir", str(tmp_path)]) == 2
    assert "keys have: ann" in capsys.readouterr().err
