"""A method of one's own before the simulated user: the same clicks, the same metrics, the same tables.

    python examples/evaluate_a_method.py

Where your own method would stand, balls around the clicks on the sample volume.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet import Volume
from limnet.evaluation import EvaluationSettings, Report, evaluate, find_set
from limnet.sample import sample_truth_path, sample_volume_path

RADIUS_MM = 15.0


class BallSession:
    """The object is what lies near a positive click, and farther from every negative one."""

    def __init__(self, volume: Volume) -> None:
        """Begin on a volume; `axis` is the one across which slices are cut and clicked on."""
        self.axis = volume.sweep_axis
        self.mask: NDArray[Any] = np.zeros(volume.shape, bool)
        self._places_mm = np.moveaxis(np.indices(volume.shape), 0, -1) * volume.spacing  # (I, J, K, 3)
        self._spacing_mm = np.array(volume.spacing)
        self._nearest_mm = {True: np.full(volume.shape, RADIUS_MM), False: np.full(volume.shape, np.inf)}

    def click(self, index: tuple[int, int, int], *, positive: bool = True) -> None:
        """Take a click."""
        distance_mm = np.linalg.norm(self._places_mm - index * self._spacing_mm, axis=-1)
        np.minimum(self._nearest_mm[positive], distance_mm, out=self._nearest_mm[positive])

    def propagate(self) -> None:
        """Make a round of the clicks taken so far."""
        nearest, farther = self._nearest_mm[True], self._nearest_mm[False]
        self.mask = (nearest < RADIUS_MM) & (nearest < farther)


sample = find_set(sample_volume_path(), sample_truth_path(), name="sample")
settings = EvaluationSettings(method="balls", fusion=False, rounds=3)
report = Report(evaluate([sample], BallSession, settings))  # out=Path("tables") would keep rounds.csv
for table in report.tables():
    print(f"{table.title}\n\n{table.markdown()}")
