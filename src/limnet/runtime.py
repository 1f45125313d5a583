"""The runtime: graphs run by ONNX Runtime on a provider (processor, graphics card), and jobs side by side.

A network of this size gains little from a second thread inside it; two networks at once nearly double the
speed (docs/decisions/0015). So every graph runs on one thread, and `Lanes` runs independent jobs at once.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from limnet.errors import ConfigError, LimNetWarning, WeightsError

Array = NDArray[np.float32]
T = TypeVar("T")

CPU = "CPUExecutionProvider"
PROVIDERS = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
# Used unasked where offered, since somebody installed that build on purpose. CoreML is part of every macOS
# build, so it has to be asked for, as does OpenVINO, which on processors is slower here (decisions/0018).
UNASKED = ("cuda", "directml")
VARIABLE = "LIMNET_PROVIDERS"  # environment: names of PROVIDERS by comma, in order of preference
MOST_LANES = 4  # two sides of a sweep, and the next slice of each


class Lanes:
    """Runs independent jobs at once, each on one of a fixed number of threads.

    Shared by all who use the same networks. Nothing runs once `together` has returned.
    """

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()  # guards the making of the pool

    def together(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """The jobs' results, in their order; the caller's thread is one of the lanes.

        A job must not call `together` itself. An error is raised once nothing runs any more.
        """
        if self.count == 1 or len(jobs) < 2:
            return [job() for job in jobs]
        results: dict[int, T] = {}
        waiting = list(enumerate(jobs))[::-1]  # taken from the end, one at a time, by whoever is free

        def work() -> None:
            while True:
                try:
                    number, job = waiting.pop()
                except IndexError:
                    return
                try:
                    results[number] = job()
                except BaseException:
                    waiting.clear()
                    raise

        lanes = [self._workers().submit(work) for _ in range(min(self.count, len(jobs)) - 1)]
        try:
            work()
        finally:
            for lane in lanes:  # one that has not begun is not needed: another caller keeps the workers busy
                lane.cancel()
            wait(lanes)
        for lane in lanes:
            if not lane.cancelled():
                lane.result()
        return [results[number] for number in range(len(jobs))]

    def _workers(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix="limnet-lane")
            return self._pool


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def provider_names(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Keys of PROVIDERS to try, "cpu" last; without `names` what LIMNET_PROVIDERS says, else UNASKED.

    What was asked for but is not offered by the installed ONNX Runtime is left out with a LimNetWarning.
    ConfigError when a name is unknown.
    """
    asked = names if names is not None else _from_environment()
    wanted = [name.strip().lower() for name in asked] if asked is not None else list(UNASKED)
    for name in wanted:
        if name not in PROVIDERS:
            raise ConfigError(f"provider {name!r} is unknown; expected one of {', '.join(PROVIDERS)}")
    offered = offered_providers() if set(wanted) - {"cpu"} else ()
    missing = [name for name in wanted if name != "cpu" and PROVIDERS[name] not in offered]
    if missing and asked is not None:
        warnings.warn(
            f"the installed ONNX Runtime has no {', '.join(missing)}; running on what is left, install its"
            f" build for that hardware to use it",
            LimNetWarning,
            stacklevel=3,
        )
    found = [name for name in wanted if name not in missing]
    cut = (
        found.index("cpu") if "cpu" in found else len(found)
    )  # what comes after the processor is never tried
    return (*dict.fromkeys(found[:cut]), "cpu")


def offered_providers() -> tuple[str, ...]:
    """What the installed build of ONNX Runtime can run on, by its own names."""
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


class Graph:
    """One exported network, on the first of the providers that takes it; the processor takes all.

    A provider that fails, at the start or later, is left with a LimNetWarning, and the processor goes on.
    """

    def __init__(self, name: str, data: bytes, providers: Sequence[str] = ("cpu",), threads: int = 1) -> None:
        """`name` is for messages, `data` an ONNX model. WeightsError when it is none."""
        self.name = name
        self.provider = "cpu"  # a key of PROVIDERS: where it runs
        self._data = data
        self._threads = threads
        self._lock = threading.Lock()  # guards the change to the processor
        self._session = self._first_that_works(providers)

    @property
    def inputs(self) -> frozenset[str]:
        """The names of what it takes."""
        return frozenset(one.name for one in self._session.get_inputs())

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Outputs in the graph's order; may be called from several threads at once."""
        arrays = {key: np.ascontiguousarray(array, np.float32) for key, array in inputs.items()}
        session = self._session
        try:
            outputs: list[Array] = session.run(None, arrays)
        except Exception as error:
            if self.provider == "cpu" and session is self._session:
                raise
            with self._lock:
                if session is self._session:
                    self._warn(self.provider, error)
                    self._session, self.provider = self._processor(), "cpu"
            outputs = self._session.run(None, arrays)
        return outputs

    def _first_that_works(self, providers: Sequence[str]) -> Any:
        for name in providers:
            if name == "cpu":
                break
            try:
                session = new_session(self._data, [PROVIDERS[name], CPU], self._threads)
            except Exception as error:
                self._warn(name, error)
                continue
            if PROVIDERS[name] in session.get_providers():
                self.provider = name
                return session
            self._warn(name, RuntimeError("ONNX Runtime left it out, as its drivers cannot be loaded"))
        return self._processor()

    def _processor(self) -> Any:
        try:
            return new_session(self._data, [CPU], self._threads)
        except Exception as error:
            raise WeightsError(
                f"{self.name}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}"
            ) from None

    def _warn(self, provider: str, error: Exception) -> None:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(
            f"{self.name}: {provider} failed ({reason}); going on on the processor",
            LimNetWarning,
            stacklevel=4,
        )


def new_session(data: bytes, providers: Sequence[str], threads: int) -> Any:
    """An ONNX Runtime session of a model; whatever its library raises goes on to the caller."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: shape hints are noise to users
    options.intra_op_num_threads = threads
    # Six graphs and numpy share the cores: threads that spin while they wait keep the others from working.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if PROVIDERS["directml"] in providers:  # its documentation asks for both
        options.enable_mem_pattern = False
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session = onnxruntime.InferenceSession(data, options, providers=list(providers), enable_fallback=0)
    session.disable_fallback()  # ONNX Runtime's own prints to the terminal
    return session


def _from_environment() -> list[str] | None:
    names = [name for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return names or None
