"""Turns: one at a time, previews first, users in rotation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from limnet.server.turns import Turns


def order_of(wishes: list[tuple[str, bool]], served_first: str = "nobody") -> list[tuple[str, bool]]:
    """In which order those who wait get their turn, once the one that holds it lets go."""
    turns, got, threads = Turns(), [], []

    def wait(wish: tuple[str, bool]) -> None:
        with turns.turn(wish[0], preview=wish[1]):
            got.append(wish)

    with turns.turn(served_first):
        for number, wish in enumerate(wishes):
            threads.append(threading.Thread(target=wait, args=(wish,)))
            threads[-1].start()
            until(lambda number=number: turns.num_waiting == number + 1)  # type: ignore[misc]
    for thread in threads:
        thread.join(10)
    return got


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_preview_goes_before_slices_of_sweeps() -> None:
    wishes = [("ann", False), ("bob", False), ("bob", True)]
    assert order_of(wishes)[0] == ("bob", True)


def test_users_take_turns_slice_by_slice() -> None:
    wishes = [("ann", False)] * 3 + [("bob", False)] * 3
    assert [user for user, _ in order_of(wishes)] == ["ann", "bob", "ann", "bob", "ann", "bob"]


def test_who_was_just_served_waits_for_the_others() -> None:
    assert order_of([("ann", False), ("bob", False)], served_first="ann") == [("bob", False), ("ann", False)]


def test_one_users_wishes_keep_their_order() -> None:
    assert order_of([("ann", True), ("ann", False), ("ann", True)]) == [
        ("ann", True),
        ("ann", True),
        ("ann", False),
    ]


def test_never_two_at_once() -> None:
    turns, inside, most = Turns(), 0, 0

    def work(user: str) -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.turn(user):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (most, turns.num_waiting) == (1, 0)


def test_a_turn_that_fails_is_given_back() -> None:
    turns = Turns()
    try:
        with turns.turn("ann"):
            raise RuntimeError
    except RuntimeError:
        pass
    with turns.turn("bob"):
        assert turns.num_waiting == 0
