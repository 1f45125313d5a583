"""What a prompt leaves of its slice."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import FakeLimNet, box_volume
from limnet.session import Session

Array = NDArray[np.float32]


class Leaver(FakeLimNet):
    """Told of no object on a slice it leaves nothing; told of some, all that is bright but for the clicks."""

    def __init__(self, spot: bool = False) -> None:
        super().__init__(size=128)
        self.spot = spot  # keeps only what it is told to be object

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        if not (clicks[0] > 0).any():
            return np.zeros_like(previous)
        kept = (clicks[0] > 0) if self.spot and (clicks[1] > 0).any() else image[0] > 0.5
        return (kept & ~(clicks[1] > 0)).astype(np.float32)


@pytest.mark.parametrize("spot", [False, True])
def test_what_a_negative_click_leaves_depends_on_whether_the_object_is_there_still(spot: bool) -> None:
    session = Session(box_volume(), Leaver(spot), crossing=False, overview=False)
    session.click((12, 12, 8))
    session.propagate()
    before = session.slice_mask(6)
    assert before.any()
    after = session.click((9, 9, 6), positive=False)
    assert not after[9, 9]
    if spot:  # a spot around what it is told: the object has ended here
        assert not after.any()
    else:
        assert after.sum() > 0.5 * before.sum() and not (after & ~before).any()


def test_a_slice_without_anything_farther_than_the_click_is_left_to_the_network() -> None:
    session = Session(box_volume((12, 12, 4), (13, 13, 12)), Leaver(), crossing=False, overview=False)
    session.click((12, 12, 8))
    session.propagate()
    assert not session.click((12, 12, 6), positive=False).any()
