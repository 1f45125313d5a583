"""The benchmark suite runs, and counts what it says it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def suite(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("suite")


def test_a_phantoms_object_lies_where_it_says(suite: ModuleType) -> None:
    phantom = suite.parts.Phantom(shape=(256, 256, 40), first=10, last=30)
    array = phantom.array()
    assert (array.shape, array.dtype, array.flags.f_contiguous) == ((256, 256, 40), np.int16, True)
    for share, k in ((0.0, 10), (1.0, 29)):
        place = phantom.place(share)
        assert place[2] == k
        around = (slice(place[0] - 4, place[0] + 5), slice(place[1] - 4, place[1] + 5))
        beyond = 5 if k == 10 else 34
        assert array[around][..., k].mean() > array[around][..., beyond].mean() + 40


def test_ratios_are_of_what_was_measured_in_the_same_run(suite: ModuleType) -> None:
    results = {
        "rounds": {"seconds": [0.5, 0.25], "peak_mib": 300.0},
        "click": {"later_ms": 20.0},
        "peers:nninteractive": {"seconds": 40.0, "peak_mib": 6000.0},
        "peers:xmem": {"left_out": "no torch"},
    }
    assert suite.ratios(results) == {
        "nnInteractive patch / finished first round": 80.0,
        "nnInteractive memory / memory of ten rounds": 20.0,
        "nnInteractive patch / click to preview": 2000.0,
    }


def test_a_table_has_a_row_for_every_figure(suite: ModuleType) -> None:
    rows = suite.table({"click": {"first_ms": 12.345, "view": 128}, "rounds": {"seconds": [1.0, 0.5]}})
    assert rows.splitlines()[2:] == [
        "| click | first ms | 12.3 |",
        "| click | view | 128 |",
        "| rounds | seconds | 1 0.5 |",
    ]


@pytest.mark.slow
def test_a_part_runs_and_writes_what_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "suite.py"), "--parts", "click", "--repeats", "1"]
    done = subprocess.run([*command, "--json", str(path)], check=True, capture_output=True, text=True)
    figures = json.loads(path.read_text())["results"]["click"]
    assert figures["first_ms"] > 0 and figures["num_runs"] == 1
    assert "| click | first ms |" in done.stdout
