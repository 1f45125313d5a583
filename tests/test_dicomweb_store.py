"""STOW-RS: what is sent, and what counts as stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bad_dicomweb
from bad_dicomweb import (  # noqa: F401
    Bad,
    bad,
    files,
    plain,
    surroundings,
)
from limnet.cli import main


def stored(uids: list[str], failed: dict[str, int] | None = None, status: int = 200) -> bad_dicomweb.Answer:
    """The word on a store."""

    def items(values: list[dict[str, object]]) -> dict[str, object]:
        return {
            "vr": "SQ",
            "Value": [{k: {"vr": "UI", "Value": [v]} for k, v in item.items()} for item in values],
        }

    answer = {
        "00081199": items([{"00081155": uid} for uid in uids]),
        "00081198": items([{"00081155": uid, "00081197": code} for uid, code in (failed or {}).items()]),
    }
    return plain(json.dumps(answer), status=status)


@pytest.fixture
def sent(files: list[bytes], tmp_path: Path) -> list[tuple[Path, str]]:
    """Two files, and their UIDs."""
    from pydicom import dcmread

    paths = [tmp_path / f"{n}.dcm" for n in range(2)]
    for path, data in zip(paths, files, strict=False):
        path.write_bytes(data)
    return [(path, dcmread(path).SOPInstanceUID) for path in paths]


def test_a_store_sends_files_as_they_are(
    bad: Bad, sent: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad.store = stored([uid for _, uid in sent])
    assert main(["dicomweb", "store", bad.root, *(str(path) for path, _ in sent)]) == 0
    assert capsys.readouterr().out.count("stored  ") == 2
    ((path, headers, body),) = bad.requests
    assert path == "/dicom-web/studies"
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=limnet-')
    assert all(file.read_bytes() in body for file, _ in sent)


def test_what_the_server_did_not_store_is_said_with_its_reason(
    bad: Bad, sent: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    (one, first), (two, second) = sent
    bad.store = stored([first], {second: 0xA700}, status=202)
    assert main(["dicomweb", "store", bad.root, str(one), str(two)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"stored  {one}")
    assert f"{two}: {bad.root} did not store it: it is out of space (A700)" in err
    bad.store = stored([], {first: 0x0122, second: 0x0122}, status=409)
    assert main(["dicomweb", "store", bad.root, str(one), str(two)]) == 2
    assert "it does not take this kind of object (0122); nor 1 more" in capsys.readouterr().err


def test_a_file_of_which_the_server_says_nothing_counts_as_not_stored(
    bad: Bad, sent: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad.store = stored([])
    assert main(["dicomweb", "store", bad.root, str(sent[0][0])]) == 2
    assert "did not store it: it does not say why" in capsys.readouterr().err


@pytest.mark.parametrize(
    "answer", [plain("<html>", "text/html"), plain(""), plain("[]"), plain("{", status=409)]
)
def test_a_store_without_a_word_is_no_success(
    answer: bad_dicomweb.Answer, bad: Bad, sent: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bad.store = answer
    assert main(["dicomweb", "store", bad.root, str(sent[0][0])]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    assert "stored" in err


def test_only_dicom_files_are_sent(
    bad: Bad, sent: list[tuple[Path, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, good = tmp_path / "mask.nii.gz", str(sent[0][0])
    mask.write_bytes(b"not DICOM")
    for words, said in (
        ([good, str(mask)], "no DICOM file; limnet export"),
        ([good, good], "the same instance as"),
        ([str(tmp_path / "none.dcm")], "no such file"),
        ([], "nothing to store"),
    ):
        assert main(["dicomweb", "store", bad.root, *words]) == 2
        assert said in capsys.readouterr().err
    assert not bad.requests
