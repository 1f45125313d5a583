"""Stage 2: a mask goes from slice to slice; slices are kept, within bounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import SIZE, CopyLimNet, FakeLimNet, box_volume, volume_of
from limnet import lens as lens_module
from limnet.lens import Seen, SliceCache, image_through, lens_at, plane_of
from limnet.memory import BankConfig, sweep_one_way
from limnet.memory.propagate import Anchor, anchor_elements
from limnet.model import Carried, Elements, LimNet, SliceFeatures
from limnet.view import whole_view
from limnet.volume import Volume

Array = NDArray[np.float32]
PROMPT = np.zeros((SIZE, SIZE), np.float32)
PROMPT[10:20, 10:20] = 1


class EvenSlices:
    """Endless slices, each as bright as its index says, a hundredth per slice."""

    def __init__(self, model: LimNet) -> None:
        self.model = model

    def __getitem__(self, index: int) -> Seen:
        size = self.model.manifest.size
        image = np.full((3, size, size), index / 100 % 1, np.float32)
        return Seen(image, self.model.query(image), 1)


def sweep(model: LimNet, path: range, start: int = 0, **settings: int) -> Iterator[tuple[int, Array]]:
    seen = EvenSlices(model)
    anchor = Anchor(start, PROMPT)
    return sweep_one_way(
        model, seen, anchor, [anchor_elements(model, seen, anchor)], path, BankConfig(**settings)
    )


def test_a_sweep_visits_its_path_once_in_order() -> None:
    assert [index for index, _ in sweep(CopyLimNet(), range(6, -1, -1), start=7)] == [6, 5, 4, 3, 2, 1, 0]


def test_a_sweep_is_lazy() -> None:
    model = CopyLimNet()
    steps = sweep(model, range(1, 1000))
    next(steps)
    next(steps)
    assert len(model.memory_lengths) == 2


def test_an_empty_path_is_no_step() -> None:
    assert list(sweep(CopyLimNet(), range(0))) == []


def test_each_slice_is_carried_from_the_one_before() -> None:
    class Recorder(CopyLimNet):
        def carry(
            self,
            image: Array,
            features: SliceFeatures,
            neighbour: Array,
            probability: Array,
            hints: Array,
            memory: Elements,
            sensory: Array,
        ) -> Carried:
            steps.append(
                (round(100 * float(image.mean())), round(100 * float(neighbour.mean())), sensory.mean())
            )
            carried = super().carry(image, features, neighbour, probability, hints, memory, sensory)
            return carried._replace(probability=probability / 2, sensory=sensory + 1)

    steps: list[tuple[int, int, float]] = []
    found = [probability.max() for _, probability in sweep(Recorder(), range(6, 9), start=5)]
    assert steps == [(6, 5, 0), (7, 6, 1), (8, 7, 2)]
    assert found == [0.5, 0.25, 0.125]


def test_memory_is_written_every_so_many_slices() -> None:
    model = CopyLimNet()
    list(sweep(model, range(1, 10), write_every=3))
    positions = (SIZE // 16) ** 2
    assert [length // positions for length in model.memory_lengths] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_memory_is_bounded_over_a_sweep_of_two_thousand_slices() -> None:
    model = CopyLimNet(size=16)
    slices, anchor = EvenSlices(model), Anchor(0, PROMPT[:16, :16])
    settings = BankConfig(write_every=1, max_anchors=2, max_slices=6, prototypes=3, max_prototypes=20)
    anchors = [anchor_elements(model, slices, anchor)] * 3
    visited = [index for index, _ in sweep_one_way(model, slices, anchor, anchors, range(1, 2000), settings)]
    assert visited == list(range(1, 2000))
    assert max(model.memory_lengths) == 2 + 5 + 20  # one position per slice


def cache_of(volume: Volume, model: LimNet, axis: int = 2) -> SliceCache:
    view = whole_view(plane_of(volume, axis), model.manifest.size)
    return SliceCache(volume, lens_at(volume, axis, 0, view), model)


def test_a_slice_is_encoded_once() -> None:
    model = FakeLimNet()
    cache = cache_of(box_volume(), model)
    first, again = cache[8], cache[8]
    assert (model.num_queries, len(cache)) == (1, 1)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.colours == 1


def test_kept_slices_stay_within_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, model = volume_of(np.random.default_rng(0).random((8, 8, 2000))), FakeLimNet(size=16)
    one = 2 * (16 * 16 + 2 + 1 + 2 + 2)  # bytes of a grey image and its features in half precision
    monkeypatch.setattr(lens_module, "MAX_BYTES", 50 * one)
    cache = cache_of(volume, model)
    for index in range(2000):
        cache[index]
        assert len(cache) <= 50
    assert len(cache) == 50
    cache[1999], cache[1950]
    assert model.num_queries == 2000  # the newest fifty were kept ...
    cache[1949]
    assert model.num_queries == 2001  # ... and no older one


def test_the_slices_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeLimNet(size=16)
    cache = cache_of(volume_of(np.random.default_rng(0).random((8, 8, 9))), model)
    monkeypatch.setattr(lens_module, "MAX_BYTES", 2 * 3 * (16 * 16 + 7))
    for index in (0, 1, 2, 0, 3):  # three fit: 1 was not used for longest
        cache[index]
    asked = model.num_queries
    cache[0], cache[2], cache[3]
    assert model.num_queries == asked
    cache[1]
    assert model.num_queries == asked + 1


def test_a_slice_is_the_same_whether_it_was_kept_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(volume_of(np.random.default_rng(0).random((8, 8, 9))), FakeLimNet(size=16))
    monkeypatch.setattr(lens_module, "MAX_BYTES", 0)
    first = cache[4]
    for index in (5, 6, 7):
        cache[index]
    again = cache[4]
    for one, other in zip((first.image, *first.features), (again.image, *again.features), strict=True):
        np.testing.assert_array_equal(one, other)


def test_grey_is_repeated_and_colours_stay() -> None:
    grey = np.random.default_rng(0).integers(0, 255, (8, 8, 4), np.uint8)
    seen = cache_of(volume_of(grey), FakeLimNet(size=16))[2]
    assert seen.colours == 1
    np.testing.assert_array_equal(seen.image, np.repeat(seen.image[:1], 3, 0))
    colours = np.stack([grey, grey // 2, 255 - grey], -1)
    seen = cache_of(volume_of(colours), FakeLimNet(size=16))[2]
    assert seen.colours == 3
    assert np.corrcoef(seen.image[0].ravel(), seen.image[2].ravel())[0, 1] < 0.9


def test_slices_are_black_outside_the_plane_and_span_the_range_inside() -> None:
    volume = volume_of(np.random.default_rng(0).normal(500, 100, (10, 6, 5)))
    lens = lens_at(volume, 2, 2, whole_view(plane_of(volume, 2), SIZE))
    image = image_through(volume, lens, 2)
    assert image.shape == (3, SIZE, SIZE)
    assert not image[:, ~lens.view.inside].any()
    inside = image[:, lens.view.inside]
    assert inside.min() < 0.1
    assert inside.max() > 0.9


@pytest.mark.parametrize(
    ("axis", "shape", "spacing"), [(0, (5, 6), (2, 3)), (1, (4, 6), (1, 3)), (2, (4, 5), (1, 2))]
)
def test_the_plane_of_an_axis_is_the_other_two(
    axis: int, shape: tuple[int, int], spacing: tuple[float, float]
) -> None:
    plane = plane_of(volume_of(np.zeros((4, 5, 6)), (1, 2, 3)), axis)
    assert (plane.shape, plane.spacing_mm) == (shape, spacing)
