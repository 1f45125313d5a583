"""What is kept: memory elements with their usage, in fixed amounts. Storage only; policy is the bank's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limnet.model import Elements

Array = NDArray[np.float32]


@dataclass
class Store:
    """Elements, the affinity each has received, and for how many slices it has lived."""

    elements: Elements
    received: Array = field(init=False)  # (N,)
    lived: Array = field(init=False)  # (N,) slices

    def __post_init__(self) -> None:
        count = self.elements.key.shape[1]
        self.received = np.zeros(count, np.float32)
        self.lived = np.full(count, 1e-6, np.float32)

    def __len__(self) -> int:
        return int(self.elements.key.shape[1])

    @property
    def usage(self) -> Array:
        """Affinity received per slice of life: (N,)."""
        return self.received / self.lived

    def record(self, affinity: Array) -> None:
        """Count what one slice read: (N,)."""
        self.received += affinity
        self.lived += 1

    def append(self, elements: Elements) -> None:
        """Add elements with no history."""
        self.elements = join([self.elements, elements])
        self.received = np.concatenate([self.received, np.zeros(elements.key.shape[1], np.float32)])
        self.lived = np.concatenate([self.lived, np.full(elements.key.shape[1], 1e-6, np.float32)])

    def keep(self, indices: NDArray[np.intp]) -> None:
        """Forget all elements but these."""
        self.elements = take(self.elements, indices)
        self.received, self.lived = self.received[indices], self.lived[indices]


def join(parts: list[Elements]) -> Elements:
    """Concatenate along N."""
    return Elements(*(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True)))


def take(elements: Elements, indices: NDArray[np.intp]) -> Elements:
    """The elements at `indices` (P,)."""
    return Elements(*(array[:, indices] for array in elements))
