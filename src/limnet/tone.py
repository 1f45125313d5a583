"""Tone: any intensities -> [0, 1], so that every tissue in sight keeps some contrast.

A plain window wastes its range on air and bone, plain equalisation destroys the scale. The curve here
is the mean of the two, fitted to what the view shows. It is monotone: no two tissues are swapped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_STEPS = 1024  # entries of the look-up table
NUM_QUANTILES = 65  # knots of the equalising half
CLIPPED = 0.005  # share of the darkest and of the brightest values that saturate
MAX_SAMPLES = 20_000  # values looked at when fitting


@dataclass(frozen=True)
class Tone:
    """A monotone look-up table over [low, high]; values outside saturate."""

    low: float
    high: float
    table: NDArray[np.float32]  # (NUM_STEPS,), in [0, 1]

    @classmethod
    def of(cls, values: NDArray[np.generic]) -> Tone:
        """Fit to values of any shape and dtype; all-equal values map to 0."""
        flat = values.ravel()
        sample = flat[:: max(1, flat.size // MAX_SAMPLES)].astype(np.float32)
        quantiles = _quantiles(np.sort(sample), np.linspace(CLIPPED, 1 - CLIPPED, NUM_QUANTILES))
        low, high = float(quantiles[0]), float(quantiles[-1])
        linear = np.linspace(0, 1, NUM_STEPS)
        if high <= low:  # nearly all are alike: what is rare must still be seen
            low, high = float(flat.min()), float(flat.max())
            alike = high <= low
            return cls(low, low + 1 if alike else high, (linear * (not alike)).astype(np.float32))
        knots = (quantiles - low) / (high - low) + np.linspace(0, 1e-6, NUM_QUANTILES)  # strictly rising
        equalised = np.interp(linear, knots, np.linspace(0, 1, NUM_QUANTILES))
        return cls(low, high, (0.5 * linear + 0.5 * equalised).astype(np.float32))

    def __call__(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Values of any shape and dtype -> float32 in [0, 1], same shape."""
        scale = (NUM_STEPS - 1) / (self.high - self.low)
        steps = (values.astype(np.float32) - np.float32(self.low)) * np.float32(scale)
        np.clip(steps, 0, NUM_STEPS - 1, out=steps)
        return self.table[steps.astype(np.int16)]


def _quantiles(rising: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """`numpy.quantile` of sorted values, which takes five times as long as sorting them."""
    place = shares * (len(rising) - 1)
    low = np.floor(place).astype(int)
    a, b = rising[low], rising[np.minimum(low + 1, len(rising) - 1)]
    t, rise = place - low, b - a
    between: NDArray[np.float32] = np.where(t < 0.5, a + rise * t, b - rise * (1 - t)).astype(np.float32)
    return between
