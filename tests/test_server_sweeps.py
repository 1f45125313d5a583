"""Sweeps over a real socket: streams, listeners that come and go, cancelling, everybody else meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from annotator import API, GatedLimNet, click, events_of, listening, open_ball, sweep
from conftest import Ball
from limnet.server import sweeps

INSIDE_ABOVE = [20, 16, 7]


@pytest.fixture
def gated() -> GatedLimNet:
    return GatedLimNet()


@pytest.fixture
def client(ball: Ball, gated: GatedLimNet) -> Iterator[httpx.Client]:
    with listening(ball.volume.parent, gated) as client:
        yield client
        gated.open()


@pytest.fixture
def item(client: httpx.Client, ball: Ball) -> str:
    """An object with one pending click."""
    item = open_ball(client, ball.volume)
    click(client, item)
    return item


def start(client: httpx.Client, item: str, gated: GatedLimNet) -> None:
    """Start a sweep, and wait until it stands before its second slice."""
    assert client.post(f"{item}/sweep").status_code == 202
    assert gated.waiting.wait(10)


def wait_for(condition: object, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.01)


def state(client: httpx.Client, item: str) -> dict[str, object]:
    """The object, as its volume tells it."""
    volume, _, number = item.rsplit("/", 2)
    return next(o for o in client.get(volume).json()["objects"] if o["id"] == int(number))


def test_the_first_slice_comes_while_the_sweep_still_runs(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    start(client, item, gated)
    with client.stream("GET", f"{item}/sweep/events") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event")) == "event: slice"
        gated.open()
        assert [line for line in lines if line.startswith("event")][-1] == "event: done"


def test_everybody_is_answered_while_a_sweep_runs(
    client: httpx.Client, item: str, gated: GatedLimNet, ball: Ball
) -> None:
    start(client, item, gated)
    assert client.get(f"{API}/about").status_code == 200
    assert client.get(f"{API}/volumes").status_code == 200
    gated.open()


def test_a_late_listener_hears_everything_from_the_start(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    gated.open()
    told = sweep(client, item)
    again = [(kind, data) for _, kind, data in events_of(client.get(f"{item}/sweep/events").text)]
    assert again == told


def test_a_listener_that_comes_again_goes_on_where_it_was(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    gated.open()
    sweep(client, item)
    told = events_of(client.get(f"{item}/sweep/events").text)
    rest = client.get(f"{item}/sweep/events", headers={"Last-Event-ID": told[2][0]}).text
    assert events_of(rest) == told[3:]


def test_the_last_event_of_another_sweep_means_from_the_start(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    gated.open()
    sweep(client, item)
    old = events_of(client.get(f"{item}/sweep/events").text)[-1][0]
    click(client, item, INSIDE_ABOVE)
    sweep(client, item)
    told = events_of(client.get(f"{item}/sweep/events", headers={"Last-Event-ID": old}).text)
    assert (told[0][1], told[-1][2]["round"]["number"]) == ("slice", 2)


def test_two_listeners_hear_the_same(client: httpx.Client, item: str, gated: GatedLimNet) -> None:
    start(client, item, gated)
    heard: list[str] = []
    threads = [
        threading.Thread(target=lambda: heard.append(client.get(f"{item}/sweep/events").text))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    gated.open()
    for thread in threads:
        thread.join(10)
    assert len(heard) == 2
    assert heard[0] == heard[1]


def test_leaving_does_not_cancel(client: httpx.Client, item: str, gated: GatedLimNet) -> None:
    start(client, item, gated)
    with client.stream("GET", f"{item}/sweep/events") as stream:
        next(stream.iter_lines())
    gated.open()
    wait_for(lambda: state(client, item)["num_rounds"] == 1)


def test_cancelling_ends_within_a_slice_and_changes_nothing(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    before = state(client, item)
    start(client, item, gated)
    assert client.delete(f"{item}/sweep").json() == {"num_pending": 1}
    gated.gate.release(4)  # the slices that are being computed
    told = events_of(client.get(f"{item}/sweep/events").text)
    assert told[-1][1] == "cancelled"
    assert told[-1][2]["object"] == state(client, item) == before


def test_after_a_cancel_the_same_sweep_gives_the_round(
    client: httpx.Client, item: str, gated: GatedLimNet
) -> None:
    start(client, item, gated)
    client.delete(f"{item}/sweep")
    gated.open()
    wait_for(lambda: not state(client, item)["sweeping"])
    assert sweep(client, item)[-1][0] == "done"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/clicks", {"index": INSIDE_ABOVE}),
        ("POST", "/undo", None),
        ("POST", "/rounds/0/go", None),
        ("POST", "/sweep", None),
    ],
)
def test_what_would_spoil_a_running_sweep_is_refused(
    client: httpx.Client, item: str, gated: GatedLimNet, method: str, path: str, body: object
) -> None:
    start(client, item, gated)
    gated.open()  # a prompt waits for its turn
    gated.is_open = False
    answer = client.request(method, item + path, json=body)
    assert answer.status_code in (409, 201, 200, 202, 422)
    if answer.status_code == 409:
        assert "sweep" in answer.json()["detail"]


def test_another_object_is_swept_at_the_same_time(
    client: httpx.Client, item: str, gated: GatedLimNet, ball: Ball
) -> None:
    volume = item.rsplit("/", 2)[0]
    other = f"{volume}/objects/{client.post(f'{volume}/objects', json={}).json()['id']}"
    click(client, other)
    start(client, item, gated)
    gated.open()
    assert sweep(client, other)[-1][0] == "done"
    wait_for(lambda: state(client, item)["num_rounds"] == 1)


def test_closing_a_volume_cancels_its_sweep(client: httpx.Client, item: str, gated: GatedLimNet) -> None:
    start(client, item, gated)
    closing = threading.Thread(target=lambda: client.post(f"{item.rsplit('/', 2)[0]}/close"))
    closing.start()
    gated.open()
    closing.join(10)
    assert client.get(item.rsplit("/", 2)[0]).json()["state"] == "closed"


def test_a_silent_stream_is_kept_open(
    client: httpx.Client, item: str, gated: GatedLimNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "HEARTBEAT_SECONDS", 0.05)
    start(client, item, gated)
    with client.stream("GET", f"{item}/sweep/events") as stream:
        assert next(line for line in stream.iter_lines() if line.startswith(":")) == ": still here"
        gated.open()


def test_a_sweep_that_fails_says_so(client: httpx.Client, item: str, gated: GatedLimNet) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    gated.carry = fail  # type: ignore[method-assign, assignment]
    client.post(f"{item}/sweep")
    told = events_of(client.get(f"{item}/sweep/events").text)
    assert (told[-1][1], told[-1][2]["title"]) == ("failed", "Internal error")
    assert state(client, item)["sweeping"] is False


def test_stopping_the_server_ends_streams(ball: Ball) -> None:
    gated = GatedLimNet()
    listens, ended = threading.Event(), threading.Event()

    def follow(url: str) -> None:
        with httpx.stream("GET", url, trust_env=False) as stream:
            for _ in stream.iter_lines():
                listens.set()
        ended.set()

    with listening(ball.volume.parent, gated) as client:
        item = open_ball(client, ball.volume)
        click(client, item)
        start(client, item, gated)
        threading.Thread(target=follow, args=(f"{client.base_url}{item}/sweep/events",)).start()
        assert listens.wait(10)
        threading.Timer(0.2, gated.open).start()  # the slice that is being computed ends later
    assert ended.wait(5)
