"""A real server, a real browser, and a hand on the annotator's page. Fixtures of test_page*.py.

The browser is one that is installed, LIMNET_CHROMIUM or a Chromium or Chrome on PATH; it draws in software.
Every page of every test is watched: an error in its console or a request to another host fails the test.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("playwright", reason="needs playwright: pip install --group test")
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
PATIENCE = 120.0  # seconds that anything may take on a busy machine
SIZE = (1366, 768)
SHOW_OVERLAYS = """(isShown) => document.querySelectorAll("#tiles .overlay, #tiles .mark, #tiles .tile-title")
    .forEach((element) => { element.style.visibility = isShown ? "" : "hidden"; })"""

Picture = NDArray[np.uint8]  # (h, w, 3)


def find_browser() -> str | None:
    """The browser to use, if there is one."""
    named = os.environ.get("LIMNET_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Server:
    """`limnet serve` in a process of its own."""

    work_dir: Path
    arguments: tuple[str, ...] = ()
    port: int = 0
    threads: int = 2
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it answers."""
        words = ["serve", "--no-browser", "--nni-port", "0", "--port", str(self.port)]
        words += ["--threads", str(self.threads), "--work-dir", str(self.work_dir), *self.arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "limnet", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in self.process.stdout or ():
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
            if found:
                self.port = int(found[1])
                break
        else:
            raise AssertionError(f"limnet serve ended: {''.join(said)}")
        wait_until(self.answers, "the server answers")

    def stop(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}/"

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"{self.url}api/v1/about", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        """What the API says at a path."""
        answer = httpx.get(f"{self.url}api/v1{path}", timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload(self, path: Path) -> str:
        """Open a file as a browser would send it; the volume's id."""
        with path.open("rb") as file:
            answer = httpx.post(
                f"{self.url}api/v1/volumes", files={"file": (path.name, file)}, timeout=PATIENCE
            )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def mask(self, volume: str, thing: int = 1) -> NDArray[np.bool_]:
        """An object's mask, (I, J, K), by the API."""
        shape = self.get(f"/volumes/{volume}")["shape"]
        answer = httpx.get(f"{self.url}api/v1/volumes/{volume}/objects/{thing}/mask", timeout=PATIENCE)
        i0, i1, j0, j1, k0, k1 = map(int, answer.headers["X-Mask-Box"].split(","))
        mask = np.zeros(shape, bool)
        block = np.frombuffer(answer.content, np.uint8).reshape(i1 - i0, j1 - j0, k1 - k0)
        mask[i0:i1, j0:j1, k0:k1] = block
        return mask

    def thing(self, volume: str, thing: int = 1) -> Any:
        """An object, by the API."""
        return next(item for item in self.get(f"/volumes/{volume}")["objects"] if item["id"] == thing)


def wait_until(holds: Callable[[], Any], what: str) -> None:
    """Wait for a condition; an assertion when it never comes."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


@dataclass
class Hand:
    """The user's: what he sees of the page and does with it."""

    page: Page
    server: Server
    volume: str = ""
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    expects_refusals: bool = False  # a browser notes requests that were refused or met no server as errors

    def watch(self) -> None:
        """Note errors of the page and where its requests go."""
        self.page.on("console", lambda line: line.type == "error" and self.errors.append(line.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, volume: str) -> None:
        """Show a volume and wait until it is there."""
        self.volume = volume
        self.page.goto(f"{self.server.url}?volume={volume}", timeout=PATIENCE * 1000)
        self.settle()

    def settle(self) -> None:
        """Wait until the volume is shown and nothing is under way."""
        self.page.locator(".object").first.wait_for(timeout=PATIENCE * 1000)
        self.page.locator("#cover").wait_for(state="hidden", timeout=PATIENCE * 1000)
        wait_until(self.is_calm, "the page is calm")

    def is_calm(self) -> bool:
        """Whether all is saved and no sweep runs."""
        saved = self.page.locator(".saved").inner_text() == "Saved"
        return saved and self.page.locator(".sweep.is-running").count() == 0 and not self.server_sweeps()

    def server_sweeps(self) -> bool:
        """Whether the server still carries a mask."""
        things = self.server.get(f"/volumes/{self.volume}")["objects"] if self.volume else []
        return any(thing["sweeping"] for thing in things)

    def tile(self, plane: int) -> tuple[float, float, float, float]:
        """Left, top, width and height of a plane's tile."""
        box = self.page.locator(f'.tile[data-plane="{plane}"]').bounding_box()
        assert box
        return box["x"], box["y"], box["width"], box["height"]

    def at(self, x: float, y: float, plane: int = 0) -> tuple[float, float]:
        """A point of a plane's tile, given as shares of its size."""
        left, top, width, height = self.tile(plane)
        return left + x * width, top + y * height

    def click(self, x: float, y: float, plane: int = 0, button: Any = "left") -> None:
        """Click there, and wait for all that follows."""
        self.page.mouse.click(*self.at(x, y, plane), button=button)
        self.page.wait_for_timeout(150)
        self.settle()

    def drag(self, *points: tuple[float, float], plane: int = 0, button: Any = "left") -> None:
        """Draw through points of a tile, and wait for all that follows."""
        self.page.mouse.move(*self.at(*points[0], plane))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point, plane), steps=6)
        self.page.mouse.up(button=button)
        self.page.wait_for_timeout(150)
        self.settle()

    def press(self, *keys: str) -> None:
        """Press keys, and wait for all that follows."""
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_timeout(150)
        self.settle()

    def rounds(self) -> int:
        """How many rounds are listed, undone ones too."""
        return self.page.locator(".round:not(.start)").count()

    def picture(self, plane: int = 0) -> Picture:
        """What a plane's tile shows, without what lies over it."""
        self.page.wait_for_timeout(200)  # a frame after the last change
        left, top, width, height = self.tile(plane)
        self.page.evaluate(SHOW_OVERLAYS, False)
        shot = self.page.screenshot(
            clip={"x": left + 2, "y": top + 2, "width": width - 4, "height": height - 4}
        )
        self.page.evaluate(SHOW_OVERLAYS, True)
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))

    def tint(self, plane: int = 0) -> NDArray[np.bool_]:
        """Where a plane's tile is coloured: where a mask is shown on a grey volume."""
        picture = self.picture(plane).astype(int)
        return (picture.max(-1) - picture.min(-1)) > 24


def write_ball(folder: Path, affine: NDArray[np.float64] | None = None) -> Path:
    """A ball of 28 mm around the voxel (30, 34, 8), bright in 64 x 64 x 16 voxels of 1 x 1 x 3 mm."""
    grid = np.indices((64, 64, 16)) - np.array((30, 34, 8)).reshape(3, 1, 1, 1)
    ball = ((grid * np.array([1, 1, 3]).reshape(3, 1, 1, 1)) ** 2).sum(0) <= 14**2
    noise = np.random.default_rng(0).normal(100, 15, ball.shape)
    affine = np.diag([-1.0, -1.0, 3.0, 1.0]) if affine is None else affine
    path = folder / "ball.nii.gz"
    nibabel.save(nibabel.Nifti1Image((noise + 500 * ball).astype(np.int16), affine), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """An installed browser."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome is installed; name one in LIMNET_CHROMIUM")
    pytest.importorskip("fastapi", reason="needs limnet[server]")
    from limnet.server.page_route import is_built

    if not is_built():
        pytest.skip("the page is not built: npm ci && npm run build, in web/")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a work folder of its own and a folder to open volumes from: so none is open yet."""
    server = Server(tmp_path_factory.mktemp("work"), (str(tmp_path_factory.mktemp("scans")),))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hand(browser: Browser, server: Server) -> Iterator[Hand]:
    """A page that is watched."""
    with_downloads = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, accept_downloads=True, bypass_csp=False
    )
    with_downloads.set_default_timeout(PATIENCE * 1000)
    hand = Hand(with_downloads.new_page(), server)
    hand.watch()
    yield hand
    with_downloads.close()
    assert hand.expects_refusals or hand.errors == []
    assert {host.partition(":")[0] for host in hand.hosts} <= {"127.0.0.1", ""}
