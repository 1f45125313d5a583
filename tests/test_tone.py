"""The tone curve is monotone, uses its whole range and does not care for units."""

from __future__ import annotations

import numpy as np
import pytest

from limnet.tone import Tone

RNG = np.random.default_rng(0)
CT = np.concatenate(
    [RNG.normal(m, s, 4000) for m, s in ((-1000, 10), (-100, 20), (40, 15), (70, 10), (900, 200))]
)


def test_tone_is_monotone_and_spans_zero_to_one() -> None:
    toned = Tone.of(CT)(np.sort(CT))
    assert (np.diff(toned) >= 0).all()
    assert (toned[0], toned[-1]) == pytest.approx((0, 1), abs=1e-6)


def test_values_beyond_the_fitted_range_saturate() -> None:
    np.testing.assert_allclose(Tone.of(CT)(np.array([-1e6, 1e6])), [0, 1], atol=1e-6)


def test_tissues_that_a_plain_window_crushes_stay_apart() -> None:
    tone, span = Tone.of(CT), CT.max() - CT.min()
    soft = tone(np.array([40.0, 70.0]))
    assert soft[1] - soft[0] > 3 * 30 / span


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, -24.0), (1e-3, 5.0)])
def test_tone_does_not_care_for_units(scale: float, offset: float) -> None:
    np.testing.assert_allclose(Tone.of(CT * scale + offset)(CT * scale + offset), Tone.of(CT)(CT), atol=5e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float16, np.float64])
def test_any_dtype_and_shape_gives_float32_of_the_same_shape(dtype: type) -> None:
    values = (RNG.random((3, 4, 5)) * 200).astype(dtype)
    toned = Tone.of(values)(values)
    assert (toned.dtype, toned.shape) == (np.float32, (3, 4, 5))
    assert (np.diff(toned.ravel()[np.argsort(values.ravel(), kind="stable")]) >= 0).all()


def test_all_equal_values_become_black() -> None:
    toned = Tone.of(np.full((4, 4), -7))(np.full((4, 4), -7))
    np.testing.assert_array_equal(toned, 0)


def test_an_object_rarer_than_the_clipped_share_is_still_seen() -> None:
    values = np.zeros(10_000)
    values[:20] = 100  # 0.2 %: a hot spot in the dark
    dark, bright = Tone.of(values)(np.array([0.0, 100.0]))
    assert bright > dark
