"""A bank of cases that are made while training: full of variety at once, and never the same for long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limnet.training.cases import TrainingCase

AT_ONCE = 8  # cases made before the first batch
GROW_EVERY = 4  # steps between two new cases of a bank that is not full ...
REPLACE_EVERY = 20  # ... and between two that replace others


class Bank:
    """Cases of one source: a few made at once, then one every few steps; a full bank has one replaced."""

    def __init__(
        self, make: Callable[[], TrainingCase], size: int, rng: np.random.Generator, made: int = AT_ONCE
    ) -> None:
        """`make` makes one case; `made` of at most `size` exist before the first batch."""
        self.cases: list[TrainingCase] = []
        self._make = make
        self._size = size
        self._made = min(made, size)
        self._rng = rng

    def refresh(self, step: int) -> None:
        """What is due before batch number `step`, from 0."""
        while len(self.cases) < self._made:
            self.cases.append(self._make())
        if len(self.cases) < self._size and step % GROW_EVERY == 0:
            self.cases.append(self._make())
        elif step % REPLACE_EVERY == 0:
            case = self._make()
            self.cases[self._rng.integers(len(self.cases))] = case
