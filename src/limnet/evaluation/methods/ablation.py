"""Ablations: limnet with one part taken out as it runs, to see what the part does.

The networks were trained with the part; trained without it they would have learned to do better without. So
what is lost here is the most that the part can be worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from limnet.law import Placed
from limnet.lens import Lens, lens_at, plane_of
from limnet.memory import BankConfig
from limnet.model import Carried, Elements, LimNet, SliceFeatures
from limnet.prompt import Prompt
from limnet.session import Session
from limnet.view import whole_view
from limnet.volume import Volume

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Ablated(LimNet):
    """The networks of a model, some of whose inputs are silenced."""

    def __init__(
        self,
        model: LimNet,
        *,
        hints: bool = True,
        reference: bool = True,
        memory: bool = True,
        sensory: bool = True,
    ) -> None:
        self.__dict__.update(model.__dict__)  # the same graphs and lanes
        self._hints, self._reference, self._memory, self._sensory = hints, reference, memory, sensory

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        """As of the model, perhaps without hints, perhaps without a reference."""
        hints = hints if self._hints else np.zeros_like(hints)
        reference = reference if self._reference else np.zeros_like(reference)
        return super().interaction(image, previous, clicks, hints, reference)

    def carry(
        self,
        image: Array,
        features: SliceFeatures,
        neighbour: Array,
        probability: Array,
        hints: Array,
        memory: Elements,
        sensory: Array,
    ) -> Carried:
        """As of the model, perhaps without hints, what memory holds, or sensory memory."""
        if not self._hints:
            hints = np.zeros_like(hints)
        if not self._memory:
            memory = memory._replace(value=np.zeros_like(memory.value))
        if not self._sensory:
            sensory = np.zeros_like(sensory)
        return super().carry(image, features, neighbour, probability, hints, memory, sensory)


class UnzoomedSession(Session):
    """A session that always sees whole slices along its axis; planes across are seen as ever."""

    def _give(self, prompt: Prompt, axis: int) -> Mask:
        self._asked = Placed(axis, prompt)
        return super()._give(prompt, axis)

    def _current_lens(self) -> Lens:
        axis, index = self._asked.axis, self._asked.index
        view = whole_view(plane_of(self.volume, axis), self.model.manifest.size)
        return super()._current_lens() or lens_at(self.volume, axis, index, view)


@dataclass(frozen=True)
class Ablation:
    """What is taken out: of the networks, and of a session."""

    model: Callable[[LimNet], LimNet] = lambda model: model
    crossing: bool = True
    overview: bool = True
    memory: BankConfig | None = None
    autozoom: bool = True

    def session(self, model: LimNet, volume: Volume, fusion: bool) -> Session:
        """A session without it; `model` is already ablated."""
        kind = Session if self.autozoom else UnzoomedSession
        return kind(
            volume,
            model=model,
            fusion=fusion,
            crossing=self.crossing,
            overview=self.overview,
            memory=self.memory,
        )


def _at_size(model: LimNet, size: int) -> LimNet:
    """The same networks behind a view of another size, in pixels."""
    changed = Ablated(model)
    changed.manifest = replace(model.manifest, size=size)
    return changed


def _at_threshold(model: LimNet, threshold: float) -> LimNet:
    changed = Ablated(model)
    changed.manifest = replace(model.manifest, threshold=threshold)
    return changed


# Long-term memory shrinks to one element, the least a bank may keep.
ABLATIONS: Mapping[str, Ablation] = {
    "limnet-without-crossing": Ablation(crossing=False),
    "limnet-without-overview": Ablation(overview=False),
    "limnet-without-hints": Ablation(partial(Ablated, hints=False)),
    "limnet-without-reference": Ablation(partial(Ablated, reference=False)),
    "limnet-without-memory": Ablation(partial(Ablated, memory=False)),
    "limnet-without-sensory": Ablation(partial(Ablated, sensory=False)),
    "limnet-without-long-term": Ablation(memory=BankConfig(prototypes=1, max_prototypes=1)),
    "limnet-without-autozoom": Ablation(autozoom=False),
    "limnet-at-96": Ablation(partial(_at_size, size=96)),
    "limnet-at-192": Ablation(partial(_at_size, size=192)),
    "limnet-tau-0.2": Ablation(partial(_at_threshold, threshold=0.2)),
    "limnet-tau-0.6": Ablation(partial(_at_threshold, threshold=0.6)),
}
