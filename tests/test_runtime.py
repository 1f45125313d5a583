"""Lanes and providers: what runs at once, and what happens when hardware lets one down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limnet import runtime
from limnet.cli import main
from limnet.errors import ConfigError, LimNetWarning, WeightsError
from limnet.model import LimNet, load_model
from limnet.runtime import CPU, Graph, Lanes, provider_names

CUDA = runtime.PROVIDERS["cuda"]


@pytest.fixture
def potentiate() -> bytes:
    """The smallest shipped graph."""
    with as_file(files("limnet") / "weights") as folder:
        return Path(folder / "potentiate.onnx").read_bytes()


def inputs() -> dict[str, np.ndarray]:
    ones = dict.fromkeys(("key", "prototype_key", "selection"), np.ones((1, 64, 3), np.float32))
    return {**ones, "shrinkage": np.ones((1, 1, 3), np.float32), "value": np.ones((1, 128, 3), np.float32)}


class Faulty:
    """A session on a card; its driver fails when it runs."""

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def get_inputs(self) -> list[Any]:
        return []

    def run(self, names: None, arrays: dict[str, Any]) -> list[Any]:
        raise RuntimeError("out of memory on the card\nand a long trace")


def pretend(monkeypatch: pytest.MonkeyPatch, on_card: Callable[[], Any]) -> list[Sequence[str]]:
    """A build of ONNX Runtime that offers CUDA, where a session on the card is what `on_card` gives."""
    asked: list[Sequence[str]] = []
    real = runtime.new_session

    def new_session(data: bytes, providers: Sequence[str], threads: int) -> Any:
        asked.append(providers)
        return on_card() if CUDA in providers else real(data, providers, threads)

    monkeypatch.setattr(runtime, "new_session", new_session)
    monkeypatch.setattr(runtime, "offered_providers", lambda: (CUDA, CPU))
    return asked


def fail() -> Any:
    raise RuntimeError("libcudnn is missing\nand a long trace")


# Lanes


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("jobs", [0, 1, 2, 7])
def test_results_come_in_the_order_of_the_jobs(count: int, jobs: int) -> None:
    assert Lanes(count).together([lambda n=n: n * n for n in range(jobs)]) == [n * n for n in range(jobs)]


def test_two_lanes_run_two_jobs_at_once() -> None:
    meeting = threading.Barrier(2, timeout=10)  # broken unless two threads wait at it together
    Lanes(2).together([meeting.wait, meeting.wait])


def test_whoever_is_free_takes_the_next_job() -> None:
    """Two short jobs end while the long one waits for the last of them."""
    done = threading.Event()
    Lanes(2).together([lambda: done.wait(10), lambda: None, lambda: None, done.set])
    assert done.is_set()


def test_one_lane_uses_the_callers_thread() -> None:
    assert Lanes(1).together([threading.get_ident] * 3) == [threading.get_ident()] * 3


def test_an_error_is_raised_once_nothing_runs_any_more() -> None:
    running = []

    def slow() -> None:
        running.append(1)
        threading.Event().wait(0.05)
        running.pop()

    with pytest.raises(ValueError, match="in a lane"):
        Lanes(3).together([slow, lambda: int("in a lane"), slow, slow, slow])
    assert not running


def test_lanes_shared_by_many_callers_serve_all() -> None:
    lanes, results = Lanes(2), {}

    def call(number: int) -> None:
        results[number] = lanes.together([lambda n=n: (number, n) for n in range(20)])

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert results == {number: [(number, n) for n in range(20)] for number in range(8)}


# Which providers are tried


@pytest.mark.parametrize(
    ("names", "tried"),
    [
        (["cpu"], ("cpu",)),
        (["cuda"], ("cuda", "cpu")),
        ([" CUDA ", "cpu"], ("cuda", "cpu")),
        (["cpu", "cuda"], ("cpu",)),
        (["cuda", "cuda"], ("cuda", "cpu")),
    ],
)
def test_the_processor_is_always_last(
    monkeypatch: pytest.MonkeyPatch, names: list[str], tried: tuple[str, ...]
) -> None:
    monkeypatch.setattr(runtime, "offered_providers", lambda: (CUDA, CPU))
    assert provider_names(names) == tried


def test_a_card_is_used_unasked_where_the_build_is_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    monkeypatch.setattr(runtime, "offered_providers", lambda: (CUDA, CPU))
    assert provider_names() == ("cuda", "cpu")
    monkeypatch.setattr(runtime, "offered_providers", lambda: ("CoreMLExecutionProvider", CPU))
    assert provider_names() == ("cpu",)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "offered_providers", lambda: (CUDA, CPU))
    monkeypatch.setenv(runtime.VARIABLE, "cpu")
    assert provider_names() == ("cpu",)
    assert provider_names(["cuda"]) == ("cuda", "cpu")  # an argument speaks louder


def test_an_unknown_provider_is_an_error_that_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'npu' is unknown; expected one of cpu, cuda, directml") as error:
        load_model(providers=["npu"])
    assert "\n" not in str(error.value)


def test_a_provider_that_is_not_installed_is_a_warning() -> None:
    with pytest.warns(LimNetWarning, match="the installed ONNX Runtime has no directml"):
        assert provider_names(["directml"]) == ("cpu",)


# When a provider fails


def test_a_provider_that_cannot_start_is_left_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, potentiate: bytes
) -> None:
    asked = pretend(monkeypatch, fail)
    with pytest.warns(LimNetWarning, match=r"potentiate: cuda failed \(libcudnn is missing\); going on"):
        graph = Graph("potentiate", potentiate, ("cuda", "cpu"))
    assert (graph.provider, asked) == ("cpu", [[CUDA, CPU], [CPU]])
    assert graph.run(inputs())[0].shape == (1, 128, 3)


def test_a_provider_that_was_silently_left_out_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, potentiate: bytes
) -> None:
    real = runtime.new_session
    pretend(monkeypatch, lambda: real(potentiate, [CPU], 1))
    with pytest.warns(LimNetWarning, match="its drivers cannot be loaded"):
        assert Graph("potentiate", potentiate, ("cuda", "cpu")).provider == "cpu"


def test_a_provider_that_fails_while_running_hands_over_to_the_processor(
    monkeypatch: pytest.MonkeyPatch, potentiate: bytes
) -> None:
    pretend(monkeypatch, Faulty)
    graph = Graph("potentiate", potentiate, ("cuda", "cpu"))
    assert graph.provider == "cuda"
    with pytest.warns(LimNetWarning, match=r"cuda failed \(out of memory on the card\)"):
        found = graph.run(inputs())
    np.testing.assert_array_equal(found, Graph("potentiate", potentiate).run(inputs()))
    assert graph.provider == "cpu"
    graph.run(inputs())  # no second warning


def test_a_wrong_input_is_no_providers_fault(potentiate: bytes) -> None:
    graph = Graph("potentiate", potentiate)
    with pytest.raises(ValueError, match="shrinkage"):
        graph.run({key: array for key, array in inputs().items() if key != "shrinkage"})


def test_what_is_no_graph_fails_on_every_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, fail)
    with pytest.warns(LimNetWarning), pytest.raises(WeightsError, match="ONNX Runtime cannot load it"):
        Graph("query", b"no graph", ("cuda", "cpu"))


def test_networks_on_a_card_run_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Faulty)
    with as_file(files("limnet") / "weights") as folder:
        model = LimNet(folder, 4, ["cuda"])
    assert model.lanes.count == 1
    assert model.providers == dict.fromkeys(model.manifest.graphs, "cuda")


def test_networks_on_the_processor_use_a_lane_per_thread() -> None:
    assert [load_model(threads=n).lanes.count for n in (1, 2, 3)] == [1, 2, 3]


def test_info_tells_what_each_network_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--runtime"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in load_model().manifest.graphs:
        assert f"{name} runs on" in " ".join(line for line in lines if line.endswith(" cpu"))
