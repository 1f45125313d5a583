"""What several tests share: sessions without weights, and a volume with one bright ball, as files."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

import limnet
from doubles import FakeLimNet

CENTRE = (20, 16, 6)  # of the ball, in voxels
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs ignore Ctrl-C, and so would
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the commands that the tests start and stop


@dataclass(frozen=True)
class Ball:
    """A bright ball in the dark, as files."""

    volume: Path
    truth: Path
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


@pytest.fixture
def benchmark_script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script of the benchmarks by its name; they are no package."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def fake_networks(monkeypatch: pytest.MonkeyPatch) -> FakeLimNet:
    """Sessions run on the fake wherever nobody names other weights."""
    networks = FakeLimNet(size=64)
    real: Callable[..., Any] = limnet.load_model

    def load_model(path: Path | None = None, threads: int | None = None) -> Any:
        return networks if path is None else real(path, threads)

    monkeypatch.setattr(limnet, "load_model", load_model)
    monkeypatch.setattr(limnet.session, "load_model", load_model)
    return networks


@pytest.fixture
def ball(tmp_path: Path) -> Ball:
    """40 x 32 x 12 voxels of 1 x 1 x 3 mm, the ball of radius 9 mm in their middle."""
    affine = np.array([[-1.0, 0, 0, 30], [0, 1.0, 0, -20], [0, 0, 3.0, 100], [0, 0, 0, 1]])
    grid = np.indices((40, 32, 12)) - np.array(CENTRE).reshape(3, 1, 1, 1)
    mask = ((grid * np.array([1, 1, 3]).reshape(3, 1, 1, 1)) ** 2).sum(0) <= 9**2
    noise = np.random.default_rng(0).integers(0, 100, mask.shape)
    volume, truth = tmp_path / "ball.nii.gz", tmp_path / "truth.nii.gz"
    nibabel.save(nibabel.Nifti1Image((noise + 900 * mask).astype(np.int16), affine), volume)
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), affine), truth)
    return Ball(volume, truth, mask, affine)
