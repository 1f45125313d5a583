"""An annotation: objects, locks, and whose a voxel is that several claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from doubles import CopyLimNet, FakeLimNet, box_volume
from limnet.annotation import Annotation
from limnet.errors import PromptError
from limnet.labels import Layer, labels_in
from limnet.volume.structure import COLOURS

SHAPE = (24, 24, 16)
Mask = NDArray[np.bool_]


def annotation() -> Annotation:
    return Annotation(box_volume(), CopyLimNet())


def block(low: int, high: int) -> Mask:
    """Voxels whose i is low .. high - 1."""
    mask = np.zeros(SHAPE, bool)
    mask[low:high] = True
    return mask


def claims(work: Annotation, *blocks: Mask) -> None:
    """One object after the other, each starting from a block."""
    for mask in blocks:
        work.add().session.start_from(mask)


def owners(work: Annotation) -> list[int]:
    """The label of each i, of which all voxels are alike."""
    labels = work.labels()
    assert (labels == labels[:, :1, :1]).all()
    return [int(n) for n in labels[:, 0, 0]]


def test_objects_are_numbered_named_and_coloured_in_order() -> None:
    work = annotation()
    first, second = work.add(), work.add("liver", "#ABCDEF")
    assert (first.id, first.name, first.colour) == (1, "Object 1", COLOURS[0])
    assert (second.id, second.name, second.colour) == (2, "liver", "#abcdef")
    assert work.objects == (first, second)


def test_the_colours_of_the_palette_differ() -> None:
    rgb = np.array([[int(colour[n : n + 2], 16) for n in (1, 3, 5)] for colour in COLOURS])
    apart = np.abs(rgb[:, None] - rgb[None]).sum(-1)[~np.eye(len(COLOURS), dtype=bool)]
    assert apart.min() >= 80


def test_an_id_is_never_given_twice() -> None:
    work = annotation()
    work.remove(work.add().id)
    assert work.add().id == 2


def test_what_is_not_said_stays_when_an_object_changes() -> None:
    work = annotation()
    work.add("liver")
    work.change(1, visible=False)
    after = work.change(1, name="spleen")
    assert (after.name, after.visible, after.locked) == ("spleen", False, False)
    assert work.object(1) is after


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": " "}, "expected 1 to 200 characters"),
        ({"colour": "red"}, 'expected "#rrggbb"'),
    ],
)
def test_names_and_colours_that_are_none_are_refused(change: dict[str, str], expected: str) -> None:
    work = annotation()
    work.add()
    with pytest.raises(PromptError, match=expected):
        work.change(1, **change)  # type: ignore[arg-type]


def test_an_object_that_does_not_exist_is_named() -> None:
    work = annotation()
    work.add()
    with pytest.raises(PromptError, match="object 7 does not exist; known: 1"):
        work.object(7)


def test_a_locked_object_takes_no_prompt_and_no_undo() -> None:
    work = annotation()
    session = work.add().session
    session.click((12, 12, 8))
    work.change(1, locked=True)
    for ask in (lambda: session.click((12, 12, 9)), session.propagate, session.undo, lambda: work.remove(1)):
        with pytest.raises(PromptError, match=r"object 1 \(Object 1\) is locked"):
            ask()
    work.change(1, locked=False)
    session.propagate()
    assert len(session.rounds) == 1


def test_the_networks_do_not_run_for_a_locked_object() -> None:
    model = FakeLimNet()
    work = Annotation(box_volume(), model)
    session = work.add().session
    session.click((12, 12, 8))
    work.change(1, locked=True)
    with pytest.raises(PromptError):
        next(session.sweep())
    assert model.num_queries == 0


def test_the_newest_claim_wins() -> None:
    work = annotation()
    claims(work, block(2, 10), block(8, 14))
    assert owners(work) == [0] * 2 + [1] * 6 + [2] * 6 + [0] * 10


def test_the_first_claim_wins_when_asked() -> None:
    work = annotation()
    claims(work, block(2, 10), block(8, 14))
    work.overlap = "first"
    assert owners(work) == [0] * 2 + [1] * 8 + [2] * 4 + [0] * 10


def test_a_locked_object_wins_over_newer_ones() -> None:
    work = annotation()
    claims(work, block(2, 10))
    work.change(1, locked=True)
    claims(work, block(8, 14))
    assert owners(work)[8:10] == [1, 1]


def test_of_two_locked_objects_the_newest_claim_wins() -> None:
    work = annotation()
    claims(work, block(2, 10), block(8, 14))
    work.change(1, locked=True)
    work.change(2, locked=True)
    assert owners(work)[8:10] == [2, 2]


def test_a_claim_counts_where_it_was_made() -> None:
    """Object 1 grows at its far end: where both overlap, object 2 still claimed last."""
    work = annotation()
    claims(work, block(4, 10), block(8, 14))
    work.object(1).session.start_from(block(2, 10))
    assert owners(work)[2:14] == [1] * 6 + [2] * 6


def test_undo_gives_a_voxel_back_to_who_claimed_it_before() -> None:
    work = annotation()
    claims(work, block(2, 10), block(4, 14), block(4, 12))
    assert owners(work)[4:12] == [3] * 8
    work.object(3).session.undo()
    assert owners(work)[2:14] == [1] * 2 + [2] * 10
    work.object(3).session.redo()
    assert owners(work)[4:12] == [3] * 8


def test_a_pending_prompt_claims_its_slice() -> None:
    work = annotation()
    claims(work, np.ones(SHAPE, bool))
    painted = np.zeros(SHAPE[:2], bool)
    painted[3, 4] = True
    work.add().session.paint(painted, 5)
    labels = work.labels()
    assert labels[3, 4, 5] == 2
    assert (labels == 2).sum() == 1


def test_removing_an_object_gives_its_voxels_back() -> None:
    work = annotation()
    claims(work, block(2, 10), block(8, 14))
    work.labels()
    work.remove(2)
    assert owners(work) == [0] * 2 + [1] * 8 + [0] * 14


def test_labels_beyond_255_are_wider() -> None:
    work = annotation()
    for _ in range(255):
        work.add()
    assert work.labels().dtype == np.uint8
    work.add().session.start_from(block(2, 3))
    assert work.labels().dtype == np.uint16
    assert owners(work)[2] == 256


def test_the_label_map_is_a_copy() -> None:
    work = annotation()
    claims(work, block(2, 10))
    work.labels()[...] = 9
    assert set(owners(work)) == {0, 1}


def test_an_unknown_rule_of_overlap_is_refused() -> None:
    with pytest.raises(PromptError, match='expected "newest" or "first"'):
        annotation().overlap = "last"  # type: ignore[assignment]


steps = st.tuples(
    st.sampled_from(
        ["start", "paint", "undo", "redo", "lock", "unlock", "order", "remove", "add", "propagate"]
    ),
    st.integers(1, 3),
    st.integers(0, 99),
)


def take(work: Annotation, what: str, number: int, seed: int) -> None:
    """One step; what the annotation refuses changes nothing."""
    rng = np.random.default_rng(seed)
    try:
        if what == "add":
            work.add()
        elif what == "order":
            work.overlap = "first" if seed % 2 else "newest"
        elif what == "remove":
            work.remove(number)
        elif what in ("lock", "unlock"):
            work.change(number, locked=what == "lock")
        elif what == "start":
            work.object(number).session.start_from(rng.random(SHAPE) > 0.7)
        elif what == "paint":
            work.object(number).session.paint(rng.random(SHAPE[:2]) > 0.5, seed % SHAPE[2])
        else:
            getattr(work.object(number).session, what)()
    except PromptError:
        pass


@settings(max_examples=30, deadline=None)
@given(program=st.lists(steps, min_size=1, max_size=12))
def test_labels_of_what_changed_equal_labels_from_nothing(program: list[tuple[str, int, int]]) -> None:
    work = annotation()
    claims(work, block(2, 10), block(5, 14))
    for step in program:
        take(work, *step)
        layers: list[Layer] = [work._layer(item) for item in work.objects]
        whole = labels_in(((0, 0, 0), SHAPE), layers, work.overlap == "newest", np.dtype(np.uint8))
        assert np.array_equal(work.labels(), whole)
