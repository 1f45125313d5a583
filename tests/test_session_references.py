"""A click on one slice is answered with the nearest other prompted slice beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from doubles import FakeLimNet, box_volume
from limnet.answer import Neighbour, nearest
from limnet.interaction import PlaneClick, Shown, mirrored_probability
from limnet.session import Session
from limnet.view import Plane, whole_view

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Listener(FakeLimNet):
    """Keeps the last reference it was told."""

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        self.reference = reference
        return super().interaction(image, previous, clicks, hints, reference)


def clicked(*slices: int) -> Session:
    """The object of box_volume() clicked on slices in turn, each a round of its own."""
    session = Session(box_volume(), Listener(), crossing=False)
    for index in slices:
        session.click((12, 12, index))
        session.propagate()
    return session


def told(session: Session) -> Array:
    assert isinstance(session.model, Listener)
    return session.model.reference


def test_the_first_click_has_nothing_beside_it() -> None:
    session = Session(box_volume(), Listener(), crossing=False)
    session.click((12, 12, 8))
    assert not told(session).any()


def test_a_click_on_another_slice_is_shown_the_object_on_the_first_one() -> None:
    session = clicked(8)
    session.click((4, 4, 6), positive=True)
    likeness, grey, mask = told(session)
    inside = mask > 0.5
    for told_of in (likeness, grey):  # the object is bright
        assert told_of[inside].mean() > 0.8 and told_of[~inside].mean() < 0.2


def test_a_second_click_on_the_only_prompted_slice_has_nothing_beside_it() -> None:
    session = clicked(8)
    session.click((4, 4, 8))
    assert not told(session).any()


def test_a_pending_prompt_is_shown_too() -> None:
    session = Session(box_volume(), Listener(), crossing=False)
    session.click((12, 12, 8))
    session.click((12, 12, 7))
    assert told(session).any()


def test_a_box_is_answered_with_the_reference_as_well() -> None:
    session = clicked(8)
    session.box((6, 6, 6), (17, 17, 6))
    assert told(session).any()


def test_planes_across_are_shown_planes_of_rounds_before() -> None:
    session = Session(box_volume(), Listener(), crossing=True)
    for index in ((12, 12, 8), (10, 10, 7)):
        session.click(index)
        session.propagate()
    assert told(session).any()


def mask_of(size: int) -> Mask:
    mask = np.zeros((4, 4), bool)
    mask[:size, :size] = True
    return mask


def test_the_nearest_slice_that_holds_something_is_chosen() -> None:
    masks = {2: mask_of(1), 3: mask_of(1), 6: mask_of(0), 7: mask_of(2), 5: mask_of(3)}
    assert nearest([2, 5, 6, 7], 5, masks.__getitem__) == Neighbour(
        7, masks[7]
    )  # not itself, not the empty one
    assert nearest([7, 3], 5, masks.__getitem__) == Neighbour(3, masks[3])  # of two as near, the first
    assert nearest([5], 5, masks.__getitem__) is None


def test_grey_beside_colour_is_compared_in_colour() -> None:
    model = Listener()
    view = whole_view(Plane((32, 32), (1.0, 1.0)), 32)
    grey = np.full((3, 32, 32), 0.5, np.float32)
    coloured = np.stack([grey[0], grey[1], 0 * grey[2]])
    mask = np.zeros((32, 32), np.float32)
    mask[8:16, 8:16] = 1
    mirrored_probability(model, view, grey, [PlaneClick(9, 9, True)], 0 * mask, Shown(coloured, mask))
    assert model.reference.shape == (3, 32, 32)
    np.testing.assert_allclose(model.reference[1], coloured.mean(0))  # the same in every mirror
