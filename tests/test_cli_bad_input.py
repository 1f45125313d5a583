"""Bad input gets one line that names it, exit code 2, no traceback and no half-written file."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

import limnet
from conftest import Ball
from limnet.cli import main

INSIDE = "20,16,6"
pytestmark = pytest.mark.usefixtures("fake_networks")

Capture = pytest.CaptureFixture[str]


def segment(volume: Path, output: Path, *words: str) -> list[str]:
    return ["segment", str(volume), "-o", str(output), *(words or ("--click", INSIDE))]


def the_error(capsys: Capture) -> str:
    """The only line of stderr, without its prefix."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("limnet: error: ")
    return lines[0].removeprefix("limnet: error: ")


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def truncated(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(0, 255, (30, 30, 30)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:9000])


def zero_size(path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((4, 4, 4))
    header["dim"][1:4] = (4, 0, 4)
    path.write_bytes(gzip.compress(header.binaryblock + b"\0\0\0\0"))


def singular(path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(27, dtype=np.int16).reshape(3, 3, 3), np.eye(4))
    image.header["sform_code"], image.header["qform_code"] = 1, 0
    image.header["srow_x"] = image.header["srow_y"] = (1, 0, 0, 0)
    path.write_bytes(gzip.compress(image.header.binaryblock + b"\0" * 4 + image.dataobj.tobytes()))


BAD_VOLUMES: dict[str, Callable[[Path], object]] = {
    "truncated gzip": truncated,
    "not an image": lambda path: path.write_text("name,age\nA,3\n"),
    "empty file": lambda path: path.write_bytes(b""),
    "no file": lambda path: None,
    "several volumes": lambda path: save(path, np.arange(128, dtype=np.int16).reshape(4, 4, 4, 2)),
    "zero size": zero_size,
    "all equal": lambda path: save(path, np.full((8, 8, 8), 7, np.int16)),
    "all NaN": lambda path: save(path, np.full((8, 8, 8), np.nan, np.float32)),
    "singular affine": singular,
}


@pytest.mark.parametrize("kind", BAD_VOLUMES)
@pytest.mark.parametrize("command", ["segment", "info"])
def test_a_bad_volume_is_named_in_one_line(kind: str, command: str, tmp_path: Path, capsys: Capture) -> None:
    volume, output = tmp_path / "bad.nii.gz", tmp_path / "mask.nii.gz"
    BAD_VOLUMES[kind](volume)
    words = segment(volume, output) if command == "segment" else ["info", str(volume)]
    assert main(words) == 2
    assert str(volume) in the_error(capsys)
    assert not output.exists()


def test_nan_voxels_are_background_with_a_warning_in_one_line(
    ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    array = np.asarray(nibabel.load(ball.volume).dataobj).astype(np.float32)
    array[:5], array[5, 5, 5] = np.nan, np.inf
    save(tmp_path / "nan.nii", array, ball.affine)
    output = tmp_path / "mask.nii"
    assert main(segment(tmp_path / "nan.nii", output)) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"limnet: warning: {tmp_path / 'nan.nii'}: 1,921 voxels are NaN or infinite")
    assert not limnet.read_mask(output)[:5].any()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--click", "-1,2,3"], "click (-1, 2, 3) lies outside the volume of shape (40, 32, 12)"),
        (["--click=20,16,12"], "click (20, 16, 12) lies outside"),
        (["--click", f"{INSIDE}:-"], "is negative, but nothing is segmented"),
        (["--click", "1,2"], "--click '1,2': expected three whole numbers I,J,K"),
        (["--axis", "1"], "no click to start from; add --click I,J,K or --prompts FILE"),
        (["--click", INSIDE, "--click", "99,1,1"], "click (99, 1, 1) lies outside"),
    ],
)
def test_a_bad_click_leaves_no_mask(
    words: list[str], expected: str, ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    assert main(segment(ball.volume, tmp_path / "mask.nii.gz", *words)) == 2
    assert expected in the_error(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ball.nii.gz", "truth.nii.gz"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("", "not a prompts file"),
        ("[]", "not a prompts file"),
        ("{}", "holds no prompt; expected a list 'clicks' or 'prompts'"),
        ('{"click": []}', "did you mean 'clicks'?"),
        ('{"clicks": 3}', "expected a list"),
        ('{"clicks": []}', "holds no prompt"),
        ('{"prompts": [{"positive": true}]}', "expected one of click, box, scribble and lasso, got none"),
        ('{"prompts": [{"click": [1, 2, 3], "box": [[1, 2, 3], [4, 5, 3]]}]}', "got click and box"),
        ('{"prompts": [{"click": [1, 2]}]}', "expected 3 numbers i, j, k, got 2"),
        ('{"prompts": [{"box": [[1, 2, 3]]}]}', "expected its two corners, got 1"),
        ('{"prompts": [{"box": [[1, 2, 3], [4, 5, 6]]}]}', "does not lie in one slice along axis 2"),
        ('{"prompts": [{"lasso": [[1, 2, 3], [4, 5, 3]]}]}', "lasso of 2 points: expected at least 3"),
        ('{"clicks": [[1, 2, 3]]}', "expected a table"),
        ('{"clicks": [{"index": [1, 2]}]}', "expected 3 values, got 2"),
        ('{"clicks": [{"index": [1, 2, 3.5]}]}', "expected int, got 3.5"),
        ('{"clicks": [{"index": [1, 2, 3], "positiv": true}]}', "did you mean 'positive'?"),
        ('{"clicks": [{"index": [1, 2, 3], "axis": 3}]}', "axis 3: expected 0, 1 or 2"),
        ('{"clicks": [{"index": [1, 2, 3], "axis": "k"}]}', "axis 'k': expected 0, 1 or 2"),
    ],
)
def test_a_bad_prompts_file_is_told_in_one_line(
    text: str | None, expected: str, ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    prompts = tmp_path / "prompts.json"
    if text is not None:
        prompts.write_text(text)
    assert main(segment(ball.volume, tmp_path / "mask.nii", "--prompts", str(prompts))) == 2
    assert expected in the_error(capsys)
    assert not (tmp_path / "mask.nii").exists()


@pytest.mark.parametrize("name", ["missing/mask.nii", "mask.jpg", "mask", "folder.nii"])
def test_an_output_that_cannot_be_written_is_named(
    name: str, ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "folder.nii").mkdir()
    assert main(segment(ball.volume, tmp_path / name)) == 2
    assert str(tmp_path / name) in the_error(capsys)
    assert {path.name for path in tmp_path.iterdir()} == {"ball.nii.gz", "truth.nii.gz", "folder.nii"}


def test_a_mask_that_was_there_survives_a_failure(ball: Ball, tmp_path: Path) -> None:
    output = tmp_path / "mask.nii"
    output.write_bytes(b"before")
    assert main(segment(ball.volume, output, "--click", "99,0,0")) == 2
    assert output.read_bytes() == b"before"


def test_a_truth_on_another_grid_is_refused_before_the_first_click(
    ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    save(tmp_path / "other.nii", np.ones((40, 32, 11), np.uint8), ball.affine)
    words = ["--click", INSIDE, "--truth", str(tmp_path / "other.nii")]
    assert main(segment(ball.volume, tmp_path / "mask.nii", *words)) == 2
    assert "shape (40, 32, 11) against (40, 32, 12)" in the_error(capsys)


def weights_missing(folder: Path) -> None:
    shutil.rmtree(folder)


def weights_damaged(folder: Path) -> None:
    (folder / "carry.onnx").write_bytes(b"damaged")


def weights_incomplete(folder: Path) -> None:
    (folder / "fusion.onnx").unlink()


def weights_of_another_kind(folder: Path) -> None:
    (folder / "manifest.json").write_text(json.dumps({"version": "9"}))


@pytest.mark.parametrize(
    "spoil", [weights_missing, weights_damaged, weights_incomplete, weights_of_another_kind]
)
def test_weights_that_cannot_be_used_are_named(
    spoil: Callable[[Path], None], ball: Ball, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(Path(limnet.__file__).parent / "weights", folder)
    spoil(folder)
    words = ["--click", INSIDE, "--weights", str(folder)]
    assert main(segment(ball.volume, tmp_path / "mask.nii", *words)) == 2
    assert str(folder) in the_error(capsys)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "no such recipe"),
        ('network = "interaction"\nbach = 8\n', "'bach' is not a setting; did you mean 'batch'?"),
        ('network = "interaction"\n[clip]\nsizes = 8\n', "'sizes' is not a setting; did you mean 'size'?"),
        ('network = "memory"\nbatch = "8"\n', "expected int, got '8'"),
        ("network = ", "not valid TOML"),
    ],
)
def test_a_bad_recipe_is_told_in_one_line(
    text: str | None, expected: str, tmp_path: Path, capsys: Capture
) -> None:
    recipe = tmp_path / "recipe.toml"
    if text is not None:
        recipe.write_text(text)
    out = tmp_path / "run"
    assert main(["train", str(recipe), "--minutes", "1", "--out", str(out)]) == 2
    error = the_error(capsys)
    assert expected in error
    assert str(recipe) in error
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["evaluate"], "give --images DIR with --labels DIR, or --data DIR, or a PROTOCOL and its --data"),
        (["evaluate", "--images", "."], "give --images DIR with --labels DIR and without --data"),
        (["evaluate", "table1", "--data", ".", "--ids", "1"], "leave out --ids"),
        (["evaluate", "table1", "--data", "nowhere"], "nowhere: no such folder"),
        (
            ["evaluate", "table1", "--data", "."],
            "Medical Segmentation Decathlon: not there; get a task's .tar",
        ),
        (["evaluate", "table1"], "give --data DIR: a folder that holds kits19, Task06_Lung, Task10_Colon"),
        (["evaluate", "tabel1"], "did you mean 'table1'?"),
        (["evaluate", "mine.toml"], "mine.toml: no such recipe"),
        (["evaluate", "--data", "."], "no data set that is known"),
        (["evaluate", "--data", "nowhere"], "nowhere: no such folder"),
        (["evaluate", "--images", ".", "--labels", ".", "--user", "me"], "no simulated user is called 'me'"),
        (["evaluate", "rounds", "--cap", "3", "--data", "."], "cap must be at least rounds (15), got 3"),
        (["evaluate", "--images", "nowhere", "--labels", "."], "nowhere: no such folder"),
        (["evaluate", "--images", ".", "--labels", ".", "--ids", "x"], "expected label ids from 1 on"),
        (["train", "recipe.toml", "--minutes", "0"], "--minutes must be above 0, got 0"),
    ],
)
def test_words_that_do_not_fit_together_are_told_in_one_line(
    words: list[str], expected: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text('network = "interaction"\n')
    assert main(words) == 2
    assert expected in the_error(capsys)


def test_a_baseline_that_is_not_installed_ends_the_run_before_the_first_case(
    ball: Ball, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    words = ["--images", str(ball.volume), "--labels", str(ball.truth), "--method", "geodesic"]
    assert main(["evaluate", *words]) == 2
    assert "run: pip install 'limnet[benchmark]'" in the_error(capsys)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["segmnt"],
        ["segment", "v.nii", "--click", "1,2,3"],
        ["segment", "v.nii", "-o", "m.nii", "--axis", "3"],
        ["segment", "v.nii", "-o", "m.nii", "--unknown"],
        ["segment", "v.nii", "-o", "m.nii", "--threads", "0"],
        ["evaluate", "--limit", "-1"],
        ["train", "recipe.toml"],
    ],
)
def test_usage_errors_exit_with_two_and_say_so_on_stderr(words: list[str], capsys: Capture) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.err
    assert not shown.out


def test_help_exits_with_zero(capsys: Capture) -> None:
    assert main(["segment", "--help"]) == 0
    assert "--click I,J,K[:-]" in capsys.readouterr().out


def test_ctrl_c_is_one_line_and_leaves_no_mask(
    ball: Ball, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: limnet.Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(limnet.Session, "sweep", interrupted)
    assert main(segment(ball.volume, tmp_path / "mask.nii")) == 130
    assert capsys.readouterr().err == "limnet: stopped\n"
    assert not (tmp_path / "mask.nii").exists()
