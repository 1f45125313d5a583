"""How many viewers, and how long an idle one may stay: settings and flags."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from doubles import FakeLimNet
from limnet.cli import main
from limnet.server.settings import ServerSettings
from nni_server import serving


def test_clients_are_told_the_settings(tmp_path: Path) -> None:
    with serving(tmp_path, FakeLimNet(), nni_sessions=1, nni_idle_hours=2) as (url, _):
        claimed = httpx.post(f"{url}/claim", trust_env=False)
        assert claimed.json()["max_sessions"] == 1
        assert claimed.json()["idle_timeout_seconds"] == 7200
        assert httpx.post(f"{url}/claim", trust_env=False).status_code == 503
        assert httpx.get(f"{url}/start_session", trust_env=False).status_code == 200  # has places of its own
        assert httpx.get(f"{url}/start_session", trust_env=False).status_code == 503


@pytest.mark.parametrize(
    "words",
    [
        ["--nni-sessions", "0"],
        ["--nni-sessions", "x"],
        ["--nni-idle-hours", "0"],
        ["--nni-idle-hours", "nan"],
        ["--nni-idle-hours", "inf"],
    ],
)
def test_flags_that_make_no_sense_end_with_two(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["serve", "--no-browser", "--work-dir", str(tmp_path), *words])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    assert words[0].lstrip("-").replace("-", "_") in capsys.readouterr().err.replace("-", "_")


def test_defaults_are_sixteen_viewers_and_half_a_day(tmp_path: Path) -> None:
    settings = ServerSettings(work_dir=tmp_path)
    assert (settings.nni_sessions, settings.nni_idle_hours) == (16, 12.0)
