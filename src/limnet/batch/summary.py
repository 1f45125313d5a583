"""The summary of a batch: every case once, whatever became of it; and every object of those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from limnet.batch.case import CaseRow
from limnet.errors import OutputError
from limnet.text_file import as_csv, write_whole

SUMMARY_CSV, OBJECTS_CSV = "summary.csv", "objects.csv"
HEADER = ("case", "objects", "rounds", "ml", "seconds", "status", "message", "file")
OBJECTS_HEADER = ("case", "object", "name", "rounds", "prompts", "voxels", "ml")


def summary_table(rows: Iterable[CaseRow]) -> list[tuple[str, ...]]:
    """One line per case, without header."""
    return [
        (
            row.case,
            str(len(row.objects)) if row.objects else "",
            str(row.rounds) if row.objects else "",
            f"{row.ml:.3f}" if row.objects else "",
            f"{row.seconds:.2f}" if row.seconds else "",
            row.status,
            row.message,
            row.out,
        )
        for row in rows
    ]


def write_summary(folder: Path, rows: Sequence[CaseRow]) -> None:
    """Write both CSVs, each whole or not at all; OutputError when that cannot be."""
    objects = [
        (row.case, number, item.name, item.rounds, item.prompts, item.voxels, f"{item.ml:.6g}")
        for row in rows
        for number, item in enumerate(row.objects, start=1)
    ]
    try:
        write_whole(folder / SUMMARY_CSV, as_csv([HEADER, *summary_table(rows)]))
        write_whole(folder / OBJECTS_CSV, as_csv([OBJECTS_HEADER, *objects]))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}; make room") from None
