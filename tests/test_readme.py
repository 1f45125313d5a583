"""What the documents show works: Python blocks run, commands parse, links lead somewhere."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

import limnet
from limnet.cli import parse
from limnet.sample import sample_volume_path
from limnet.script import read_script

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
pytestmark = pytest.mark.usefixtures("fake_networks")


def blocks(path: Path, language: str) -> list[str]:
    """Fenced code of one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def commands() -> list[str]:
    """Every command line that a document shows."""
    shown = [block for path in DOCUMENTS for block in blocks(path, "console")]
    return [
        line.removeprefix("$ ") for block in shown for line in block.splitlines() if line.startswith("$ ")
    ]


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "README.md", "python")
    exec(block, {})  # our own README
    mask = limnet.read_mask("mask.nii.gz", like=limnet.read_volume(sample_volume_path()))
    assert mask[181, 101, 16] == 1
    assert mask[150, 60, 16] == 0


def test_the_prompts_file_of_the_readme_is_read(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "README.md", "json")
    (tmp_path / "clicks.json").write_text(block)
    clicks = read_script(tmp_path / "clicks.json").clicks
    assert [click.index for click in clicks] == [tuple(c["index"]) for c in json.loads(block)["clicks"]]


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("limnet ")])
def test_every_limnet_command_shown_parses(command: str) -> None:
    words = shlex.split(command)
    assert type(parse(words[1:])).__name__.lower() == words[1].replace("-", "")


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_every_make_target_shown_exists(command: str) -> None:
    target = command.split()[1]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_examples_run(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")


def test_the_sample_is_the_one_described() -> None:
    volume = limnet.read_volume(sample_volume_path())
    assert volume.shape == (256, 256, 25)
    assert np.allclose(volume.spacing, (0.78125, 0.78125, 6.5))
