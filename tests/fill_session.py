"""Sessions simple enough to know every answer, cases to go with them, and methods for workers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from limnet.errors import WeightsError
from limnet.evaluation.trial import NewSession
from limnet.prompt import Voxel
from limnet.volume import Volume, write_mask


class FillSession:
    """Marks the whole bright component that is clicked: one click per component makes the mask perfect."""

    axis = 2

    def __init__(self, volume: Volume) -> None:
        self._components, _ = ndimage.label(volume.array > 50)
        self._pending: list[tuple[Voxel, bool]] = []
        self.mask: NDArray[Any] = np.zeros(volume.shape, np.uint8)

    def click(self, index: Voxel, *, positive: bool = True) -> None:
        self._pending.append((index, positive))

    def propagate(self) -> None:
        for index, positive in self._pending:
            self.mask = self.mask.copy()
            self.mask[self._components == self._components[index]] = positive
        self._pending = []


class JudgingSession(FillSession):
    """Says of slice k that its quality is k / 10, and suggests slice 2."""

    @property
    def quality(self) -> NDArray[np.float32]:
        return np.arange(self.mask.shape[2], dtype=np.float32) / 10

    def suggest_slice(self) -> int:
        return 2


class StubbornSession(FillSession):
    """Shows the masks it was given, one per round, whatever is clicked."""

    def __init__(self, volume: Volume, masks: list[NDArray[np.bool_]]) -> None:
        super().__init__(volume)
        self._masks = iter(masks)

    def propagate(self) -> None:
        self.mask = next(self._masks)


@dataclass(frozen=True)
class FillMethod:
    """FillSession, for any number of workers; with `dies_at`, the process ends when it sees that volume."""

    dies_at: str = ""
    fatal: bool = False

    def __call__(self, threads: int | None) -> NewSession:
        if self.fatal:
            raise WeightsError("no weights")
        return self._new_session

    def _new_session(self, volume: Volume) -> JudgingSession:
        if self.dies_at and self.dies_at in volume.source:
            os._exit(3)
        return JudgingSession(volume)


def two_blocks() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Object 1 is two bright blocks of 27 voxels, object 2 another block."""
    labels = np.zeros((12, 12, 6), np.uint8)
    labels[1:4, 1:4, 1:4] = 1
    labels[7:10, 1:4, 1:4] = 1
    labels[1:4, 7:10, 1:4] = 2
    return np.where(labels, 100, 10).astype(np.int16), labels


def stubborn(*sizes: int) -> Callable[[Volume], StubbornSession]:
    """Sessions whose mask covers the first `size` voxels of object 2 (27 voxels) in each round."""
    truth = two_blocks()[1] == 2
    order = np.cumsum(truth).reshape(truth.shape)
    return lambda volume: StubbornSession(volume, [truth & (order <= size) for size in sizes])


def write(path: Path, array: NDArray[Any]) -> None:
    """An array as a volume of 1 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mask(path, array, like=Volume(array, np.eye(4)))


def write_case(root: Path, name: str, set_name: str = "blocks") -> None:
    """A case of two_blocks, in a set below `root`."""
    image, labels = two_blocks()
    write(root / set_name / "images" / f"{name}.nii.gz", image)
    write(root / set_name / "labels" / f"{name}.nii.gz", labels)
