"""How soon the page shows something after a click: the preview on its slice, then the first carried slices.

    python benchmarks/page.py [--rounds 20] [--threads 2]

Starts `limnet serve` on the sample and an installed Chromium, clicks at fixed places of the large view, and
reads the page's own marks: from the pointer's press until the mask was drawn, both inside the browser. After
every round the object is emptied, so that all rounds start alike; the first one is told apart.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from playwright.sync_api import sync_playwright

from page_driver import FLAGS, SIZE, Hand, Server, find_browser, wait_until

PLACES = ((0.75, 0.44), (0.76, 0.61), (0.42, 0.42), (0.60, 0.60))  # tumours, white matter; shares of the view
MARKS = ("limnet:preview", "limnet:first-slice", "limnet:round")


def measure(hand: Hand, place: tuple[float, float]) -> dict[str, float]:
    """Milliseconds from one click to each mark."""
    hand.page.evaluate("performance.clearMarks()")
    hand.page.mouse.click(*hand.at(*place))
    wait_until(lambda: "limnet:round" in marks(hand), "the round is done")
    hand.settle()
    found = marks(hand)
    hand.press("Control+z")
    return {name: found[name] - found["limnet:prompt"] for name in MARKS}


def marks(hand: Hand) -> dict[str, float]:
    """The page's marks by name, the first of each; milliseconds since it was loaded."""
    found: list[list[Any]] = hand.page.evaluate(
        "performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime]).reverse()"
    )
    return {str(name): float(at) for name, at in found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    wanted = parser.parse_args()
    path = find_browser()
    if path is None:
        raise SystemExit("no Chromium or Chrome is installed; name one in LIMNET_CHROMIUM")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), ("--sample",), threads=wanted.threads)
        server.start()
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        hand = Hand(page, server)
        began = time.perf_counter()
        hand.open(server.get("/volumes")[0]["id"])
        loaded = time.perf_counter() - began
        all_times = [measure(hand, PLACES[n % len(PLACES)]) for n in range(wanted.rounds + 1)]
        version = browser.version
        browser.close()
        server.stop()
    print(
        f"{platform.machine()}, {wanted.threads} threads, {wanted.rounds} clicks,"
        f" Chromium {version} drawing {SIZE[0]} x {SIZE[1]} in software"
    )
    print(f"page and sample shown after {loaded:.1f} s; first click {all_times[0]['limnet:preview']:.0f} ms")
    for name in MARKS:
        times = sorted(each[name] for each in all_times[1:])
        p95 = times[min(len(times) - 1, round(0.95 * len(times)))]
        print(f"{name.partition(':')[2]:12} median {median(times):5.0f} ms   95 % {p95:5.0f} ms")


if __name__ == "__main__":
    main()
