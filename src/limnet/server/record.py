"""What is known of an annotation without loading it: record.json in its folder.

```
WORK/users/USER/ID/
    record.json     this
    journal.sqlite  every prompt and round: journal.py
    volume/         the files of an uploaded volume; absent when it was opened by path
```
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limnet.errors import ConfigError
from limnet.server.keys import write_private
from limnet.volume import Volume

FILE = "record.json"
SAMPLED = 200_000  # voxels by which the window is chosen
WINDOW = (1.0, 99.0)  # percentiles that it spans


@dataclass(frozen=True)
class Facts:
    """How a volume lies and what it holds."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: tuple[tuple[float, ...], ...]
    dtype: str
    is_rgb: bool
    sweep_axis: int
    minimum: float
    maximum: float
    low: float  # of a window that shows most voxels
    high: float
    is_dicom: bool = False  # read from a DICOM series with a place in the patient; older records do not say

    @classmethod
    def of(cls, volume: Volume) -> Facts:
        """Facts of a volume in memory."""
        array = volume.array
        step = max(1, round((array.size / SAMPLED) ** (1 / 3)))
        low, high = np.percentile(array[::step, ::step, ::step], WINDOW)
        least, most = float(array.min()), float(array.max())
        return cls(
            shape=volume.shape,
            spacing_mm=volume.spacing,
            affine=tuple(tuple(row) for row in volume.affine.tolist()),
            dtype=array.dtype.name,
            is_rgb=volume.is_rgb,
            sweep_axis=volume.sweep_axis,
            minimum=least,
            maximum=most,
            low=float(low) if low < high else least,
            high=float(high) if low < high else most,
            is_dicom=bool(volume.frame_of_reference),
        )


@dataclass(frozen=True)
class Record:
    """One annotation of one user."""

    id: str
    user: str
    name: str
    path: str | None  # of the file or folder it was opened from
    file: str | None  # name within volume/, when it was uploaded
    sha256: str  # of the voxels
    created: str  # UTC, ISO 8601
    opened: str  # likewise, the last time
    is_closed: bool
    facts: Facts

    def write(self, folder: Path) -> None:
        """Put it into the annotation's folder, whole or not at all."""
        write_private(folder / FILE, json.dumps(asdict(self), indent=1).encode())


def read_record(folder: Path) -> Record:
    """The record in a folder; ConfigError when it is damaged."""
    try:
        table: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        facts = table.pop("facts")
        for name in ("shape", "spacing_mm"):
            facts[name] = tuple(facts[name])
        facts["affine"] = tuple(tuple(row) for row in facts["affine"])
        return Record(**table, facts=Facts(**facts))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{folder / FILE}: cannot be read ({error}); restore it from a copy") from None
