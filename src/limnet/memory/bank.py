"""The memory bank of one sweep: permanent anchors, working and long-term memory.

It has memory and no parameters. Its size is bounded whatever the number of slices: at most
`max_anchors` permanent and `max_slices` working slices, and `max_prototypes` elements beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limnet.errors import ConfigError
from limnet.memory.store import Store, join
from limnet.model import Elements, LimNet, SliceFeatures

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """Sizes and policy of the memory bank."""

    write_every: int = 3  # slices between two writes to working memory
    min_slices: int = 4  # of working memory kept at consolidation
    max_slices: int = 8  # reaching this triggers consolidation
    max_anchors: int = 6  # prompted slices read permanently, the nearest to the start of the sweep
    prototypes: int = 64  # elements that one consolidation keeps
    max_prototypes: int = 1024  # of long-term memory; the least used are forgotten

    def __post_init__(self) -> None:
        if not 1 <= self.min_slices < self.max_slices:
            raise ConfigError(
                f"min_slices must be at least 1 and below max_slices,"
                f" got {self.min_slices} and {self.max_slices}"
            )
        if self.write_every < 1 or self.max_anchors < 1:
            raise ConfigError("write_every and max_anchors must be at least 1")
        if not 1 <= self.prototypes <= self.max_prototypes:
            raise ConfigError("prototypes must be at least 1 and not exceed max_prototypes")


class MemoryBank:
    """What one sweep remembers."""

    def __init__(self, model: LimNet, anchors: Sequence[Elements], config: BankConfig) -> None:
        self.model = model
        self.config = config
        self.anchors = join(list(anchors[: config.max_anchors]))
        self.working: list[Store] = []  # one per written slice, oldest first
        self.long_term: Store | None = None
        self.elements = self.anchors  # all that a slice reads from: anchors, long-term, working

    def __len__(self) -> int:
        return int(self.anchors.key.shape[1]) + sum(len(store) for store in self._stores)

    def record(self, usage: Array) -> None:
        """Share out the affinity (N,) that the last read gave to each element, in their order."""
        start = int(self.anchors.key.shape[1])
        for store in self._stores:
            store.record(usage[start : start + len(store)])
            start += len(store)

    def write(self, elements: Elements) -> None:
        """Add one slice to working memory; the oldest are consolidated when it is full."""
        self.working.append(Store(elements))
        if len(self.working) >= self.config.max_slices:
            self._consolidate()
        self.elements = join([self.anchors, *(store.elements for store in self._stores)])

    @property
    def _stores(self) -> list[Store]:
        return [*([self.long_term] if self.long_term is not None else []), *self.working]

    def _consolidate(self) -> None:
        """Working -> long-term memory: the most used elements of the oldest slices become prototypes.

        Their values are averaged by affinity over all candidates (potentiation; XMem, section 3.3).
        """
        oldest = self.working[: -self.config.min_slices]
        self.working = self.working[-self.config.min_slices :]
        candidates = join([store.elements for store in oldest])
        usage = np.concatenate([store.usage for store in oldest])
        chosen = np.sort(np.argsort(-usage, kind="stable")[: self.config.prototypes])
        prototypes = self.model.potentiate(candidates, chosen)
        if self.long_term is None:
            self.long_term = Store(prototypes)
        else:
            self.long_term.append(prototypes)
        if len(self.long_term) > self.config.max_prototypes:
            new = np.arange(len(self.long_term)) >= len(self.long_term) - len(chosen)
            order = np.argsort(-np.where(new, np.inf, self.long_term.usage), kind="stable")
            self.long_term.keep(np.sort(order[: self.config.max_prototypes]))


def elements_of(features: SliceFeatures, value: Array) -> Elements:
    """One slice's features (C, h, w) and value (Cv, h, w) as h*w memory elements."""
    arrays = (features.key, features.shrinkage, features.selection, value)
    return Elements(*(np.ascontiguousarray(array.reshape(len(array), -1)) for array in arrays))
