"""Many users at once: latency of previews and rounds, and whether anything fails.

    python benchmarks/load.py --users 8 --seconds 120 --threads 2 --json load.json

Starts `limnet serve` on a free port of 127.0.0.1 with a key for every user. Each user opens a volume of their
own (the sample, shifted by a few voxels so that no two are the same) and goes on like a person: a click, a
look at the preview, a sweep to its end, a look at the result, every few rounds an undo or a new object. A
preview is the time from the click's request to its answer; first slice and rounds count from the request that
starts the sweep. `about` is asked ten times a second, and needs no turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import numpy as np

import limnet
from limnet.sample import sample_truth_path, sample_volume_path
from limnet.server.keys import Keyring
from limnet.volume import Volume, read_mask, read_volume, write_mask

API = "/api/v1"
THINKING_SECONDS = (0.3, 1.5)  # between two actions of a user
KINDS = ("preview", "first slice", "first round", "later round", "undo", "mask", "about")


@dataclass
class Results:
    """What all users saw; one lock guards both."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count how long the block takes."""
        started = time.perf_counter()
        yield
        self.add(kind, time.perf_counter() - started)

    def add(self, kind: str, seconds: float) -> None:
        """Count one."""
        with self.lock:
            self.seconds[kind].append(seconds)


class User:
    """One user with a volume of their own."""

    def __init__(self, address: str, key: str, path: Path, inside: np.ndarray[Any, Any], seed: int) -> None:
        self.client = httpx.Client(
            base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )
        self.random = random.Random(seed)
        self.inside = inside  # (N, 3) voxels of the structure
        self.path = path

    def work(self, until: float, results: Results) -> None:
        """Click, sweep, look, until the time is over."""
        try:
            self._work(until, results)
        except Exception as error:
            with results.lock:
                results.errors.append(f"{type(error).__name__}: {error}")
        finally:
            self.client.close()

    def _work(self, until: float, results: Results) -> None:
        volume = self._asked("POST", f"{API}/volumes/open", json={"path": str(self.path)})["id"]
        item, num_rounds = self._new_object(volume), 0
        while time.monotonic() < until:
            time.sleep(self.random.uniform(*THINKING_SECONDS))
            index = [int(n) for n in self.random.choice(self.inside)]
            with results.timed("preview"):
                self._asked("POST", f"{item}/clicks", json={"index": index})
            self._sweep(item, "later round" if num_rounds % 8 else "first round", results)
            num_rounds += 1
            with results.timed("mask"):
                self.client.get(f"{item}/mask").raise_for_status()
            if num_rounds % 4 == 0:
                with results.timed("undo"):
                    self._asked("POST", f"{item}/undo")
            if num_rounds % 8 == 0:
                item = self._new_object(volume)

    def _sweep(self, item: str, kind: str, results: Results) -> None:
        started, is_first = time.perf_counter(), True
        self._asked("POST", f"{item}/sweep")
        with self.client.stream("GET", f"{item}/sweep/events") as stream:
            for line in stream.iter_lines():
                if is_first and line == "event: slice":
                    results.add("first slice", time.perf_counter() - started)
                    is_first = False
                if line in ("event: failed", "event: cancelled"):
                    raise RuntimeError(f"sweep ended with {line}")
        results.add(kind, time.perf_counter() - started)

    def _new_object(self, volume: str) -> str:
        number = self._asked("POST", f"{API}/volumes/{volume}/objects", json={})["id"]
        return f"{API}/volumes/{volume}/objects/{number}"

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        if answer.status_code >= 400:
            raise RuntimeError(answer.json()["detail"])
        return answer.json()


def watch(address: str, key: str, until: float, results: Results) -> None:
    """Ask the server who it is, ten times a second: what needs no processor must not wait for it."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        while time.monotonic() < until:
            with results.timed("about"):
                client.get(f"{API}/about").raise_for_status()
            time.sleep(0.1)


@contextmanager
def serving(folder: Path, threads: int | None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a server on a free port."""
    words = [
        sys.executable,
        "-m",
        "limnet",
        "serve",
        str(folder),
        "--no-browser",
        "--port",
        "0",
        "--nni-port",
        "0",
    ]
    words += ["--work-dir", str(folder / "work"), *(["--threads", str(threads)] if threads else [])]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+?:\d+", line)))
        yield address, process
    finally:
        process.terminate()
        process.wait(30)


def shifted(number: int, folder: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    """A volume for one user, and the voxels (N, 3) of the structure in it."""
    sample = read_volume(sample_volume_path())
    truth = read_mask(sample_truth_path(), like=sample)
    array = np.roll(sample.array, 3 * number, axis=0).astype(np.uint16)
    path = folder / f"user{number}.nii"
    write_mask(path, array, like=Volume(array, sample.affine))
    return path, np.argwhere(np.roll(truth, 3 * number, axis=0) > 0)


def peak_mib(process: subprocess.Popen[str]) -> float | None:
    """Peak memory of the server, where the system tells it."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else None


def run(num_users: int, seconds: float, threads: int | None) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = Keyring(folder / "work")
        given = [keys.add(f"user{n}") for n in range(num_users)]
        volumes = [shifted(n, folder) for n in range(num_users)]
        with serving(folder, threads) as (address, process):
            users = [
                User(address, key, *pair, seed=n)
                for n, (key, pair) in enumerate(zip(given, volumes, strict=True))
            ]
            results, until = Results(), time.monotonic() + seconds
            working = [threading.Thread(target=user.work, args=(until, results)) for user in users]
            working.append(threading.Thread(target=watch, args=(address, given[0], until, results)))
            for thread in working:
                thread.start()
            for thread in working:
                thread.join()
            memory = peak_mib(process)
    return {
        "limnet": limnet.__version__,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "users": num_users,
        "seconds": seconds,
        "threads": threads,
        "peak_mib": memory and round(memory),
        "errors": results.errors,
        "figures": {kind: figures(results.seconds[kind]) for kind in KINDS if len(results.seconds[kind]) > 1},
    }


def figures(seconds: list[float]) -> dict[str, float]:
    """Count, median and 95th percentile, the times in ms."""
    cut = quantiles(seconds, n=20, method="inclusive")
    return {"count": len(seconds), "median_ms": round(1000 * cut[9], 1), "p95_ms": round(1000 * cut[18], 1)}


def main() -> int:
    """Run it, print a table; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None)
    words = parser.parse_args()
    found = run(words.users, words.seconds, words.threads)
    print(f"{found['users']} users, {found['seconds']:g} s, {found['machine']}, peak {found['peak_mib']} MiB")
    print(f"| {'':<12} | count | median ms |  p95 ms |")
    print(f"|{'-' * 14}|------:|----------:|--------:|")
    for kind, row in found["figures"].items():
        print(f"| {kind:<12} | {row['count']:5d} | {row['median_ms']:9.1f} | {row['p95_ms']:7.1f} |")
    print(f"errors: {len(found['errors'])}", *found["errors"][:5], sep="\n")
    if words.json is not None:
        words.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
