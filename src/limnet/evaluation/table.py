"""A table: words in rows and columns, for the terminal, Markdown, HTML or CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from limnet.evaluation.statistics import Estimate
from limnet.text_file import as_csv


@dataclass(frozen=True)
class Table:
    """Words in rows and columns; the first column names the rows, the others hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""  # what the columns mean, where that is not plain

    def markdown(self) -> str:
        """The table in GitHub's Markdown, without title and note."""
        lines = [self.header, ("---", *["---:"] * (len(self.header) - 1)), *self.rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )

    def html(self) -> str:
        """The table in HTML: a caption, scopes for readers of screens, a frame that scrolls when too wide."""
        head = "".join(f'<th scope="col">{escape(word)}</th>' for word in self.header)
        with_intervals = [any(map(_INTERVAL.match, column)) for column in zip(*self.rows, strict=True)]
        rows = [(row[0], "".join(map(_html_cell, row[1:], with_intervals[1:]))) for row in self.rows]
        body = "\n".join(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>' for name, cells in rows)
        note = f' <span class="note">{escape(self.note)}</span>' if self.note else ""
        label = escape(self.title, quote=True)
        return (
            f'<div class="wide" role="region" tabindex="0" aria-label="{label}">'
            f"<table>\n<caption>{escape(self.title)}{note}</caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )

    def csv(self) -> str:
        """The table as CSV."""
        return as_csv([self.header, *self.rows])


def number(value: float, digits: int = 3) -> str:
    """A number in a cell; a dash where there is none.

    >>> number(0.12345), number(float("nan"))
    ('0.123', '-')
    """
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def with_interval(estimate: Estimate, digits: int = 3) -> str:
    """A mean and its interval in a cell.

    >>> with_interval(Estimate(0.5, 0.4, 0.6), 2), with_interval(Estimate(0.5), 2)
    ('0.50 [0.40, 0.60]', '0.50')
    """
    shown = number(estimate.mean, digits)
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return shown
    return f"{shown} [{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def markdown_of(tables: Iterable[Table], level: int = 3) -> list[str]:
    """Each table under its title, in Markdown, its note beneath."""
    parts: list[str] = []
    for table in tables:
        parts += [f"{'#' * level} {table.title}", table.markdown(), *([table.note] if table.note else [])]
    return parts


def bullets(lines: Sequence[str]) -> str:
    """Lines as a list in Markdown."""
    return "\n".join(f"- {line}" for line in lines)


_INTERVAL = re.compile(r"^(\S+) (\[.*\])$")


def _html_cell(cell: str, beside_intervals: bool) -> str:
    """A cell; intervals stand in a column of their own within it, empty where there is none."""
    if not beside_intervals:
        return f"<td>{escape(cell)}</td>"
    found = _INTERVAL.match(cell)
    shown, bounds = (found[1], found[2]) if found else (cell, "")
    return f'<td>{escape(shown)} <span class="ci">{escape(bounds)}</span></td>'
