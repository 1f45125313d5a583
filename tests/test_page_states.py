"""The page when things are not as usual: no server, another server, a refusal, the dark, a small screen."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from page_driver import PATIENCE, Browser, Hand, Server, browser, hand, server, wait_until, write_ball  # noqa: F401

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.slow  # a browser that draws in software

WEB = Path(__file__).parents[1] / "web"
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


@pytest.fixture
def ball(hand: Hand, server: Server, tmp_path: Path) -> Hand:
    """The page with a bright ball, segmented once."""
    hand.open(server.upload(write_ball(tmp_path)))
    hand.click(0.47, 0.53)
    return hand


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may end and start."""
    own = Server(tmp_path / "work", (str(tmp_path),))
    own.start()
    yield own
    if own.process and own.process.poll() is None:
        own.stop()


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, which judges pages by WCAG; from npm, with the page's other tools."""
    script = WEB / "node_modules" / "axe-core" / "axe.min.js"
    npm = shutil.which("npm")
    if not script.is_file() and npm:
        subprocess.run(
            [npm, "ci", "--ignore-scripts"], cwd=WEB, check=False, capture_output=True, timeout=300
        )
    if not script.is_file():
        pytest.skip("axe-core is not there: npm ci, in web/")
    return script.read_text(encoding="utf-8")


def violations(hand: Hand, axe: str) -> list[str]:
    """What axe-core finds wrong, in lines."""
    hand.page.evaluate(axe)
    found = hand.page.evaluate("rules => axe.run(document, rules)", RULES)
    return [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_keeps_wcag_aa(ball: Hand, axe: str, scheme: str) -> None:
    ball.page.emulate_media(color_scheme=scheme)
    ball.page.get_by_role("button", name="Add an object").click()
    ball.settle()
    assert violations(ball, axe) == []


@pytest.mark.parametrize("key", ["?", "o", "Control+s"])
def test_dialogs_keep_wcag_aa(ball: Hand, axe: str, key: str) -> None:
    ball.page.keyboard.press(key)
    ball.page.locator("dialog[open]").wait_for()
    ball.page.wait_for_timeout(500)  # lists of the server
    assert violations(ball, axe) == []


def test_the_page_needs_no_exception_from_a_strict_content_security_policy(
    hand: Hand, server: Server, tmp_path: Path
) -> None:
    """No inline style or script, no evaluation, no WebAssembly, no worker: a violation is a console error."""

    def strict(route: Route) -> None:
        answer = route.fetch()
        headers = {**answer.headers, "content-security-policy": "default-src 'self'; img-src 'self' data:"}
        route.fulfill(response=answer, headers=headers)

    hand.page.route(f"{server.url}?volume=*", strict)
    hand.open(server.upload(write_ball(tmp_path)))
    hand.click(0.47, 0.53)
    assert hand.rounds() == 1 and hand.tint().any()


def test_dark_follows_the_system_and_the_button_overrules_it(ball: Hand) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = ball.page.evaluate(ground)
    ball.page.emulate_media(color_scheme="dark")
    dark = ball.page.evaluate(ground)
    assert dark != light
    ball.page.get_by_role("button", name="Light or dark").click()
    assert ball.page.evaluate(ground) == light


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_nothing_overflows(ball: Hand, size: tuple[int, int]) -> None:
    ball.page.set_viewport_size({"width": size[0], "height": size[1]})
    ball.settle()
    outside = ball.page.evaluate(
        """() => [...document.querySelectorAll("button, select, .tile, .strip, h2, .saved, .live")]
            .filter((e) => e.offsetParent !== null)
            .filter((e) => { const r = e.getBoundingClientRect();
                return r.left < 0 || r.top < 0 || r.right > innerWidth + 1 || r.bottom > innerHeight + 1; })
            .map((e) => e.className)"""
    )
    assert outside == []
    assert ball.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_refusal_is_told_in_one_line_and_the_next_success_takes_it_away(
    hand: Hand, server: Server, tmp_path: Path
) -> None:
    hand.expects_refusals = True
    hand.open(server.upload(write_ball(tmp_path)))
    hand.press("x")  # exclude, where nothing is segmented
    line = hand.page.locator(".status.is-error .live")
    line.wait_for()
    assert "negative" in line.inner_text()
    hand.press("i")
    assert hand.page.locator(".status.is-error").count() == 0


def test_a_file_that_is_no_volume_is_refused_and_the_page_stays_usable(
    hand: Hand, own_server: Server, tmp_path: Path
) -> None:
    hand.expects_refusals = True
    hand.page.goto(own_server.url)
    hand.page.get_by_role("button", name="Open…").click()
    (tmp_path / "notes.txt").write_text("no volume")
    hand.page.locator(".opening input[type=file]").set_input_files(tmp_path / "notes.txt")
    hand.page.get_by_role("alert").filter(has_text="notes.txt").wait_for()
    assert hand.page.get_by_role("button", name="Use the sample").is_enabled()


def test_the_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back(
    hand: Hand, own_server: Server, tmp_path: Path
) -> None:
    hand.server, hand.expects_refusals = own_server, True
    hand.open(own_server.upload(write_ball(tmp_path)))
    hand.click(0.47, 0.53)
    mask, tint = own_server.mask(hand.volume), hand.tint()
    own_server.stop()
    hand.page.get_by_role("alert").filter(has_text="does not answer").wait_for(timeout=PATIENCE * 1000)
    own_server.start()
    hand.page.get_by_text("The server was restarted").wait_for(timeout=PATIENCE * 1000)
    hand.settle()
    np.testing.assert_array_equal(own_server.mask(hand.volume), mask)
    np.testing.assert_array_equal(hand.tint(), tint)
    assert hand.rounds() == 1
    hand.press("Control+z")
    assert not own_server.mask(hand.volume).any()


def test_a_server_that_dies_in_a_sweep_loses_no_prompt(hand: Hand, own_server: Server) -> None:
    hand.server, hand.expects_refusals = own_server, True
    volume = hand.page.request.post(f"{own_server.url}api/v1/volumes/open", data={"sample": True}).json()[
        "id"
    ]
    hand.open(volume)
    hand.page.mouse.click(*hand.at(0.42, 0.42))
    wait_until(lambda: hand.page.locator(".sweep.is-running").count() == 1, "a sweep runs")
    own_server.stop()
    own_server.start()
    hand.page.get_by_text("The server was restarted").wait_for(timeout=PATIENCE * 1000)
    hand.settle()
    if hand.rounds() == 0:  # else the sweep was done before the end
        hand.press("Enter")
    assert own_server.thing(volume)["num_rounds"] == 1


def test_a_key_is_asked_for_where_the_server_wants_one(browser: Browser, own_server: Server) -> None:
    """The server says so itself; here its answer is put in its place, since 127.0.0.1 needs no key."""
    context = browser.new_context()
    page = context.new_page()
    refusal = (
        '{"type": "urn:limnet:problem:key-needed", "title": "Key needed", "status": 401, "detail": "a key"}'
    )
    page.route(
        "**/api/v1/about",
        lambda route: route.fulfill(status=401, content_type="application/problem+json", body=refusal),
    )
    page.goto(own_server.url)
    page.get_by_role("textbox", name="Key").fill("wrong")
    page.get_by_role("button", name="Enter").click()
    page.get_by_role("alert").filter(has_text="not known").wait_for()
    context.close()
