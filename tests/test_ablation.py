"""Ablations: each takes out one part and nothing else."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from doubles import box_volume
from limnet.evaluation import Protocol, entries_for
from limnet.evaluation.methods.ablation import ABLATIONS
from limnet.model import Elements, LimNet, SliceFeatures
from limnet.session import Session


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_an_ablation_is_a_method_that_runs(name: str) -> None:
    (entry,) = entries_for((name,), Protocol().settings("own"))
    session = entry.method(1)(box_volume(shape=(24, 24, 16), spacing=(1, 1, 1)))
    session.click((12, 12, 8))
    session.propagate()
    assert session.mask[12, 12, 8] and entry.settings.method == name


@pytest.mark.parametrize(
    ("name", "silent"),
    [
        ("limnet-without-hints", {"hints"}),
        ("limnet-without-memory", {"memory"}),
        ("limnet-without-sensory", {"sensory"}),
        ("limnet-without-crossing", set()),
    ],
)
def test_what_an_ablation_takes_out_is_silent_and_the_rest_is_not(name: str, silent: set[str]) -> None:
    heard: dict[str, float] = {}

    class Listening(LimNet):
        def __init__(self) -> None:
            pass

        def _run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
            heard.update(
                hints=inputs["hints"].sum(),
                memory=inputs["memory_value"].sum(),
                sensory=inputs["sensory"].sum(),
            )
            return [np.zeros((1, 1, 4, 4), np.float32), inputs["sensory"], np.zeros((1, 9), np.float32)]

    model = ABLATIONS[name].model(Listening())
    model._run = Listening._run.__get__(model)  # type: ignore[method-assign]
    image, plane, memory = (
        np.ones((3, 4, 4), np.float32),
        np.ones((4, 4), np.float32),
        np.ones((2, 9), np.float32),
    )
    features = SliceFeatures(image, image, image, image)
    model.carry(image, features, image, plane, image, Elements(memory, memory, memory, memory), image)
    assert {part for part, total in heard.items() if total == 0} == silent


@pytest.mark.parametrize(
    ("name", "is_told"), [("limnet-without-reference", False), ("limnet-without-memory", True)]
)
def test_the_interaction_network_is_told_of_other_slices_unless_that_is_taken_out(
    name: str, is_told: bool
) -> None:
    class Listening(LimNet):
        def __init__(self) -> None:
            self._takes_reference = True

        def _run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
            heard.append(bool(inputs["reference"].any()))
            return [np.zeros((1, 1, 4, 4), np.float32)]

    heard: list[bool] = []
    model = ABLATIONS[name].model(Listening())
    model._run = Listening._run.__get__(model)  # type: ignore[method-assign]
    image, plane = np.ones((3, 4, 4), np.float32), np.ones((4, 4), np.float32)
    model.interaction(image, plane, image[:2], image, image)
    assert heard == [is_told]


def test_without_autozoom_slices_are_seen_whole() -> None:
    volume = box_volume(shape=(64, 80, 16), spacing=(1, 1, 1))
    views = {}
    for name in ("limnet", "limnet-without-autozoom"):
        (entry,) = entries_for((name,), Protocol().settings("own"))
        session = cast(Session, entry.method(1)(volume))
        session.click((12, 12, 8))
        session.propagate()
        views[name] = session.rounds[-1].lens.view
    assert views["limnet-without-autozoom"].is_whole and not views["limnet"].is_whole
