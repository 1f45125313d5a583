"""Tables as files of text: what a CSV looks like, and how a file appears whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def as_csv(lines: Iterable[Sequence[object]]) -> str:
    """Rows of cells as CSV; lines end in a newline alone on every system.

    >>> as_csv([("set", "Dice"), ("a, b", 0.5)])
    'set,Dice\\n"a, b",0.5\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name and rename it, so that no half of it is ever seen; OSError if not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
