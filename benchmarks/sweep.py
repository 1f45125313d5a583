"""Speed and memory of one session on a synthetic CT-like volume of 256 x 256 x 130 voxels.

    python benchmarks/sweep.py --threads 2 --json sweep.json

Two objects: one that fills 60 of the 130 slices, one that runs through all of them. Every figure is the
median over fresh sessions on a loaded model, after one session that is not counted. A slice counts when the
sweep yields it. Peak memory is the whole process's: Python, libraries, networks, one volume and one session.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import limnet
from limnet.evaluation.peak_memory import peak_memory_mib

SHAPE = (256, 256, 130)
AFFINE = np.diag([1.0, 1.0, 2.5, 1.0])  # slices are cut across k
NUM_LATER_ROUNDS = 2
OBJECTS = {"60 slices": (35, 95), "all 130 slices": (0, 130)}


@dataclass(frozen=True)
class Sample:
    """One session: a click and a sweep, then later rounds."""

    open_seconds: float  # making the session
    preview_ms: float  # first click -> prompt mask
    later_preview_ms: float  # median over the clicks of later rounds
    first_slices: int  # that the first sweep yields
    first_seconds: float
    later_slices: int  # over all later rounds
    later_seconds: float


def synthetic_volume(first: int, last: int, seed: int = 0) -> NDArray[np.int16]:
    """A body (40 HU) in air with an object (110 HU) winding through slices `first` to `last` - 1; (I, J, K).

    Made slice by slice, so that making it does not raise the peak of memory that is reported.
    """
    volume = np.empty(SHAPE, np.int16)
    i, j = np.indices(SHAPE[:2], dtype=np.float32)
    body = ((i - 128) / 110) ** 2 + ((j - 128) / 85) ** 2 < 1
    random = np.random.default_rng(seed)
    texture = np.zeros(SHAPE[:2], np.float32)
    for k in range(SHAPE[2]):
        clean = np.where(body, 40.0, -1000.0)
        if first <= k < last:
            i_centre, j_centre = centre_line(k)
            clean[(i - i_centre) ** 2 + (j - j_centre) ** 2 < (24 + 6 * math.sin(k / 9)) ** 2] = 110.0
        fresh = ndimage.gaussian_filter(random.standard_normal(SHAPE[:2]), 3)
        texture = 0.8 * texture + 0.6 * 120 * fresh  # alike from slice to slice
        grain = 12 * random.standard_normal(SHAPE[:2])
        volume[:, :, k] = ndimage.gaussian_filter(clean, 0.8) + texture + grain
    return volume


def centre_line(k: int) -> tuple[float, float]:
    """Where the object's centre lies on slice k: (i, j)."""
    return 120 + 15 * math.sin(k / 20), 125 + 12 * math.cos(k / 25)


def measure(new_session: Callable[[], Any], first: int, last: int) -> Sample:
    """Run one fresh session: click in the middle, sweep, and click on other slices for later rounds."""
    started = time.perf_counter()
    session = new_session()
    open_seconds = time.perf_counter() - started
    prompts = [first + (last - first) * share // 6 for share in (3, 1, 5)][: 1 + NUM_LATER_ROUNDS]
    previews, sweeps, counts = [], [], []
    for index in prompts:
        i, j = centre_line(index)
        started = time.perf_counter()
        session.click((int(i), int(j), index), positive=True)
        clicked = time.perf_counter()
        counts.append(sum(1 for _ in session.sweep()))
        previews.append(1000 * (clicked - started))
        sweeps.append(time.perf_counter() - clicked)
    return Sample(
        open_seconds=open_seconds,
        preview_ms=previews[0],
        later_preview_ms=median(previews[1:]),
        first_slices=counts[0],
        first_seconds=sweeps[0],
        later_slices=sum(counts[1:]),
        later_seconds=sum(sweeps[1:]),
    )


def summarise(samples: list[Sample]) -> dict[str, float]:
    """Medians over sessions, rounded; rates in slices per second."""
    return {
        "open_seconds": round(median(s.open_seconds for s in samples), 4),
        "preview_ms": round(median(s.preview_ms for s in samples), 1),
        "later_preview_ms": round(median(s.later_preview_ms for s in samples), 1),
        "first_slices": median(s.first_slices for s in samples),
        "first_seconds": round(median(s.first_seconds for s in samples), 3),
        "first_slices_per_second": round(median(s.first_slices / s.first_seconds for s in samples), 1),
        "later_slices": median(s.later_slices for s in samples) / NUM_LATER_ROUNDS,
        "later_seconds": round(median(s.later_seconds for s in samples) / NUM_LATER_ROUNDS, 3),
        "later_slices_per_second": round(median(s.later_slices / s.later_seconds for s in samples), 1),
        "peak_memory_mib": round(peak_memory_mib(), 1),
    }


def cold_start_seconds(threads: int, repeats: int) -> float:
    """Import limnet and load the networks in a fresh interpreter: median over `repeats`."""
    code = (
        "import time; started = time.perf_counter(); import limnet;"
        f" limnet.load_model(threads={threads}); print(time.perf_counter() - started)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        for _ in range(repeats)
    ]
    return round(median(float(run.stdout) for run in runs), 3)


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": cpu,
        "cores": usable,
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "onnxruntime": version("onnxruntime"),
        "limnet": getattr(limnet, "__version__", "unknown"),
    }


def run(threads: int, repeats: int) -> dict[str, Any]:
    """All measurements, ready for JSON."""
    results: dict[str, Any] = {
        "command": "python " + " ".join(sys.argv),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "threads": threads,
        "sessions": repeats,
        "import_and_load_seconds": cold_start_seconds(threads, repeats),
        "peak_memory_before_mib": round(peak_memory_mib(), 1),
        "objects": {},
    }
    model = limnet.load_model(threads=threads)
    for name, (first, last) in OBJECTS.items():
        volume = limnet.Volume(synthetic_volume(first, last), AFFINE)

        def new_session(volume: Any = volume) -> Any:
            return limnet.Session(volume, model=model, threads=threads)

        samples = [measure(new_session, first, last) for _ in range(1 + repeats)][1:]  # the first warms up
        results["objects"][name] = summarise(samples) | {"samples": [asdict(sample) for sample in samples]}
    return results


ROWS = (
    ("click to preview, first click", "preview_ms", "ms"),
    ("click to preview, later clicks", "later_preview_ms", "ms"),
    ("first round", "first_slices_per_second", "slices/s"),
    ("first round, slices", "first_slices", ""),
    ("first round, time", "first_seconds", "s"),
    ("later rounds", "later_slices_per_second", "slices/s"),
    ("later rounds, slices per round", "later_slices", ""),
    ("later rounds, time per round", "later_seconds", "s"),
    ("peak memory so far", "peak_memory_mib", "MiB"),
)


def table(results: dict[str, Any]) -> str:
    """The measurements as a Markdown table, the machine below."""
    objects = results["objects"]
    lines = [("", *objects), ("---", *["---:"] * len(objects))]
    for label, key, unit in ROWS:
        lines.append((label, *(f"{item[key]:g} {unit}".strip() for item in objects.values())))
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    about = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    return (
        f"{text}\n\nimport and load: {results['import_and_load_seconds']} s;"
        f" peak memory before the networks were loaded: {results['peak_memory_before_mib']:g} MiB;"
        f" {results['threads']} threads, medians of {results['sessions']} sessions\n{about}"
    )


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description="Speed and memory of one session on a synthetic volume.")
    parser.add_argument("--threads", type=int, default=2, help="threads of the networks (default: 2)")
    parser.add_argument("--sessions", type=int, default=5, help="sessions counted per object (default: 5)")
    parser.add_argument("--json", type=Path, help="where to write all samples")
    options = parser.parse_args()
    results = run(options.threads, options.sessions)
    print(table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
