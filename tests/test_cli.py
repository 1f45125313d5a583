"""The command line through `main`, in this process, with networks that need no weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import limnet
from conftest import Ball
from limnet.cli import main
from limnet.cli.evaluate import Evaluate, parse_ids
from limnet.cli.rounds import parse_click
from limnet.errors import ConfigError, PromptError
from limnet.evaluation import RoundRow, dice
from limnet.evaluation.results import read_folder

INSIDE, OUTSIDE = "20,16,6", "2,2,6"
pytestmark = pytest.mark.usefixtures("fake_networks")

Capture = pytest.CaptureFixture[str]


def width_of(picture: Path) -> int:
    with Image.open(picture) as image:
        return image.width


def test_segment_writes_the_mask_on_the_grid_of_the_volume(ball: Ball, tmp_path: Path) -> None:
    output = tmp_path / "mask.nii.gz"
    assert main(["segment", str(ball.volume), "-o", str(output), "--click", INSIDE]) == 0
    mask = limnet.read_mask(output, like=limnet.read_volume(ball.volume))
    assert dice(ball.mask, mask != 0) > 0.9


def test_every_click_is_a_round_in_the_order_given(ball: Ball, tmp_path: Path, capsys: Capture) -> None:
    clicks = ["--click", INSIDE, "--click", f"{OUTSIDE}:-", "--click", f"{INSIDE}:+"]
    assert main(["segment", str(ball.volume), "-o", str(tmp_path / "m.nrrd"), *clicks]) == 0
    rounds = [line.split()[:4] for line in capsys.readouterr().out.splitlines() if line.startswith("round")]
    assert rounds == [
        ["round", "1", "+", INSIDE],
        ["round", "2", "-", OUTSIDE],
        ["round", "3", "+", INSIDE],
    ]


def test_segment_tells_dice_when_it_knows_the_truth(ball: Ball, tmp_path: Path, capsys: Capture) -> None:
    output = str(tmp_path / "m.nii")
    words = ["segment", str(ball.volume), "-o", output, "--click", INSIDE, "--truth", str(ball.truth)]
    assert main(words) == 0
    assert re.search(r"^round 1 .* slices/s +Dice 0\.9\d\d$", capsys.readouterr().out, re.MULTILINE)


def test_segment_tells_the_volume_of_the_mask(ball: Ball, tmp_path: Path, capsys: Capture) -> None:
    output = tmp_path / "m.nii"
    assert main(["segment", str(ball.volume), "-o", str(output), "--click", INSIDE]) == 0
    voxels = np.count_nonzero(limnet.read_mask(output))
    assert f"volume  {voxels * 3 / 1000:.2f} ml" in capsys.readouterr().out


def test_clicks_of_a_prompts_file_come_first(ball: Ball, tmp_path: Path, capsys: Capture) -> None:
    prompts = tmp_path / "prompts.json"
    entries = [{"index": [20, 16, 6]}, {"index": [2, 2, 6], "positive": False, "axis": None}]
    prompts.write_text(json.dumps({"clicks": entries}))
    output = str(tmp_path / "m.mha")
    words = ["segment", str(ball.volume), "-o", output, "--click", "21,16,6", "--prompts", str(prompts)]
    assert main(words) == 0
    shown = [line.split()[2:4] for line in capsys.readouterr().out.splitlines() if line.startswith("round")]
    assert shown == [["+", INSIDE], ["-", OUTSIDE], ["+", "21,16,6"]]


def test_axis_is_where_slices_are_cut(ball: Ball, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes: list[int | None] = []
    click = limnet.Session.click

    def spy(self: limnet.Session, *args: Any, **options: Any) -> Any:
        axes.append(options["axis"])
        return click(self, *args, **options)

    monkeypatch.setattr(limnet.Session, "click", spy)
    output = str(tmp_path / "m.nii")
    assert main(["segment", str(ball.volume), "-o", output, "--click", INSIDE, "--axis", "0"]) == 0
    assert axes == [0]


def test_png_shows_a_column_per_round(ball: Ball, tmp_path: Path) -> None:
    widths = []
    for number in (1, 2):
        picture = tmp_path / f"{number}.png"
        words = ["segment", str(ball.volume), "-o", str(tmp_path / "m.nii"), "--png", str(picture)]
        assert main([*words, *["--click", INSIDE] * number]) == 0
        widths.append(width_of(picture))
    assert widths[1] > widths[0]


@pytest.mark.parametrize("words", ["1,2", "1,2,3,4", "a,b,c", "1.5,2,3", "1,2,3:x", "1,2,3:", "", ":-"])
def test_a_click_that_is_none_says_what_one_looks_like(words: str) -> None:
    with pytest.raises(PromptError, match=r"expected three whole numbers I,J,K, such as 120,88,14"):
        parse_click(words)


def test_demo_writes_mask_and_montage(tmp_path: Path, capsys: Capture) -> None:
    assert main(["demo", "--out", str(tmp_path / "new" / "demo")]) == 0
    assert (tmp_path / "new" / "demo" / "mask.nii.gz").stat().st_size > 0
    assert width_of(tmp_path / "new" / "demo" / "montage.png") > 500
    shown = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"^round (\d)", shown, re.MULTILINE)] == list(range(1, 7))
    assert len(re.findall(r" s +\d+ slices/s +Dice \d\.\d{3}$", shown, re.MULTILINE)) == 6


def test_info_describes_a_volume(ball: Ball, capsys: Capture) -> None:
    assert main(["info", str(ball.volume)]) == 0
    shown = capsys.readouterr().out
    for words in ("40 x 32 x 12", "1 x 1 x 3 mm", "LAS", "2: 12 slices across k", "int16", "grey"):
        assert words in shown


def test_info_without_a_volume_names_versions_and_weights(capsys: Capture) -> None:
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    for words in (limnet.__version__, "0.0.0-fake", "onnxruntime", "CPUExecutionProvider"):
        assert words in shown


def test_version_is_the_package_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"limnet {limnet.__version__}\n"


# ── evaluate ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def panel(ball: Ball, tmp_path: Path) -> Path:
    """A root with one set of one case."""
    root = tmp_path / "root"
    for kind, path in (("images", ball.volume), ("labels", ball.truth)):
        (root / "balls" / kind).mkdir(parents=True)
        (root / "balls" / kind / "one.nii.gz").write_bytes(path.read_bytes())
    return root


def folders(root: Path) -> list[str]:
    return ["--images", str(root / "balls" / "images"), "--labels", str(root / "balls" / "labels")]


def test_evaluate_prints_and_writes_dice_by_round(panel: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "tables"
    assert main(["evaluate", *folders(panel), "--rounds", "2", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "limnet 0.0.0-fake" in shown
    assert re.search(r"^balls +1 +0\.9\d\d +0\.9\d\d ", shown, re.MULTILINE)
    assert (out / "rounds.csv").exists()
    assert "limnet evaluate --images" in (out / "summary.md").read_text()


def rows_in(out: Path) -> list[RoundRow]:
    return [row for done in read_folder(out) for row in done.rows]


def test_evaluate_takes_rounds_and_ids_from_a_protocol_of_ones_own(panel: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text('rounds = 1\ncap = 3\n[[sets]]\nname = "balls"\nids = [1]\n')
    words = [
        "evaluate",
        str(protocol),
        "--data",
        str(panel),
        "--fusion",
        "off",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 0
    row = rows_in(tmp_path / "out")[0]
    assert (row.protocol, row.num_rounds, row.cap, row.fusion) == ("mine", 1, 3, False)


def test_the_panel_is_found_by_its_variable_and_narrowed_by_options(
    panel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNET_PANEL", str(panel))
    words = ["--method", "limnet", "--user", "random", "--seed", "3", "--rounds", "1", "--cap", "1"]
    assert main(["evaluate", "panel", *words, "--out", str(tmp_path / "out")]) == 0
    told = {
        (row.protocol, row.user, row.seed, row.num_rounds, row.fusion) for row in rows_in(tmp_path / "out")
    }
    assert told == {("panel", "random", 3, 1, True), ("panel", "random", 3, 1, False)}


def test_rounds_beyond_the_protocols_cap_raise_the_cap(panel: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text('rounds = 1\ncap = 2\n[[sets]]\nname = "balls"\n')
    words = ["evaluate", str(protocol), "--data", str(panel), "--rounds", "3", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert {(row.num_rounds, row.cap) for row in rows_in(tmp_path / "out")} == {(3, 3)}


def test_a_data_set_is_recognised_by_its_layout(panel: Path, tmp_path: Path) -> None:
    words = ["evaluate", "--data", str(panel / "balls"), "--rounds", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert {row.set_name for row in rows_in(tmp_path / "out")} == {"balls"}


def test_the_page_of_an_evaluation_holds_its_pictures(panel: Path, tmp_path: Path) -> None:
    assert main(["evaluate", *folders(panel), "--rounds", "1", "--out", str(tmp_path / "out")]) == 0
    (page,) = (tmp_path / "out").glob("*.html")
    assert page.read_text(encoding="utf-8").count("data:image/png;base64,") == 1  # there is one object
    assert (
        main(["evaluate", *folders(panel), "--rounds", "1", "--out", str(tmp_path / "o2"), "--pictures", "0"])
        == 0
    )
    (page,) = (tmp_path / "o2").glob("*.html")
    assert "data:image/png" not in page.read_text(encoding="utf-8")


def test_a_case_that_fails_is_named_and_the_exit_code_is_one(panel: Path, capsys: Capture) -> None:
    (panel / "balls" / "images" / "two.nii.gz").write_bytes(b"nonsense")
    assert main(["evaluate", *folders(panel), "--rounds", "1"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("limnet: failed: balls/two: ")
    assert "results 1, failed 1, left out 0" in shown.out


def test_a_set_that_is_absent_is_named_and_counted(panel: Path, tmp_path: Path, capsys: Capture) -> None:
    protocol = tmp_path / "mine.toml"
    protocol.write_text('rounds = 1\n[[sets]]\nname = "balls"\n[[sets]]\nname = "x"\nlayout = "btcv"\n')
    assert main(["evaluate", str(protocol), "--data", str(panel)]) == 0
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith(f"limnet: left out: x: {panel / 'x'}: BTCV abdomen (Beyond the Cranial Vault): ")
    assert "results 1, failed 0, left out 1" in shown.out


def test_an_evaluation_spells_the_command_that_repeats_it() -> None:
    command = Evaluate(images=Path("a b"), labels=Path("c"), ids="1,2", rounds=3, fusion="off")
    assert command.spelled == "limnet evaluate --images 'a b' --labels c --ids 1,2 --rounds 3 --fusion off"
    command = Evaluate(protocol="panel", method=("limnet", "grow"), seed=0, ray=True, pictures=0)
    assert (
        command.spelled == "limnet evaluate panel --method limnet --method grow --seed 0 --ray --pictures 0"
    )


@pytest.mark.parametrize("words", ["0", "1,,2", "-1", "one"])
def test_ids_that_are_none_say_what_they_look_like(words: str) -> None:
    with pytest.raises(ConfigError, match="expected label ids from 1 on, such as 1,2"):
        parse_ids(words)


# ── train ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text('network = "interaction"\nbatch = 2\n')
    return path


def test_train_hands_its_words_to_the_loop(
    recipe: Path, panel: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = pytest.importorskip("limnet.training.fit")
    calls: list[tuple[Any, ...]] = []

    def fake(recipe: Any, cases: Any, *rest: Any) -> Iterator[Any]:
        calls.append((recipe.batch, len(cases), *rest))
        yield fit.Progress(1, 0.5, 0.5, {"loss": 1.0})
        yield fit.Progress(2, 1.0, 1.0, {"dice": 0.5}, validation=True)

    monkeypatch.setattr(fit, "fit", fake)
    out = tmp_path / "run"
    words = ["train", str(recipe), "--minutes", "1", "--data", str(panel), "--out", str(out)]
    assert main(words) == 0
    assert calls == [(2, 1, out, 1.0, False, recipe.parent, 1, 1, "cpu")]
    shown = capsys.readouterr().out
    assert "1 cases" in shown
    assert "step 2  1.0 min  dice 0.5" in shown


def test_train_does_not_overwrite_a_run(recipe: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "checkpoint.json").write_text("{}")
    assert main(["train", str(recipe), "--minutes", "1", "--out", str(tmp_path)]) == 2
    assert "already holds a checkpoint; add --resume or" in capsys.readouterr().err


def test_train_without_torch_names_the_extra(
    recipe: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert main(["train", str(recipe), "--minutes", "1"]) == 2
    assert capsys.readouterr().err == "limnet: error: training needs torch: pip install 'limnet[train]'\n"
