"""What the suite measures of limnet, one function per part; each runs in a process of its own.

All times are wall-clock seconds or milliseconds. A part returns plain numbers, ready for JSON.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import limnet
from limnet.evaluation.peak_memory import peak_memory_mib
from limnet.hints import geodesic_nearness
from phantom import Phantom

Facts = dict[str, Any]

SMALL = Phantom(shape=(256, 256, 130), first=35, last=95)  # the object lies in 60 slices
WHOLE = Phantom(shape=(256, 256, 130), first=0, last=130)
ROUNDS = (0.5, 0.15, 0.85, 0.3, 0.7, 0.05, 0.95, 0.4, 0.6, 0.22)  # where each round is clicked
START = "import time; a = time.perf_counter(); import limnet; b = time.perf_counter();"
START += " limnet.load_model({model}, threads={threads}); print(b - a, time.perf_counter() - b)"


def start(model: Path | None, threads: int, repeats: int) -> Facts:
    """Import limnet and load its networks in fresh interpreters; the first, which compiles, is left out."""
    code = START.format(model=None if model is None else repr(str(model)), threads=threads)
    runs = []
    with tempfile.TemporaryDirectory(prefix="limnet-") as compiled:
        places = {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", code]
        for _ in range(repeats + 1):
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env=os.environ | places
            )
            runs.append([float(word) for word in done.stdout.split()])
    imported, loaded = (median(times) for times in zip(*runs[1:], strict=True))
    return {
        "import_s": imported,
        "load_s": loaded,
        "both_s": median(sum(run) for run in runs[1:]),
        "num_runs": repeats,
    }


def click(model: Path | None, threads: int, repeats: int) -> Facts:
    """From a click to its mask: the first of a session, a second there, first and negative after a round."""
    networks, volume = limnet.load_model(model, threads=threads), SMALL.volume()
    first, second, later, negative = [], [], [], []
    i, j, k = SMALL.place(0.5)
    for _ in range(repeats + 1):
        session = limnet.Session(volume, networks)
        first.append(_milliseconds(lambda s=session: s.click((i, j, k))))
        second.append(_milliseconds(lambda s=session: s.click((i + 5, j, k))))
        session.propagate()
        later.append(_milliseconds(lambda s=session: s.click(SMALL.place(0.15))))
        negative.append(_milliseconds(lambda s=session: s.click(SMALL.place(0.7), positive=False)))
    size = networks.manifest.size
    image = np.random.default_rng(0).random((1, 1, 256, 256), np.float32)
    seeds = np.zeros((1, 256, 256), bool)
    seeds[0, 100, 100] = True
    geodesic = [_milliseconds(lambda: geodesic_nearness(image, seeds)) for _ in range(repeats + 1)]
    return {
        "view": size,
        "cold_ms": first[0],
        "first_ms": median(first[1:]),
        "second_ms": median(second[1:]),
        "later_ms": median(later[1:]),
        "negative_ms": median(negative[1:]),
        "geodesic_256_ms": median(geodesic[1:]),
        "num_runs": repeats,
    }


def rounds(
    model: Path | None,
    threads: int,
    repeats: int,
    radius: float = 24.0,
    num: int = 10,
    crossing: bool = True,
    overview: bool = True,
) -> Facts:
    """Clicks and rounds one after the other in 256 x 256 x 130 voxels, the object in 60 slices."""
    phantom = Phantom(shape=SMALL.shape, first=SMALL.first, last=SMALL.last, radius=radius)
    networks, volume = limnet.load_model(model, threads=threads), phantom.volume()

    def session() -> limnet.Session:
        return limnet.Session(volume, networks, crossing=crossing, overview=overview)

    sessions = [_rounds(session(), phantom, num) for _ in range(repeats + 1)]
    warm = sessions[1:]
    return {
        "cold_first_s": sessions[0][0][0],
        "seconds": [median(s[n][0] for s in warm) for n in range(num)],  # click included
        "slices": [median(s[n][1] for s in warm) for n in range(num)],
        "peak_mib": peak_memory_mib(),
        "num_runs": repeats,
    }


def sweep(model: Path | None, threads: int, repeats: int) -> Facts:
    """Slices per second from the middle to both ends of 130 slices; a second time with features kept."""
    networks, volume = limnet.load_model(model, threads=threads), WHOLE.volume()
    uncached, cached, counts = [], [], []
    for _ in range(repeats + 1):
        session = limnet.Session(volume, networks)
        session.click(WHOLE.place(0.5))
        for rates in (uncached, cached):
            started, count = time.perf_counter(), 0
            slices = session.sweep()
            for _ in slices:
                count += 1
                if count == volume.shape[2]:
                    break  # closed before it counts as a round, so that the next one does the same work
            rates.append(count / (time.perf_counter() - started))
            counts.append(count)
    return {
        "view": networks.manifest.size,
        "uncached_per_s": median(uncached[1:]),
        "cached_per_s": median(cached[1:]),
        "slices": min(counts),
        "num_runs": repeats,
    }


def extent(
    model: Path | None, threads: int, repeats: int, shape: tuple[int, int, int], slices: int = 60
) -> Facts:
    """The same object in volumes of different length: does a round cost what the object spans, or more?"""
    first = (shape[2] - slices) // 2
    phantom = Phantom(shape=shape, first=first, last=first + slices)
    networks, volume = limnet.load_model(model, threads=threads), phantom.volume()
    sessions = [_rounds(limnet.Session(volume, networks), phantom, 3) for _ in range(repeats + 1)][1:]
    return {
        "shape": list(shape),
        "first_s": median(s[0][0] for s in sessions),
        "first_slices": median(s[0][1] for s in sessions),
        "third_s": median(s[2][0] for s in sessions),
        "third_slices": median(s[2][1] for s in sessions),
        "num_runs": repeats,
    }


def memory(
    model: Path | None, threads: int, repeats: int, shape: tuple[int, int, int], is_mapped: bool = True
) -> Facts:
    """Peak memory of reading a volume, two objects of two rounds each, undo, redo and the label map."""
    from limnet.annotation import Annotation

    middle = shape[2] // 2
    phantom = Phantom(shape=shape, first=middle - 30, last=middle + 30)
    with tempfile.TemporaryDirectory(prefix="limnet-") as folder:
        path = Path(folder) / "volume.mha"
        if is_mapped:
            _in_another_process(_write_uncompressed, path, phantom)
        with _anonymous_peak() as anonymous:
            volume = limnet.read_volume(path) if is_mapped else phantom.volume()  # as after unpacking a file
            annotation = Annotation(volume, limnet.load_model(model, threads=threads))
            for shares in ((0.5, 0.2), (0.6, 0.9)):
                session = annotation.add().session
                for share in shares:
                    session.click(phantom.place(share))
                    session.propagate()
                session.undo()
                session.redo()
            labelled = int(np.count_nonzero(annotation.labels()))
    array = volume.array.nbytes / 2**20
    return {
        "shape": list(shape),
        "array_mib": array,
        "peak_mib": peak_memory_mib(),  # pages of the mapped file among it
        "anonymous_mib": anonymous[0],  # without them: what the system cannot take back
        "ratio": peak_memory_mib() / array,
        "anonymous_ratio": anonymous[0] / array,
        "labelled_voxels": labelled,
    }


def _rounds(session: limnet.Session, phantom: Phantom, num: int) -> list[tuple[float, int]]:
    """Seconds, click included, and slices of each round."""
    found = []
    for share in ROUNDS[:num]:
        started = time.perf_counter()
        session.click(phantom.place(share))
        count = sum(1 for _ in session.sweep())
        found.append((time.perf_counter() - started, count))
    return found


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _write_uncompressed(path: Path, phantom: Phantom) -> None:
    """As MetaImage: a header, then the voxels as they are."""
    i, j, k = phantom.shape
    header = f"ObjectType = Image\nNDims = 3\nDimSize = {i} {j} {k}\nElementType = MET_SHORT\n"
    header += "ElementSpacing = 1 1 2.5\nOffset = 0 0 0\nTransformMatrix = -1 0 0 0 -1 0 0 0 1\n"
    header += "ElementByteOrderMSB = False\nElementDataFile = LOCAL\n"
    with path.open("wb") as file:
        file.write(header.encode())
        file.write(phantom.array().tobytes(order="F"))


def _in_another_process(work: Callable[..., None], *arguments: object) -> None:
    """So that its memory does not count."""
    import multiprocessing

    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")


@contextmanager
def _anonymous_peak(every_s: float = 0.01) -> Iterator[list[float]]:
    """The most memory without pages of files seen during the block, in MiB, as its only number; Linux."""
    found, over = [float("nan")], threading.Event()

    def look() -> None:
        while not over.wait(every_s):
            found[0] = max(_anonymous_mib(), 0.0 if np.isnan(found[0]) else found[0])

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _anonymous_mib(status: Sequence[str] | None = None) -> float:
    lines = status or Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("RssAnon:"))
