"""One annotation in a real browser: click, sweep, correct, undo, come back, export."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

import limnet
from dicom_files import write_series
from page_driver import Hand, Server, browser, hand, server, wait_until, write_ball  # noqa: F401

pytestmark = pytest.mark.slow  # a browser that draws in software

MIDDLE = (0.47, 0.53)  # of the ball, in the large view: voxel (30, 34) of 64 x 64


@pytest.fixture
def ball(hand: Hand, server: Server, tmp_path: Path) -> Hand:
    """The page with a bright ball, one object, nothing segmented."""
    hand.open(server.upload(write_ball(tmp_path)))
    return hand


def test_the_sample_opens_from_the_empty_page(hand: Hand, server: Server) -> None:
    hand.page.goto(server.url)
    hand.page.get_by_role("button", name="Use the sample").click()
    hand.page.locator(".object").first.wait_for()
    assert "brain1" in hand.page.locator(".volume-name").inner_text()
    assert hand.picture().max() > 100


def test_a_click_puts_a_mask_on_the_canvas_and_carries_it_through_the_volume(ball: Hand) -> None:
    assert not ball.tint().any()
    ball.click(*MIDDLE)
    assert ball.rounds() == 1
    mask = ball.server.mask(ball.volume)
    assert mask.any((0, 1)).sum() > 3  # slices
    assert ball.tint(0).any() and ball.tint(1).any() and ball.tint(2).any()


def test_the_canvas_shows_as_much_mask_as_the_server_has(ball: Hand) -> None:
    ball.click(*MIDDLE)
    share = ball.server.mask(ball.volume)[
        :, :, 8
    ].mean()  # the slice that was clicked; the tile is nearly square
    picture = ball.tint(0)
    shown = picture.sum() / min(picture.shape) ** 2
    assert shown == pytest.approx(share, rel=0.1)


def test_without_automatic_sweeps_a_click_waits_for_enter(ball: Hand) -> None:
    ball.press("a")
    ball.click(*MIDDLE)
    assert ball.rounds() == 0
    assert len(ball.server.thing(ball.volume)["pending"]) == 1
    ball.press("Enter")
    assert ball.rounds() == 1


def test_a_right_click_excludes(ball: Hand) -> None:
    ball.click(*MIDDLE)
    ball.press("a")
    ball.click(0.62, 0.53, button="right")
    (prompt,) = ball.server.thing(ball.volume)["pending"]
    assert prompt["positive"] is False


def test_undo_takes_a_round_back_and_redo_brings_it_again_bit_for_bit(ball: Hand) -> None:
    ball.click(*MIDDLE)
    before, picture = ball.server.mask(ball.volume), ball.picture()
    ball.press("Control+z")
    assert not ball.server.mask(ball.volume).any()
    assert not ball.tint().any()
    ball.press("Control+Shift+z")
    np.testing.assert_array_equal(ball.server.mask(ball.volume), before)
    np.testing.assert_array_equal(ball.picture(), picture)


def test_the_timeline_goes_back_to_any_round(ball: Hand) -> None:
    ball.click(*MIDDLE)
    first = ball.server.mask(ball.volume)
    ball.click(0.47, 0.70)
    assert ball.rounds() == 2
    ball.page.get_by_title("Back to round 1").click()
    ball.settle()
    np.testing.assert_array_equal(ball.server.mask(ball.volume), first)
    ball.page.get_by_title("Forward to round 2").click()
    ball.settle()
    assert ball.server.thing(ball.volume)["num_rounds"] == 2


def test_a_page_that_is_loaded_again_shows_everything_that_was_there(ball: Hand) -> None:
    ball.click(*MIDDLE)
    ball.page.get_by_role("button", name="Add an object").click()
    ball.settle()
    ball.page.get_by_role("button", name="Object 1", exact=False).first.click()
    ball.settle()
    tint = ball.tint(1).sum()
    ball.page.reload()
    ball.settle()
    assert ball.page.locator(".object").count() == 2
    ball.page.locator(".object-name").first.click()
    wait_until(lambda: ball.rounds() == 1, "the first object's round is listed")
    assert ball.tint(1).sum() == pytest.approx(tint, rel=0.35)  # the crosshair is back in the middle


@pytest.mark.parametrize("form", ["nii.gz", "nrrd", "mha"])
def test_an_export_equals_the_mask_of_the_api(ball: Hand, form: str, tmp_path: Path) -> None:
    ball.click(*MIDDLE)
    ball.press("Control+s")
    ball.page.get_by_label("Format").select_option(form)
    with ball.page.expect_download() as download:
        ball.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    path = tmp_path / f"mask.{form}"
    download.value.save_as(path)
    exported = limnet.read_mask(path)
    np.testing.assert_array_equal(exported > 0, ball.server.mask(ball.volume))


def test_a_dicom_scan_goes_out_as_seg_and_its_objects_come_in_again(
    hand: Hand, server: Server, tmp_path: Path
) -> None:
    highdicom = pytest.importorskip("highdicom")
    scan = limnet.read_volume(write_ball(tmp_path))
    slices = write_series(tmp_path / "scan", scan.array, scan.affine)
    files = [("file", (path.name, path.read_bytes())) for path in slices]
    hand.open(httpx.post(f"{server.url}api/v1/volumes", files=files, timeout=120).json()["id"])
    hand.click(*MIDDLE)
    mask = server.mask(hand.volume)
    assert mask.any()
    hand.press("Control+s")
    offered = hand.page.get_by_label("Format").locator("option")
    assert [option.get_attribute("value") for option in offered.all()] == [
        *("nii.gz", "nrrd", "mha", "seg.nrrd", "seg.dcm", "labelmap.dcm", "rtstruct.dcm")
    ]
    hand.page.get_by_label("Format").select_option("seg.dcm")
    with hand.page.expect_download() as download:
        hand.page.get_by_role("dialog").get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "out.seg.dcm")
    seg = highdicom.seg.segread(tmp_path / "out.seg.dcm")
    assert seg.get_segment_description(1).segment_label == "Object 1"
    assert int(seg.get_volume(combine_segments=True).array.sum()) == mask.sum()
    with hand.page.expect_file_chooser() as chooser:
        hand.page.get_by_role("button", name="Add the objects of a file").click()
    chooser.value.set_files(tmp_path / "out.seg.dcm")
    wait_until(lambda: hand.page.locator(".object").count() == 2, "the object of the file is listed")
    hand.settle()
    np.testing.assert_array_equal(server.mask(hand.volume, 2), mask)
    assert hand.rounds() == 1


def test_all_of_it_can_be_done_with_the_keyboard(ball: Hand) -> None:
    page = ball.page
    page.locator(".tile[data-plane='0']").focus()
    ball.press("ArrowUp", "Shift+ArrowLeft", "Shift+ArrowRight", "i")
    assert ball.rounds() == 1
    ball.press("n")
    suggested = ball.server.get(f"/volumes/{ball.volume}/objects/1/quality")["suggested"]
    assert page.locator(".slice-said b").inner_text() == str(suggested + 1)
    ball.press("Control+z", "Control+y", "b", "?")
    assert page.get_by_role("dialog", name="Keys and help").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("button", name="Box (B)").get_attribute("aria-pressed") == "true"


def test_tab_reaches_tools_views_slider_objects_and_rounds(ball: Hand) -> None:
    ball.click(*MIDDLE)
    ball.page.locator(".volume-button").focus()
    seen = set()
    for _ in range(60):
        ball.page.keyboard.press("Tab")
        name = ball.page.evaluate(
            "document.activeElement.className.split(' ').pop() || document.activeElement.tagName"
        )
        seen.add(name)
    assert {"tool", "tile", "strip", "object-name", "round", "switch", "presets"} <= seen


def test_a_sweep_can_be_cancelled_and_its_prompts_stay(hand: Hand, server: Server) -> None:
    """On the sample, whose sweep takes long enough to be met."""
    answer = hand.page.request.post(f"{server.url}api/v1/volumes/open", data={"sample": True})
    hand.open(answer.json()["id"])
    hand.page.get_by_role("button", name="Add an object").click()
    hand.settle()
    thing = hand.server.get(f"/volumes/{hand.volume}")["objects"][-1]["id"]
    hand.page.mouse.click(*hand.at(0.42, 0.42))
    wait_until(lambda: hand.page.locator(".sweep.is-running").count() == 1, "a sweep runs")
    hand.page.keyboard.press("Escape")
    hand.settle()
    after = hand.server.thing(hand.volume, thing)
    assert (after["num_rounds"], len(after["pending"])) == (0, 1)
