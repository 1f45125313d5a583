"""What limnet costs: counts that an independent reader confirms, medians by hand, one process per figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import limnet
from conftest import Ball
from limnet.cli import main
from limnet.errors import CaseError, WeightsError
from limnet.evaluation import EfficiencyCase, EfficiencySettings, measure, weights_of
from limnet.evaluation.efficiency import Cost, SessionCost, count_parameters, measure_here
from limnet.model import GRAPHS

WEIGHTS = Path(limnet.__file__).parent / "weights"


@pytest.mark.parametrize("graph", GRAPHS)
def test_parameters_are_those_that_onnx_finds(graph: str) -> None:
    onnx = pytest.importorskip("onnx")
    path = WEIGHTS / f"{graph}.onnx"
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    expected = 0
    for tensor in onnx.load(path).graph.initializer:
        if tensor.dims and tensor.data_type in floats:
            size = 1
            for length in tensor.dims:
                size *= length
            expected += size
    assert count_parameters(path.read_bytes()) == expected


def test_the_networks_have_fewer_than_ten_million_parameters() -> None:
    assert 1e6 < sum(weights_of(WEIGHTS).parameters.values()) < 10e6


@pytest.mark.parametrize("data", [b"\x3a\x50abc", b"\xff", b"\x0f"])
def test_a_file_that_is_no_model_is_a_weights_error(data: bytes) -> None:
    with pytest.raises(WeightsError, match="no ONNX model"):
        count_parameters(data)


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"manifest\.json: no such file"):
        weights_of(tmp_path)


def test_costs_are_medians_over_sessions() -> None:
    sessions = [
        SessionCost(0.1, (1.0, 0.2, 0.4), (3.0, 1.0, 1.0), (10, 5, 5)),
        SessionCost(0.3, (3.0, 0.6, 0.6), (3.0, 2.0, 3.0), (10, 5, 5)),
        SessionCost(0.2, (2.0, 0.3, 0.5), (4.0, 1.0, 1.0), (10, 5, 5)),
    ]
    cost = Cost.of(2, 0.5, 100.0, sessions)
    assert (cost.threads, cost.load_seconds, cost.peak_memory_mib) == (2, 0.5, 100.0)
    assert (cost.open_seconds, cost.first_click_seconds) == (0.2, 2.0)
    assert cost.later_click_seconds == pytest.approx(0.45)  # of .2 .4 .6 .6 .3 .5
    assert cost.first_round_seconds == 6.0  # of 4, 6, 6
    assert cost.later_round_seconds == pytest.approx(1.45)  # of 1.2 1.4 2.6 3.6 1.3 1.5
    assert cost.slice_seconds == pytest.approx(0.3)  # of 3/10, 3/10, 4/10
    assert cost.later_slice_seconds == pytest.approx(0.2)  # of 2/10, 5/10, 2/10


def test_a_session_is_timed_round_by_round(ball: Ball, fake_networks: object) -> None:
    settings = EfficiencySettings(threads=(1,), rounds=2, repeats=1)
    cost = measure_here(EfficiencyCase(ball.volume, ball.truth), settings, threads=1)
    assert cost.first_round_seconds >= cost.first_click_seconds > 0
    assert cost.slice_seconds > 0


def test_an_object_that_is_not_there_is_named(ball: Ball) -> None:
    with pytest.raises(CaseError, match="no voxel has the label 5"):
        EfficiencyCase(ball.volume, ball.truth, 5).read()


def test_every_number_of_threads_has_a_process_of_its_own(ball: Ball) -> None:
    settings = EfficiencySettings(threads=(1,), rounds=1, repeats=1, warm_up=0)
    (cost,) = measure(EfficiencyCase(ball.volume, ball.truth), settings)
    assert cost.threads == 1
    assert cost.later_round_seconds != cost.later_round_seconds  # NaN: there was one round only
    assert 50 < cost.peak_memory_mib < 1000


def test_the_command_prints_and_writes_the_tables(
    ball: Ball, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "efficiency", "--images", str(ball.volume), "--labels", str(ball.truth)]
    out = tmp_path / "out"
    assert main([*words, "--rounds", "2", "--threads", "1", "--out", str(out)]) == 0
    assert re.search(r"^1 +0\.\d{3} ", capsys.readouterr().out, re.MULTILINE)
    text = (out / "efficiency.md").read_text()
    assert "limnet evaluate efficiency --images" in text
    assert (out / "efficiency.csv").read_text().startswith("threads,load_seconds,")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "grow"], "efficiency takes no --method; leave it out"),
        (["--images", "a.nii"], "give --images FILE with --labels FILE, or neither"),
        (["--images", ".", "--labels", "."], "takes one volume; expected a file"),
    ],
)
def test_words_that_do_not_fit_efficiency_are_told(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "efficiency", *words]) == 2
    assert expected in capsys.readouterr().err
