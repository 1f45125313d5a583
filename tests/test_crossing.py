"""Crossing: where two of three sweeps agree, the mask changes."""

from __future__ import annotations

import numpy as np
import pytest

from doubles import CopyLimNet, FakeLimNet, WilfulLimNet, box_volume, volume_of
from limnet.crossing import MOST_ANISOTROPY, Crossing, Found, crosses, planes_across, point_of
from limnet.fusion import Change
from limnet.law import Placed
from limnet.prompt import Box, Click, Lasso, Painted, Prompt, Scribble, Voxel
from limnet.session import Session
from limnet.volume import Volume

INSIDE = (12, 12, 8)  # of the box of box_volume(): voxels 8 .. 15, 8 .. 15, 4 .. 11


def box_truth(volume: Volume) -> np.ndarray:  # type: ignore[type-arg]
    return (volume.array > 50).astype(np.uint8)


def session_of(volume: Volume | None = None, crossing: bool = True, fusion: bool = False) -> Session:
    networks = CopyLimNet(size=128)  # of the first click's mask, too, no voxel is lost
    return Session(volume or box_volume(), networks, fusion=fusion, crossing=crossing)


def test_three_sweeps_that_all_overrun_agree_on_the_object() -> None:
    alone, session = session_of(crossing=False), session_of()
    for one in (alone, session):
        one.click(INSIDE)
        one.propagate()
    assert alone.mask[12, 12].all()  # copied to both ends of the volume
    np.testing.assert_array_equal(session.mask, box_truth(session.volume))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_so_they_do_from_a_slice_of_any_axis(axis: int) -> None:
    session = session_of()
    session.click(INSIDE, axis=axis)
    session.propagate()
    np.testing.assert_array_equal(session.mask, box_truth(session.volume))


@pytest.mark.parametrize("length", [60, 73, 97])
def test_a_large_object_is_seen_at_every_second_to_fourth_plane(length: int) -> None:
    volume = box_volume((8, 8, 4), (8 + length, 20, 40), (length + 17, 28, 48), (1, 1, 1.5))
    session = Session(volume, CopyLimNet(size=128), fusion=False)
    session.click((8 + length // 2, 12, 20))
    session.propagate()
    truth = box_truth(volume)
    both = 2 * (session.mask & truth).sum() / (session.mask.sum() + truth.sum())
    assert both > 0.9  # its ends along the first axis are known to within the step


def test_planes_between_those_that_are_seen_get_what_the_one_before_got() -> None:
    volume = box_volume((8, 8, 4), (48, 20, 12), (71, 28, 16))
    before, first = np.zeros(volume.shape, np.uint8), Change.of((0, 0, 0), volume.array > 50)
    found = Found.of(before, None, first)
    assert found is not None and found.length(0) == 40
    session = session_of(volume)
    session.click((40, 12, 8))
    crossing = Crossing(session.model, volume, session._task(), 0, found)
    assert crossing.planes == range(0, 58, 2) and crossing.volume.shape == (29, 28, 16)
    for _ in crossing.run([], [Click((41, 12, 8))]):
        pass
    flipped = np.zeros(volume.shape, np.uint8)
    crossing.change.apply(flipped)
    np.testing.assert_array_equal(flipped[0:58:2], flipped[1:59:2])
    np.testing.assert_array_equal(flipped[40], box_truth(volume)[40])


@pytest.mark.parametrize(
    ("held", "length", "planes"),
    [
        ((10, 20), 40, range(6, 24)),  # at least four beyond
        ((2, 30), 33, range(33)),
        ((20, 50), 200, range(12, 58)),  # a quarter of its length
        ((20, 80), 200, range(5, 95, 3)),
    ],
)
def test_planes_are_seen_a_little_beyond_the_object(
    held: tuple[int, int], length: int, planes: range
) -> None:
    found = Found((held[0], 0, 0), np.ones((held[1] - held[0], 4, 4), bool))
    assert planes_across(found, 0, length) == planes


def test_prompted_slices_stay_as_they_were_prompted() -> None:
    session = session_of()
    painted = np.zeros((24, 24), np.uint8)
    painted[2:20, 3:9] = 1
    session.paint(painted, 8)
    session.propagate()
    np.testing.assert_array_equal(session.slice_mask(8), painted > 0)
    session.click((12, 12, 5))
    session.propagate()
    np.testing.assert_array_equal(session.slice_mask(8), painted > 0)


def test_the_round_tells_what_came_across() -> None:
    session = session_of()
    session.click(INSIDE)
    done = session.propagate()
    changed = done.provenance == 0
    np.testing.assert_array_equal(changed, box_truth(session.volume).any((0, 1)))
    assert done.carried[8] == 0 and done.carried[11] == 3


def test_while_it_crosses_the_prompted_slice_comes_again_and_corrected_slices_come_last() -> None:
    session = session_of()
    session.click(INSIDE)
    seen = list(session.sweep())
    last = {item.index: item.mask for item in seen}
    for index, mask in last.items():
        np.testing.assert_array_equal(mask, session.slice_mask(index))
    numbers = [item.index for item in seen]
    assert numbers.count(8) > 10 and set(numbers) == set(range(16))


@pytest.mark.parametrize("again", [False, True])
def test_a_slice_on_which_nothing_is_agreed_keeps_its_provenance(again: bool) -> None:
    session = session_of()
    session.click(INSIDE)
    done = session.propagate()
    if again:
        session.click((10, 10, 6))
        done = session.propagate()
    assert (done.provenance[:4] == -1).all() and (done.carried[12:] == -1).all()


def test_a_sweep_closed_while_it_crosses_has_changed_nothing() -> None:
    session = session_of()
    session.click(INSIDE)
    before, total = session.mask, sum(1 for _ in session_sweep(session))
    assert total > 20
    for count in (17, 20, total - 1):
        other = session_of()
        other.click(INSIDE)
        sweep = other.sweep()
        for _ in range(count):
            next(sweep)
        sweep.close()  # type: ignore[attr-defined]  # a generator
        assert other.rounds == () and (other.mask == before).all()


def session_sweep(session: Session) -> list[object]:
    return list(session.sweep())


def test_fusion_is_asked_across_too() -> None:
    keeps, takes = (
        Session(box_volume(), FakeLimNet(preference=preference), fusion=True) for preference in (1.0, 0.0)
    )
    for session in (keeps, takes):
        session.click(INSIDE)
        session.propagate()
    np.testing.assert_array_equal(takes.mask, box_truth(takes.volume))
    assert keeps.slice_mask(8).sum() == 64
    assert keeps.mask.sum() == 64 + 7  # and the line in which the two planes through the click meet


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((24, 24, 16), (1, 1, 1), True),
        ((24, 24, 16), (1, 1, MOST_ANISOTROPY), True),
        ((24, 24, 16), (1, 1, 1.01 * MOST_ANISOTROPY), False),
        ((24, 24, 7), (1, 1, 1), False),
    ],
)
def test_thick_slices_and_thin_volumes_are_not_crossed(
    shape: Voxel, spacing: tuple[float, ...], expected: bool
) -> None:
    assert crosses(volume_of(np.zeros(shape, np.int16), spacing), 2) is expected


def test_a_video_is_not_crossed() -> None:
    assert not crosses(volume_of(np.zeros((24, 24, 16, 3), np.uint8)), 2)


def test_without_crossing_networks_see_one_axis_only() -> None:
    thick = box_volume(spacing=(1, 1, 5))
    masks = []
    for volume, crossing in ((thick, True), (thick, False)):
        session = session_of(volume, crossing)
        session.click(INSIDE)
        session.propagate()
        masks.append(session.mask)
    np.testing.assert_array_equal(*masks)


ELLIPSE = np.hypot(*(np.indices((24, 24)) - 10)) < 5


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Click((3, 4, 5)), Click((3, 4, 5))),
        (Click((3, 4, 5), False), Click((3, 4, 5), False)),
        (Scribble(((1, 1, 5), (2, 3, 5), (9, 9, 5)), False), Click((2, 3, 5), False)),
        (Box((4, 6, 5), (8, 10, 5)), Click((6, 8, 5))),
        (Box((4, 6, 5), (8, 10, 5), False), None),
        (Lasso(((4, 6, 5), (8, 6, 5), (8, 10, 5), (4, 10, 5)), False), None),
        (Painted.of(ELLIPSE, 2, 5), Click((10, 10, 5))),
        (Painted.of(np.zeros((24, 24), bool), 2, 5), None),
    ],
)
def test_where_prompts_are_seen_across_their_slice(prompt: Prompt, expected: Click | None) -> None:
    assert point_of(Placed(2, prompt), (24, 24, 16)) == expected


def test_the_same_prompts_give_the_same_mask() -> None:
    noise = volume_of(np.random.default_rng(0).random((16, 14, 12)).astype(np.float32), (1, 1, 1.5))
    masks = []
    for _ in range(2):
        session = Session(noise, WilfulLimNet())
        for index in ((8, 7, 6), (4, 4, 9), (10, 10, 3)):
            session.click(index)
            session.propagate()
        masks.append(session.mask)
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()


def test_quality_is_doubted_where_the_sweeps_differ() -> None:
    session = Session(box_volume(), CopyLimNet(quality=0.6, size=128), fusion=False)
    session.click(INSIDE)
    session.propagate()
    # on a slice of the box the own mask fills 8 x 8, the others, as far as planes are seen, 8 x 16 and
    # 16 x 8: Dice 2/3, 2/3 and 1/2; its border, half a pixel of the view, is doubted a little
    np.testing.assert_allclose(session.quality[4:12], np.sqrt(0.6 * 11 / 18), atol=0.02)
    # beyond it the own mask is alone: of three pairs only one is alike
    np.testing.assert_allclose(session.quality[np.r_[0:4, 12:16]], np.sqrt(0.6 / 3), atol=0.02)
