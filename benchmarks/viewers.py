"""How long a viewer waits: each protocol's calls against a running server, on the sample volume.

    python benchmarks/viewers.py

starts `limnet serve` in a folder of its own, and asks as ITK-SNAP, MONAI Label's module for 3D Slicer and
nnInteractive's older plugin for it do (the clients are those of the tests).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import SimpleITK

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from legacy_slicer import Plugin
from limnet.sample import sample_truth_path, sample_volume_path
from monai_client import SmallClient
from nni_server import free_port
from snap_client import Snap

REPEATS = 5


def main() -> None:
    """Measure all three, and compare what they bring."""
    port = free_port()
    image = SimpleITK.ReadImage(sample_volume_path())
    truth = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(sample_truth_path()))  # (k, j, i)
    k = int(np.argmax(truth.sum((1, 2))))
    j, i = (int(n) for n in np.argwhere(truth[k])[truth[k].astype(bool).sum() // 2])
    outside = (k, 10, 10)
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "limnet", "serve", "--no-browser", "--nni-port", "0"]
        words += ["--work-dir", f"{folder}/work", "--port", str(port)]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            while not _answers(address):
                time.sleep(0.2)
            masks = [
                _snap(address, image, truth, (i, j, k)),
                _monai(address, image, truth, [i, j, k], Path(folder)),
                _legacy(address, image, truth, (k, j, i), outside),
            ]
            same = all(np.array_equal(mask > 0, masks[0] > 0) for mask in masks)
            print(f"The same mask after the same point: {same}")
        finally:
            server.terminate()
            server.wait()


def _snap(address: str, image: SimpleITK.Image, truth: np.ndarray, point: tuple[int, int, int]) -> np.ndarray:
    with Snap(address, "v2") as snap:
        _tell("ITK-SNAP, image", lambda: snap.upload(image))
        mask = _tell("ITK-SNAP, first point", lambda: snap.point(*point), snap.reset)
        snap.point(*point)
        _tell("ITK-SNAP, further point", lambda: snap.point(10, 10, point[2], positive=False), repeats=1)
    return _compare("ITK-SNAP", mask, truth)


def _monai(
    address: str, image: SimpleITK.Image, truth: np.ndarray, point: list[int], folder: Path
) -> np.ndarray:
    path = folder / "scan.nii.gz"
    SimpleITK.WriteImage(image, path)
    client = SmallClient(address, str(folder))
    names = iter("abcdefgh")
    _tell("MONAI Label, image", lambda: client.upload_image(str(path), "scan"))

    def ask(label: str, *background: list[int]) -> np.ndarray:
        params = {"label": label, "foreground": [point], "background": list(background)}
        file, _ = client.infer("limnet", "scan", {**params, "result_extension": ".nrrd"})
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file))

    mask = _tell("MONAI Label, first point", lambda: ask(next(names)))
    _tell("MONAI Label, further point", lambda: ask("a", [10, 10, point[2]]), repeats=1)
    _tell("MONAI Label, a point taken away", lambda: ask("a"), repeats=1)
    client.http.close()
    return _compare("MONAI Label", mask, truth)


def _legacy(
    address: str,
    image: SimpleITK.Image,
    truth: np.ndarray,
    point: tuple[int, int, int],
    outside: tuple[int, int, int],
) -> np.ndarray:
    plugin = Plugin(address, SimpleITK.GetArrayFromImage(image))

    def empty() -> None:
        plugin.segment = np.zeros_like(plugin.segment)

    _tell("older Slicer, image and segment", plugin._synchronise, lambda: setattr(plugin, "sent_image", None))
    mask = _tell("older Slicer, first point", lambda: plugin.point(point).copy(), empty)
    plugin.point(point)
    _tell("older Slicer, further point", lambda: plugin.point(outside, positive=False), repeats=1)
    return _compare("older Slicer", mask, truth)


def _tell(
    what: str,
    act: Callable[[], np.ndarray | None],
    between: Callable[[], None] = lambda: None,
    repeats: int = REPEATS,
) -> np.ndarray | None:
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = act()
        seconds.append(time.perf_counter() - start)
        between()
    print(f"| {what} | {statistics.median(seconds):.2f} | {max(seconds):.2f} | {repeats} |", flush=True)
    return result


def _compare(who: str, mask: np.ndarray | None, truth: np.ndarray) -> np.ndarray:
    assert mask is not None
    found, wanted = mask > 0, truth > 0
    score = 2 * int((found & wanted).sum()) / int(found.sum() + wanted.sum())
    print(f"| {who}, Dice after the first point: {score:.3f} |")
    return mask


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/status", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    main()
