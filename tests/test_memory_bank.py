"""The memory bank never exceeds its bound, forgets what is used least and keeps its anchors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from doubles import FakeLimNet
from limnet.errors import ConfigError
from limnet.memory import BankConfig, MemoryBank
from limnet.memory.bank import elements_of
from limnet.memory.store import Store, join, take
from limnet.model import Elements, SliceFeatures

HW = 4  # positions of a slice


def slice_elements(number: float, count: int = HW) -> Elements:
    """Elements whose every number is the slice's."""
    return Elements(*(np.full((channels, count), number, np.float32) for channels in (2, 1, 2, 3)))


def numbers(elements: Elements) -> list[float]:
    """The slices that elements come from."""
    for array in elements:
        np.testing.assert_array_equal(array, np.broadcast_to(elements.key[:1], array.shape))
    return elements.key[0].tolist()


def bank_of(anchors: int = 1, **settings: int) -> MemoryBank:
    return MemoryBank(
        FakeLimNet(), [slice_elements(-n) for n in range(1, anchors + 1)], BankConfig(**settings)
    )


@pytest.mark.parametrize(
    "settings",
    [{}, {"min_slices": 1, "max_slices": 2}, {"prototypes": 5, "max_prototypes": 7, "max_anchors": 2}],
)
def test_memory_never_exceeds_its_bound_on_two_thousand_slices(settings: dict[str, int]) -> None:
    bank, config, rng = bank_of(anchors=10, **settings), BankConfig(**settings), np.random.default_rng(0)
    bound = HW * (config.max_anchors + config.max_slices - 1) + config.max_prototypes
    longest = 0
    for number in range(2000):
        bank.write(slice_elements(number))
        bank.record(rng.random(len(bank)).astype(np.float32))
        assert len(bank) == bank.elements.key.shape[1] <= bound
        assert all(array.shape[1] == len(bank) for array in bank.elements)
        longest = max(longest, len(bank))
    assert longest > bound - HW * (config.max_slices - config.min_slices) - 1  # the bound is no idle promise


def test_anchors_stay_first_and_beyond_max_anchors_are_not_read() -> None:
    bank = bank_of(anchors=3, max_anchors=2, min_slices=1, max_slices=2, prototypes=2, max_prototypes=2)
    for number in range(20):
        bank.write(slice_elements(number))
        assert numbers(bank.elements)[: 2 * HW] == [-1] * HW + [-2] * HW


def test_working_memory_holds_the_newest_slices() -> None:
    bank = bank_of(min_slices=2, max_slices=4, prototypes=1)
    for number in range(3):
        bank.write(slice_elements(number))
    assert numbers(bank.elements) == [-1] * HW + [0] * HW + [1] * HW + [2] * HW
    bank.write(slice_elements(3))  # full: 0 and 1 are consolidated into one prototype
    assert numbers(bank.elements) == [-1] * HW + [0] + [2] * HW + [3] * HW


def test_the_most_used_elements_become_prototypes() -> None:
    bank = bank_of(min_slices=1, max_slices=3, prototypes=3)
    bank.write(slice_elements(0))
    bank.write(slice_elements(1))
    usage = np.zeros(3 * HW, np.float32)
    usage[HW : 2 * HW] = (0.1, 0.9, 0.2, 0.3)  # slice 0
    usage[2 * HW :] = (0.8, 0.0, 0.0, 0.1)  # slice 1
    bank.record(usage)
    bank.write(slice_elements(2))
    assert numbers(bank.elements)[HW : HW + 3] == [0, 0, 1]  # used .9, .3 and .8


def test_usage_is_counted_per_slice_of_life() -> None:
    """An element that is read half as much in a tenth of the time is the more useful one."""
    bank = bank_of(min_slices=1, max_slices=3, prototypes=HW)
    bank.write(slice_elements(0))
    for _ in range(10):
        bank.record(np.array([0] * HW + [0.2] * HW, np.float32))  # 2.0 in all
    bank.write(slice_elements(1))
    bank.record(np.array([0] * HW + [0] * HW + [1.0] * HW, np.float32))
    bank.write(slice_elements(2))
    assert numbers(bank.elements)[HW : 2 * HW] == [1] * HW


def test_long_term_memory_forgets_the_least_used_but_never_the_newest() -> None:
    bank = bank_of(min_slices=1, max_slices=2, prototypes=1, max_prototypes=2)
    for number in range(3):  # prototypes 0 and 1; working memory 2
        bank.write(slice_elements(number))
    usage = np.zeros(len(bank), np.float32)
    usage[HW : HW + 2] = (0.2, 0.7)
    bank.record(usage)
    bank.write(slice_elements(3))
    assert numbers(bank.elements)[HW : HW + 2] == [1, 2]


def test_consolidation_potentiates_over_all_candidates() -> None:
    class Recorder(FakeLimNet):
        def potentiate(self, candidates: Elements, prototypes: NDArray[np.intp]) -> Elements:
            self.asked = numbers(candidates), prototypes.tolist()
            return super().potentiate(candidates, prototypes)

    model = Recorder()
    bank = MemoryBank(model, [slice_elements(-1)], BankConfig(min_slices=1, max_slices=3, prototypes=2))
    for number in range(3):
        bank.write(slice_elements(number))
    assert model.asked == ([0] * HW + [1] * HW, [0, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_slices": 0}, "min_slices must be at least 1 and below max_slices, got 0 and 8"),
        ({"min_slices": 8}, "min_slices must be at least 1 and below max_slices, got 8 and 8"),
        ({"write_every": 0}, "write_every and max_anchors must be at least 1"),
        ({"max_anchors": 0}, "write_every and max_anchors must be at least 1"),
        ({"prototypes": 0}, "prototypes must be at least 1"),
        ({"prototypes": 2000}, "not exceed max_prototypes"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BankConfig(**settings)


def test_elements_of_a_slice_are_its_positions_in_row_order() -> None:
    key = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    features = SliceFeatures(key, key[:1] + 1, key + 2, key)
    elements = elements_of(features, key + 3)
    assert [array.shape for array in elements] == [(2, 6), (1, 6), (2, 6), (2, 6)]
    np.testing.assert_array_equal(elements.value[:, 4], key[:, 1, 1] + 3)


def test_a_store_counts_and_forgets() -> None:
    store = Store(join([slice_elements(0, 2), slice_elements(1, 1)]))
    store.record(np.array([1, 2, 3], np.float32))
    store.record(np.array([1, 0, 0], np.float32))
    np.testing.assert_allclose(store.usage, [1, 1, 1.5], rtol=1e-5)
    store.append(slice_elements(7, 2))
    assert store.usage[3:].tolist() == [0, 0]
    store.keep(np.array([1, 4]))
    assert numbers(store.elements) == [0, 7]
    np.testing.assert_allclose(store.usage, [1, 0], rtol=1e-5)


def test_take_and_join_are_inverse() -> None:
    both = join([slice_elements(1, 3), slice_elements(2, 2)])
    assert numbers(take(both, np.array([3, 0]))) == [2, 1]
    assert numbers(both) == [1, 1, 1, 2, 2]
