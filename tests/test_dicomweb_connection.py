"""How a DICOMweb server is reached: addresses, credentials, certificates, proxies, and what is kept quiet."""

from __future__ import annotations

import logging
import shutil
import subprocess
from pathlib import Path

import pytest

import bad_dicomweb
from bad_dicomweb import (  # noqa: F401
    Bad,
    bad,
    listing,
    plain,
    surroundings,
)
from limnet.cli import main
from limnet.errors import ConfigError, LimNetWarning
from limnet.volume.dicomweb import Address, Connection, Server
from nni_server import free_port


def test_a_server_that_is_down_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    root = f"http://127.0.0.1:{free_port()}/dicom-web"
    assert main(["dicomweb", "list", root]) == 2
    assert f"{root}: its list of series: nobody listens there" in capsys.readouterr().err


def test_a_name_that_does_not_exist_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dicomweb", "list", "https://pacs.invalid/dicom-web"]) == 2
    assert "cannot be reached; check the name 'pacs.invalid'" in capsys.readouterr().err


def test_a_proxy_that_is_down_is_told(
    bad: Bad, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    bad.search = listing()
    assert main(["dicomweb", "list", bad.root]) == 2
    assert "the proxy of the environment does not answer; set NO_PROXY=127.0.0.1" in capsys.readouterr().err
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["dicomweb", "list", bad.root]) == 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_certificates_are_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        ["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    (tmp_path / "both.pem").write_text(certificate.read_text() + key.read_text())
    with bad_dicomweb.serving(tmp_path / "both.pem") as bad:
        bad.search, root = listing(), bad.root
        assert main(["dicomweb", "list", root]) == 2
        assert "--ca FILE" in capsys.readouterr().err
        assert main(["dicomweb", "list", root, "--ca", str(certificate)]) == 0
        monkeypatch.setenv("LIMNET_DICOMWEB_CA", str(certificate))
        assert main(["dicomweb", "list", root]) == 0
        assert main(["dicomweb", "list", root.replace("localhost", "127.0.0.1")]) == 2  # another name
        assert "--ca FILE" in capsys.readouterr().err
        assert main(["dicomweb", "list", root.replace("https", "http")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_query_is_in_no_log_and_no_message(
    bad: Bad, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    bad.search = plain("", status=500)
    assert main(["dicomweb", "list", bad.root, "--patient", "PATIENT-4711"]) == 2
    assert "PatientID=PATIENT-4711" in bad.requests[0][0]
    assert "4711" not in caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize("option", ["token", "file", "user"])
def test_credentials_come_from_where_nobody_looks(
    option: str, bad: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, wanted = ["dicomweb", "list", bad.root], "Bearer abc.def"
    bad.search = listing()
    if option == "token":
        monkeypatch.setenv("LIMNET_DICOMWEB_TOKEN", "abc.def")
    elif option == "file":
        (tmp_path / "token").write_text("abc.def\n")
        words += ["--token-file", str(tmp_path / "token")]
    else:
        monkeypatch.setenv("LIMNET_DICOMWEB_USER", "me")
        monkeypatch.setenv("LIMNET_DICOMWEB_PASSWORD", "secret")
        wanted = "Basic bWU6c2VjcmV0"
    assert main(words) == 0
    assert bad.requests[0][1]["Authorization"] == wanted


@pytest.mark.parametrize("token", ["x", ""])
def test_plain_http_to_another_computer_is_warned_of(token: str) -> None:
    with pytest.warns(LimNetWarning, match="go unencrypted"):  # noqa: SIM117
        with Server(Address.of("http://pacs.invalid/dicom-web"), Connection(token=token)):
            pass


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://me:secret@pacs.example/dicom-web", "holds a user or password"),
        ("ftp://pacs.example/dicom-web", "no URL of a DICOMweb server"),
        ("pacs.example/dicom-web", "no URL of a DICOMweb server"),
        ("https://pacs.example:port/dicom-web", "no URL of a DICOMweb server"),
        ("https://pacs.example/dicom-web?token=secret", "has a part after ?"),
        ("https://pacs.example/dicom-web/studies/x", "names no study or series by its UID"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.of(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("TIMEOUT", "soon"), ("TIMEOUT", "-1"), ("MAX_GIB", "nan"), ("USER", "me")]
)
def test_a_setting_that_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}|timeout"):
        Connection.of({f"LIMNET_DICOMWEB_{name}": value})


def test_a_secret_is_in_no_representation() -> None:
    assert "secret" not in repr(Connection(user="secret", password="secret", token="secret"))


def test_an_address_in_another_place_is_refused(bad: Bad, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["serve", bad.address], ["segment", "x.nii", "--start", bad.address, "-o", "m.nii"]):
        assert main(words) == 2
        assert "fetch it first: limnet dicomweb get URL -o FOLDER" in capsys.readouterr().err
