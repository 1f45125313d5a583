"""limnet evaluate efficiency: what limnet costs, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import astuple, fields
from importlib.resources import as_file, files
from pathlib import Path

from limnet.cli.terminal import aligned, progress_bar
from limnet.errors import ConfigError, OutputError
from limnet.evaluation import Cost, EfficiencyCase, EfficiencySettings, Table, Weights, measure, weights_of
from limnet.evaluation.machine import machine
from limnet.evaluation.table import bullets, number
from limnet.sample import sample_truth_path, sample_volume_path
from limnet.text_file import as_csv, write_whole


def report_efficiency(
    settings: EfficiencySettings,
    image: Path | None,
    labels: Path | None,
    object_id: int,
    weights: Path | None,
    out: Path | None,
    command: str,
) -> int:
    """Measure, print, and write `efficiency.md` and `efficiency.csv` into `out`; the exit code.

    Without an image it is the sample that is segmented.
    """
    if (image is None) != (labels is None):
        raise ConfigError("efficiency takes one volume: give --images FILE with --labels FILE, or neither")
    for path in (image, labels):
        if path is not None and not path.is_file():
            raise ConfigError(f"{path}: efficiency takes one volume; expected a file")
    case = EfficiencyCase(image or sample_volume_path(), labels or sample_truth_path(), object_id)
    volume, _ = case.read()
    with ExitStack() as stack:
        folder = weights or stack.enter_context(as_file(files("limnet") / "weights"))
        size = weights_of(folder)
    costs = []
    with progress_bar("measuring", total=len(settings.threads)) as (bar, task):
        for cost in measure(case, settings, weights):
            costs.append(cost)
            bar.advance(task)
    shape = " x ".join(str(length) for length in volume.shape)
    name = "the sample, brain1" if image is None else image.name
    note = (
        f"On {name}, {shape} voxels, {volume.shape[volume.sweep_axis]} slices: medians over"
        f" {settings.repeats} fresh sessions of {settings.rounds} rounds each, after {settings.warm_up} not"
        f" counted; a process of its own per number of threads."
    )
    tables = [weights_table(size), cost_table(costs)]
    for table in tables:
        print(f"{table.title}\n\n{aligned(table)}\n")
    print(note)
    if out is not None:
        _write(out, _markdown(tables, note, command), _csv(costs))
        print(f"tables  {out}")
    return 0


def weights_table(weights: Weights) -> Table:
    """Parameters by network."""
    rows = [(name, f"{count:,}") for name, count in weights.parameters.items() if count]
    total = sum(weights.parameters.values())
    return Table(
        f"Networks: {weights.mib:.1f} MiB on disk", ("network", "parameters"), (*rows, ("all", f"{total:,}"))
    )


def cost_table(costs: Sequence[Cost]) -> Table:
    """Seconds and memory by number of threads."""
    header = (
        *("threads", "load s", "open s", "first click s", "later click s", "first round s", "later round s"),
        *("slice ms", "slices/s", "later slice ms", "peak MiB"),
    )
    rows = [
        (
            str(cost.threads),
            *(number(value) for value in (cost.load_seconds, cost.open_seconds)),
            *(number(value) for value in (cost.first_click_seconds, cost.later_click_seconds)),
            *(number(value) for value in (cost.first_round_seconds, cost.later_round_seconds)),
            f"{1000 * cost.slice_seconds:.1f}",
            number(1 / cost.slice_seconds, 0),
            number(1000 * cost.later_slice_seconds, 1),
            number(cost.peak_memory_mib, 0),
        )
        for cost in costs
    ]
    return Table("Seconds and memory", header, tuple(rows))


def _markdown(tables: Sequence[Table], note: str, command: str) -> str:
    facts = bullets([f"{name}: {value}" for name, value in machine().items()])
    parts = ["# Efficiency", f"```\n{command}\n```", note, facts]
    for table in tables:
        parts += [f"## {table.title}", table.markdown()]
    return "\n\n".join(parts) + "\n"


def _csv(costs: Sequence[Cost]) -> str:
    header = [field.name for field in fields(Cost)]
    return as_csv([header, *([round(value, 6) for value in astuple(cost)] for cost in costs)])


def _write(out: Path, markdown: str, table: str) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "efficiency.md", markdown)
        write_whole(out / "efficiency.csv", table)
    except OSError as error:
        raise OutputError(f"{out}: tables cannot be written: {error}; give another --out folder") from None
