"""The table of a batch, and bad usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from batches import planned, run, table, write_folders
from conftest import Ball
from limnet.batch import read_table
from limnet.cli import main
from limnet.errors import ConfigError, OutputError

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def folders(ball: Ball, tmp_path: Path) -> Path:
    """Three volumes with a script each; and room for what comes of them."""
    return write_folders(ball, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("volume,promts\na,b\n", r"column 'promts' is not known; did you mean 'prompts'\?"),
        ("volume\na\n", "no column 'prompts'"),
        ("", "no column 'volume' and 'prompts'"),
        ("volume,prompts\na.nii,\n", "line 2: no prompts"),
        ("volume,prompts\na.nii,a.json,too many\n", "line 2: more cells than columns"),
        ("volume,prompts\na.nii,a.json\nx/a.nii,b.json\n", "two cases are called 'a'"),
        ("volume,prompts,case,out\na.nii,a.json,a,m.nii\nb.nii,b.json,b,M.nii\n", "two cases would write"),
        ("volume,prompts,out\na.nii,a.json,../m.nii\n", "must be usable as a file name"),
        ("volume,prompts,out\na.nii,a.json,m.png\n", "must end in one of nii.gz"),
        ("volume,prompts,anatomy\na.nii,a.json,livr\n", "did you mean liver"),
        ("volume,prompts,name\na.nii,a.json;b.json,x;y;z\n", "3 in column 'name' for 2 files"),
        ("volume,prompts\n", "no case: nothing to do"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_made(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_table(table(tmp_path, text))


@pytest.mark.parametrize(
    "content", [b"volume,prompts\n\xff\xfe,a\n", b"PK\x03\x04 a spreadsheet \x9c", b'volume,prompts\n"a,b']
)
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.xlsx").write_bytes(content)
    with pytest.raises(ConfigError, match="not a CSV file in UTF-8"):
        read_table(tmp_path / "table.xlsx")


def test_a_spreadsheets_csv_is_read(folders: Path) -> None:
    """With a byte-order mark, DOS line ends, capitals and a cell that holds a comma."""
    text = '\ufeffVolume,Prompts,Name\r\nscans/a.nii.gz,prompts/a.json,"Liver, left lobe"\r\n,,\r\n'
    (folders / "table.csv").write_bytes(text.encode())
    (case,) = read_table(folders / "table.csv").cases
    assert (case.name, case.names) == ("a", ("Liver, left lobe",))


def test_bad_usage_exits_with_2(folders: Path, capsys: Capture) -> None:
    for words in (["missing.csv"], [], ["--volumes", "scans"], ["--volumes", "no", "--prompts", "no"]):
        assert main(["batch", *words, "-o", str(folders / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (folders / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_line(folders: Path) -> None:
    (folders / "file").touch()
    with pytest.raises(OutputError, match="cannot be used"):
        run(planned(folders), folders / "file")
