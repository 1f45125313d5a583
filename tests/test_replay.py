"""limnet replay: masks again, from a journal; prompts of every kind from a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import limnet
from conftest import Ball
from doubles import FakeLimNet, WilfulLimNet
from limnet.annotation import Annotation
from limnet.cli import main
from limnet.journal import Journal, recompute


class OtherLimNet(WilfulLimNet):
    """Networks that see all things otherwise."""

    identity = "1.0.0-other"


Capture = pytest.CaptureFixture[str]


@pytest.fixture
def journal(ball: Ball, tmp_path: Path, fake_networks: FakeLimNet) -> Path:
    """Two objects of the ball's volume: a lasso and a corrected start, of which nothing is left over."""
    path = tmp_path / "ball.limnet"
    volume = limnet.read_volume(ball.volume)
    with Journal.create(path, volume) as opened:
        work = Annotation(volume, fake_networks, journal=opened)
        first = work.add("ball").session
        first.lasso([(8, 5, 6), (8, 27, 6), (32, 27, 6), (32, 5, 6)])
        first.propagate()
        second = work.add("corner").session
        corner = np.zeros(volume.shape, bool)
        corner[:5, :5, :5] = True
        second.start_from(corner)
        second.box((0, 0, 2), (2, 2, 2), positive=False)
        second.propagate()
    return path


def labels_of(path: Path) -> np.ndarray:  # type: ignore[type-arg]
    with Journal.open(path) as opened:
        return opened.restore(limnet.read_volume(opened.facts.source), WilfulLimNet()).labels()


def test_replay_writes_the_labels_on_the_volumes_grid(journal: Path, ball: Ball, tmp_path: Path) -> None:
    assert main(["replay", str(journal), "-o", str(tmp_path / "again.nii.gz")]) == 0
    written = limnet.read_volume(tmp_path / "again.nii.gz")
    assert np.array_equal(written.array, labels_of(journal))
    assert np.allclose(written.affine, ball.affine)


def test_replay_tells_of_every_object(journal: Path, capsys: Capture) -> None:
    assert main(["replay", str(journal)]) == 0
    told = capsys.readouterr().out
    assert "object 1 ball: 1 rounds, 1 prompts" in told
    assert "object 2 corner: 2 rounds, 1 prompts" in told


def test_prompts_run_again_give_the_same_mask(journal: Path, capsys: Capture) -> None:
    assert main(["replay", str(journal), "--recompute"]) == 0
    assert capsys.readouterr().out.count("run again: identical, voxel by voxel") == 2


def test_other_networks_give_another_mask_and_replay_says_so(
    journal: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limnet, "load_model", lambda path=None, threads=None: OtherLimNet(size=64))
    assert main(["replay", str(journal), "--recompute"]) == 1
    assert "voxels differ" in capsys.readouterr().out


def test_a_volume_that_moved_is_asked_for_and_taken(journal: Path, ball: Ball, capsys: Capture) -> None:
    moved = ball.volume.rename(ball.volume.with_name("moved.nii.gz"))
    assert main(["replay", str(journal)]) == 2
    assert "say where with --volume FILE" in capsys.readouterr().err
    assert main(["replay", str(journal), "--volume", str(moved)]) == 0


def test_another_volume_is_refused(journal: Path, ball: Ball, capsys: Capture) -> None:
    assert main(["replay", str(journal), "--volume", str(ball.truth)]) == 2
    assert "give the volume it was made for" in capsys.readouterr().err


def test_a_journal_stays_as_it_is_when_other_networks_replay_it(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = journal.read_bytes()
    monkeypatch.setattr(limnet, "load_model", lambda path=None, threads=None: OtherLimNet(size=64))
    assert main(["replay", str(journal), "--recompute"]) == 1
    assert journal.read_bytes() == before


def test_a_start_from_a_mask_is_taken_over(ball: Ball, fake_networks: FakeLimNet) -> None:
    session = limnet.Session(limnet.read_volume(ball.volume), fake_networks)
    session.start_from(ball.mask)
    assert np.array_equal(recompute(session).mask > 0, ball.mask)


def test_a_prompts_file_holds_prompts_of_every_kind(
    ball: Ball, tmp_path: Path, fake_networks: FakeLimNet, capsys: Capture
) -> None:
    prompts = [
        {"box": [[8, 5, 6], [32, 27, 6]]},
        {"scribble": [[15, 16, 5], [25, 16, 5]]},
        {"lasso": [[8, 5, 7], [8, 27, 7], [32, 27, 7], [32, 5, 7]]},
        {"click": [20, 24, 6], "positive": False},
        {"box": [[20, 2, 0], [20, 30, 11]], "axis": 0},
    ]
    (tmp_path / "prompts.json").write_text(
        json.dumps({"clicks": [{"index": [20, 16, 6]}], "prompts": prompts})
    )
    words = ["segment", str(ball.volume), "-o", str(tmp_path / "mask.nii"), "--png", str(tmp_path / "m.png")]
    assert main([*words, "--prompts", str(tmp_path / "prompts.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line[:19].rstrip() for line in told if line.startswith("round")] == [
        "round 1 + 20,16,6",
        "round 2 + 8,5,6",
        "round 3 + 15,16,5",
        "round 4 + 8,5,7",
        "round 5 - 20,24,6",
        "round 6 + 20,2,0",
    ]
    mask = limnet.read_mask(tmp_path / "mask.nii")
    assert mask[15:26, 16, 5].all()
    assert mask[20, 24, 6] == 0
