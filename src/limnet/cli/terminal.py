"""What a terminal shows beside results: a bar while work goes on, tables in columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limnet.evaluation import Table


@contextmanager
def progress_bar(what: str, total: float | None = None) -> Iterator[tuple[Progress, TaskID]]:
    """A bar on stderr that leaves no trace; silent when stderr is not a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total)


def aligned(table: Table) -> str:
    """A table in columns: the first to the left, the others to the right."""
    lines = (table.header, *table.rows)
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def time_left(seconds: float, num_done: int, num_all: int) -> str:
    """How long the other cases will take if they are like those that are done, in words.

    The bar's own estimate looks back 30 seconds, and a case may take minutes.

    >>> time_left(90.0, 3, 10)
    'about 4 min left'
    """
    if num_done == 0:
        return "time left unknown"
    left = seconds / num_done * (num_all - num_done)
    return f"about {left / 3600:.1f} h left" if left > 5400 else f"about {math.ceil(left / 60)} min left"
