"""What each tool of the page tells the server, and what comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from page_driver import Hand, Server, browser, hand, server, wait_until, write_ball  # noqa: F401

pytestmark = pytest.mark.slow  # a browser that draws in software


@pytest.fixture
def ball(hand: Hand, server: Server, tmp_path: Path) -> Hand:
    """The page with a bright ball; prompts wait."""
    hand.open(server.upload(write_ball(tmp_path)))
    hand.press("a")
    return hand


def pending(hand: Hand) -> dict[str, object]:
    """The one prompt that waits."""
    (prompt,) = hand.server.thing(hand.volume)["pending"]
    return dict(prompt)


def test_a_box_is_drawn_on_the_slice_that_is_shown(ball: Hand) -> None:
    ball.press("b")
    ball.drag((0.25, 0.3), (0.7, 0.75))
    prompt = pending(ball)
    assert prompt["kind"] == "box"
    low, high = np.array(prompt["low"]), np.array(prompt["high"])
    assert low[2] == high[2] == 8
    np.testing.assert_allclose(low[:2], [0.25 * 64, 0.3 * 64], atol=3)
    np.testing.assert_allclose(high[:2], [0.7 * 64, 0.75 * 64], atol=3)


@pytest.mark.parametrize(("key", "kind"), [("s", "scribble"), ("l", "lasso")])
def test_a_drawn_line_lies_on_one_slice(ball: Hand, key: str, kind: str) -> None:
    ball.press(key)
    ball.drag((0.4, 0.45), (0.55, 0.45), (0.55, 0.62), (0.4, 0.62))
    prompt = pending(ball)
    assert prompt["kind"] == kind and prompt["positive"] is True
    assert len({point[2] for point in prompt["points"]}) == 1  # type: ignore[attr-defined]


def test_exclude_makes_a_shape_negative(ball: Hand) -> None:
    ball.click(0.47, 0.53)
    ball.press("Enter", "s", "d")
    ball.drag((0.6, 0.45), (0.66, 0.55))
    assert pending(ball)["positive"] is False


def test_the_brush_paints_a_disk_of_its_size_and_the_eraser_takes_it_away(ball: Hand) -> None:
    ball.press("p")
    ball.click(0.3, 0.3)
    painted = ball.server.mask(ball.volume)[:, :, 8].sum()
    assert painted == pytest.approx(np.pi * 5**2, rel=0.15)  # 5 mm, 1 mm voxels
    ball.press("e")
    ball.click(0.3, 0.3)
    assert not ball.server.mask(ball.volume).any()


def test_brackets_change_the_brush(ball: Hand) -> None:
    ball.press("p", "]", "]")
    assert ball.page.locator(".brush-size").inner_text() == "8.0 mm"
    ball.press("[")
    assert ball.page.locator(".brush-size").inner_text() == "6.5 mm"


def test_the_wheel_goes_through_the_slices_of_the_view_under_it(ball: Hand) -> None:
    ball.page.mouse.move(*ball.at(0.5, 0.5))
    ball.page.mouse.wheel(0, 80)
    wait_until(lambda: ball.page.locator(".slice-said b").inner_text() == "11", "two slices on")


def test_dragging_with_the_right_button_sets_the_window_and_prompts_nothing(ball: Hand) -> None:
    before = ball.picture()
    ball.drag((0.5, 0.5), (0.8, 0.5), button="right")
    assert ball.page.locator(".presets option:checked").inner_text() == "By hand"
    assert ball.server.thing(ball.volume)["pending"] == []
    assert (ball.picture() != before).any()


def test_zoom_keeps_what_is_under_the_pointer(ball: Hand) -> None:
    ball.press("p")
    at = ball.at(0.3, 0.3)
    ball.page.mouse.move(*at)
    ball.page.keyboard.down("Control")
    ball.page.mouse.wheel(0, -300)
    ball.page.keyboard.up("Control")
    ball.page.wait_for_timeout(300)
    ball.click(0.3, 0.3)
    rows, columns = np.nonzero(ball.server.mask(ball.volume)[:, :, 8])
    np.testing.assert_allclose([rows.mean(), columns.mean()], [0.3 * 64, 0.3 * 64], atol=2)


def test_objects_are_added_renamed_coloured_locked_and_deleted(ball: Hand) -> None:
    page = ball.page
    page.get_by_role("button", name="Add an object").click()
    ball.settle()
    page.locator(".object-name").nth(1).press("F2")
    page.get_by_label("Name of Object 2").fill("Lesion")
    page.keyboard.press("Enter")
    ball.settle()
    page.get_by_label("Colour of Lesion").fill("#00aa55")
    ball.settle()
    page.get_by_role("button", name="Lock Lesion", exact=True).click()
    ball.settle()
    thing = ball.server.thing(ball.volume, 2)
    assert (thing["name"], thing["colour"], thing["locked"]) == ("Lesion", "#00aa55", True)
    assert page.get_by_role("button", name="Unlock Lesion before deleting it").is_disabled()
    page.get_by_role("button", name="Unlock Lesion", exact=True).click()
    ball.settle()
    page.get_by_role("button", name="Delete Lesion").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    wait_until(lambda: page.locator(".object").count() == 1, "it is gone from the list")
    ball.settle()
    assert [item["id"] for item in ball.server.get(f"/volumes/{ball.volume}")["objects"]] == [1]


def test_a_locked_object_takes_no_prompt(ball: Hand) -> None:
    ball.page.get_by_role("button", name="Lock Object 1", exact=True).click()
    ball.settle()
    ball.click(0.47, 0.53)
    assert "is locked" in ball.page.locator(".live").inner_text()
    assert ball.server.thing(ball.volume)["pending"] == []


def test_a_hidden_object_is_not_on_the_canvas(ball: Hand) -> None:
    ball.click(0.47, 0.53)
    assert ball.tint().any()
    ball.page.get_by_role("button", name="Hide Object 1").click()
    ball.settle()
    assert not ball.tint().any()


def test_two_objects_have_their_own_colours_and_masks(ball: Hand) -> None:
    ball.press("p")
    ball.click(0.25, 0.25)
    ball.page.get_by_role("button", name="Add an object").click()
    ball.settle()
    ball.click(0.7, 0.7)
    first, second = ball.server.mask(ball.volume, 1), ball.server.mask(ball.volume, 2)
    assert first.any() and second.any() and not (first & second).any()
    ball.press("Control+z")  # the whole map is fetched again
    assert not ball.server.mask(ball.volume, 2).any()
    picture = ball.tint()
    half = picture.shape[1] // 2
    assert picture[:, :half].any() and not picture[:, half:].any()


def test_a_file_that_is_dropped_on_the_window_is_opened(ball: Hand, tmp_path: Path) -> None:
    content = list(write_ball(tmp_path).read_bytes())
    ball.page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.nii.gz"));
            window.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        content,
    )
    wait_until(
        lambda: ball.page.locator(".volume-name").inner_text() == "dropped.nii.gz", "the file is shown"
    )


def test_a_folder_of_the_server_is_browsed_and_a_file_in_it_opened(
    browser: object, hand: Hand, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    write_ball(tmp_path / "scans")
    server = Server(tmp_path / "work", (str(tmp_path / "scans"),))
    server.start()
    try:
        hand.page.goto(server.url)
        hand.page.get_by_role("button", name="Open…").click()
        entry = hand.page.locator(".opening").get_by_role("button", name="scans")
        entry.click()
        hand.page.locator(".opening").get_by_role("button", name="ball.nii.gz").click()
        hand.page.locator(".object").first.wait_for()
        assert hand.page.locator(".volume-name").inner_text() == "ball.nii.gz"
    finally:
        server.stop()
