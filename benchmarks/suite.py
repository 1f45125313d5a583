"""How fast limnet is and how much memory it takes, beside networks of the same task; a table and JSON.

    python benchmarks/suite.py                         everything: about ten minutes on two cores
    python benchmarks/suite.py --parts start click     some parts
    python benchmarks/suite.py --view 256              the same networks behind a view of 256 x 256 pixels

Every part runs in a fresh process; figures are medians over repeats on warm networks unless they say cold.
The peers have random weights and need torch, scikit-image and dynamic-network-architectures; what is not
installed is left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import parts
import peers
from limnet.evaluation.machine import machine

Facts = dict[str, Any]
LONG = (512, 512, 1500)


def all_parts(model: Path | None, threads: int, repeats: int) -> dict[str, Callable[[], Facts]]:
    """What can be measured, by name; grouped by the word before the colon."""
    given = (model, threads, repeats)
    return {
        "start": partial(parts.start, *given),
        "click": partial(parts.click, *given),
        "rounds": partial(parts.rounds, *given),
        "rounds:one axis": partial(parts.rounds, *given, crossing=False, overview=False),
        "rounds:without overview": partial(parts.rounds, *given, overview=False),
        "rounds:small object": partial(parts.rounds, *given, radius=8.0, num=3),
        "rounds:large object": partial(parts.rounds, *given, radius=60.0, num=3),
        "sweep": partial(parts.sweep, *given),
        **{f"threads:{n}": partial(parts.rounds, model, n, repeats, num=3) for n in (1, 2, 4)},
        "extent:130": partial(parts.extent, *given, (512, 512, 130)),
        "extent:300": partial(parts.extent, *given, (512, 512, 300)),
        "extent:1500": partial(parts.extent, *given, LONG),
        "memory:130": partial(parts.memory, *given, (256, 256, 130)),
        "memory:300": partial(parts.memory, *given, (512, 512, 300)),
        "memory:1500": partial(parts.memory, *given, LONG),
        "memory:1500 packed": partial(parts.memory, *given, LONG, is_mapped=False),
        "peers:nninteractive": partial(peers.nninteractive, threads, 1),
        "peers:xmem": partial(peers.xmem, threads, repeats),
        "peers:random walker": partial(peers.random_walker, threads, repeats),
    }


def measured(name: str, options: argparse.Namespace, model: Path | None) -> Facts:
    """One part in a fresh process; {"left_out": why} when it cannot run."""
    command = [sys.executable, __file__, "--child", name, "--threads", str(options.threads)]
    command += ["--repeats", str(options.repeats), *(["--weights", str(model)] if model else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"left_out": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    return facts


def ratios(results: Facts) -> Facts:
    """One click of limnet, answered in two and in three dimensions, against one step of each peer."""
    found: Facts = {}
    rounds, click = results.get("rounds", {}), results.get("click", {})
    patch = results.get("peers:nninteractive", {})
    if "seconds" in patch and "seconds" in rounds:
        found["nnInteractive patch / finished first round"] = patch["seconds"] / rounds["seconds"][0]
        found["nnInteractive memory / memory of ten rounds"] = patch["peak_mib"] / rounds["peak_mib"]
    if "seconds" in patch and "later_ms" in click:
        found["nnInteractive patch / click to preview"] = 1000 * patch["seconds"] / click["later_ms"]
    slice_of_xmem = results.get("peers:xmem", {})
    if "seconds" in slice_of_xmem and "cached_per_s" in results.get("sweep", {}):
        found["XMem slice / slice of a sweep"] = slice_of_xmem["seconds"] * results["sweep"]["cached_per_s"]
    walker = results.get("peers:random walker", {})
    if "seconds" in walker and "seconds" in rounds:
        found["random walker / finished first round"] = walker["seconds"] / rounds["seconds"][0]
    return found


def table(results: Facts) -> str:
    """All figures as Markdown, a row each: part, figure, value."""
    rows = [("part", "figure", "value"), ("---", "---", "---:")]
    for part, facts in results.items():
        for name, value in facts.items():
            rows.append((part, name.replace("_", " "), _shown(value)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(_shown(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def weights_at(view: int, weights: Path | None, folder: Path) -> Path:
    """A copy of the weights that asks for another view: what that costs, not how good it is."""
    with as_file(files("limnet") / "weights") as shipped:
        copy = Path(shutil.copytree(weights or shipped, folder / "weights"))
    manifest = copy / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"size": view}))
    return copy


def arguments() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(description="Speed and memory of limnet and of its peers.")
    groups = sorted({name.partition(":")[0] for name in all_parts(None, 1, 1)})
    parser.add_argument(
        "--parts", nargs="+", metavar="PART", help=f"of {', '.join(groups)}, or e.g. memory:300"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each figure (default: 5)")
    parser.add_argument(
        "--weights", type=Path, help="folder of exported networks (default: the shipped ones)"
    )
    parser.add_argument("--view", type=int, help="pixels of the view's side (default: as the weights say)")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    options = arguments()
    if options.child:
        print(json.dumps(all_parts(options.weights, options.threads, options.repeats)[options.child]()))
        return
    wanted = [
        name
        for name in all_parts(None, 1, 1)
        if not options.parts or name in options.parts or name.partition(":")[0] in options.parts
    ]
    results: Facts = {}
    with tempfile.TemporaryDirectory(prefix="limnet-") as folder:
        weights = weights_at(options.view, options.weights, Path(folder)) if options.view else options.weights
        for name in wanted:
            print(f"{name} ...", file=sys.stderr, flush=True)
            results[name] = measured(name, options, weights)
            print(f"    {results[name]}", file=sys.stderr, flush=True)
    results["ratios"] = ratios(results)
    about = machine() | {"threads": options.threads, "command": "python " + " ".join(sys.argv)}
    print(table(results))
    print("\n" + ", ".join(f"{key} {value}" for key, value in about.items()))
    if options.json is not None:
        text = json.dumps({"about": about, "results": results}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
