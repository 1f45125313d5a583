"""What limnet costs: parameters, weight size, seconds per click, per round and per slice, peak memory.

Each number of threads is measured in a process of its own, so that its peak memory is its own: Python,
libraries, networks, one volume, one session. Every figure in seconds is the median over fresh sessions on
loaded networks, after one that is not counted.
"""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

import limnet
from limnet.errors import CaseError, ConfigError, WeightsError
from limnet.evaluation.peak_memory import forget_peak_memory, peak_memory_mib
from limnet.evaluation.simulated_user import simulated_user
from limnet.model import read_manifest
from limnet.volume import Volume

_WHOLE = (6, 7, 9)  # TensorProto.DataType: INT32, INT64, BOOL


@dataclass(frozen=True, kw_only=True)
class EfficiencySettings:
    """What is measured."""

    title: str = ""
    threads: tuple[int, ...] = (1, 2, 4)  # one process each
    rounds: int = 6  # of one click each, in every session
    repeats: int = 5  # sessions that are counted
    warm_up: int = 1  # sessions before them that are not
    user: str = "centre"

    def __post_init__(self) -> None:
        for name in ("rounds", "repeats"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.warm_up < 0:
            raise ConfigError(f"warm_up must not be negative, got {self.warm_up}")
        if not self.threads or min(self.threads) < 1:
            raise ConfigError(f"threads must be one or more numbers from 1 on, got {self.threads}")
        simulated_user(self.user)  # checks the name


@dataclass(frozen=True)
class Weights:
    """How large the networks are."""

    parameters: dict[str, int]  # of each graph; what two graphs share counts in both
    mib: float  # of all files together


@dataclass(frozen=True)
class SessionCost:
    """One session: what its rounds took."""

    open_seconds: float  # making it
    click_seconds: tuple[float, ...]  # per round: click -> mask of its slice
    sweep_seconds: tuple[float, ...]  # per round: from there to the mask of the volume
    num_slices: tuple[int, ...]  # per round, that its sweep yielded


@dataclass(frozen=True)
class Cost:
    """Medians over the sessions with one number of threads."""

    threads: int
    load_seconds: float  # networks from disk, once per process
    open_seconds: float
    first_click_seconds: float  # chooses the view, too
    later_click_seconds: float  # NaN when there is one round only
    first_round_seconds: float  # click and sweep; nothing is known of the slices yet
    later_round_seconds: float  # NaN, as above
    slice_seconds: float  # of the first round's sweep, in which every slice is new
    later_slice_seconds: float  # of later sweeps, in which many slices are known
    peak_memory_mib: float

    @classmethod
    def of(cls, threads: int, load_seconds: float, peak_mib: float, sessions: Sequence[SessionCost]) -> Cost:
        """Summarise counted sessions."""
        rounds = [
            [click + sweep for click, sweep in zip(s.click_seconds, s.sweep_seconds, strict=True)]
            for s in sessions
        ]
        return cls(
            threads=threads,
            load_seconds=load_seconds,
            open_seconds=median(s.open_seconds for s in sessions),
            first_click_seconds=median(s.click_seconds[0] for s in sessions),
            later_click_seconds=_median_or_nan(c for s in sessions for c in s.click_seconds[1:]),
            first_round_seconds=median(seconds[0] for seconds in rounds),
            later_round_seconds=_median_or_nan(second for seconds in rounds for second in seconds[1:]),
            slice_seconds=median(s.sweep_seconds[0] / s.num_slices[0] for s in sessions),
            later_slice_seconds=_median_or_nan(
                sum(s.sweep_seconds[1:]) / sum(s.num_slices[1:]) for s in sessions if s.num_slices[1:]
            ),
            peak_memory_mib=peak_mib,
        )


@dataclass(frozen=True)
class EfficiencyCase:
    """What is segmented: an image, its truth, and which label of it."""

    image: Path
    labels: Path
    object_id: int = 1

    def read(self) -> tuple[Volume, NDArray[np.bool_]]:
        """The volume and the object's truth (I, J, K); CaseError when that is empty."""
        volume = limnet.read_volume(self.image)
        truth = limnet.read_mask(self.labels, like=volume) == self.object_id
        if not truth.any():
            raise CaseError(f"{self.labels}: no voxel has the label {self.object_id}; give another")
        return volume, truth


def measure(
    case: EfficiencyCase, settings: EfficiencySettings, weights: Path | None = None
) -> Iterator[Cost]:
    """Measure each number of threads, in a fresh process each, as soon as the one before is done."""
    context = multiprocessing.get_context("spawn")
    for threads in settings.threads:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            yield process.submit(measure_here, case, settings, threads, weights).result()


def measure_here(
    case: EfficiencyCase, settings: EfficiencySettings, threads: int, weights: Path | None = None
) -> Cost:
    """Measure one number of threads in this process; its memory is in the figure, so it should be fresh."""
    volume, truth = case.read()
    forget_peak_memory()
    started = time.perf_counter()
    model = limnet.load_model(weights, threads=threads)
    load_seconds = time.perf_counter() - started
    sessions = [
        _session_cost(volume, truth, model, settings) for _ in range(settings.warm_up + settings.repeats)
    ]
    return Cost.of(threads, load_seconds, peak_memory_mib(), sessions[settings.warm_up :])


def weights_of(folder: Path) -> Weights:
    """Count the parameters of the networks in `folder`; WeightsError when a file is missing."""
    files = [folder / f"{name}.onnx" for name in read_manifest(folder).graphs]
    try:
        counts = {path.stem: count_parameters(path.read_bytes()) for path in files}
        size = sum(path.stat().st_size for path in files)
    except OSError as error:
        raise WeightsError(
            f"{error.filename}: cannot be read ({error.strerror}); install the weights again"
        ) from None
    return Weights(counts, size / 2**20)


def count_parameters(model: bytes) -> int:
    """Numbers in the initialisers of an ONNX model; scalars and whole numbers (shapes) do not count.

    Reads the protobuf's own wire format, since the package `onnx` is needed for training only: a model holds
    its graph in field 7, a graph its initialisers in field 5 (onnx.proto).
    """
    graphs = (value for number, value in _fields(model) if number == 7)
    tensors = (value for graph in graphs for number, value in _fields(graph) if number == 5)
    return sum(_parameters(tensor) for tensor in tensors)


def _parameters(tensor: int | bytes) -> int:
    """Numbers in a tensor: its lengths are field 1, one by one or packed together, their type is field 2."""
    lengths: list[int] = []
    for number, value in _fields(tensor):
        if number == 2 and value in _WHOLE:
            return 0
        if number == 1 and isinstance(value, int):
            lengths.append(value)
        elif number == 1 and isinstance(value, bytes):
            at = 0
            while at < len(value):
                length, at = _varint(value, at)
                lengths.append(length)
    return math.prod(lengths) if lengths else 0


def _fields(message: int | bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protobuf message's fields; WeightsError where it is none."""
    at = 0
    try:
        if isinstance(message, int):
            raise IndexError
        while at < len(message):
            tag, at = _varint(message, at)
            number, kind = tag >> 3, tag & 7
            if kind == 0:
                value, at = _varint(message, at)
                yield number, value
                continue
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + length > len(message):
                raise IndexError
            yield number, message[at : at + length]
            at += length
    except (IndexError, KeyError):
        raise WeightsError("a network's file is no ONNX model; install the weights again") from None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits per byte, the lowest first, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _session_cost(
    volume: Volume, truth: NDArray[np.bool_], model: limnet.LimNet, settings: EfficiencySettings
) -> SessionCost:
    """One fresh session, clicked on round after round, each step timed."""
    user = simulated_user(settings.user)
    started = time.perf_counter()
    session = limnet.Session(volume, model=model)
    open_seconds = time.perf_counter() - started
    clicks_took, sweeps_took, counts = [], [], []
    mask: NDArray[np.bool_] | None = None
    for _ in range(settings.rounds):
        clicks = user(truth, mask, session.axis)
        if not clicks:
            break
        started = time.perf_counter()
        for click in clicks:
            session.click(click.index, positive=click.positive)
        clicked = time.perf_counter()
        counts.append(sum(1 for _ in session.sweep()))
        sweeps_took.append(time.perf_counter() - clicked)
        clicks_took.append((clicked - started) / len(clicks))
        mask = session.mask != 0
    return SessionCost(open_seconds, tuple(clicks_took), tuple(sweeps_took), tuple(counts))


def _median_or_nan(values: Iterator[float]) -> float:
    found = list(values)
    return median(found) if found else float("nan")
