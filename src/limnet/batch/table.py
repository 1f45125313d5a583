"""A batch as a table: a CSV file with a row per case.

```
volume,prompts,out,name
ct/1.nii.gz,clicks/1.json,1.nii.gz,liver
ct/2.nii.gz,clicks/2a.json;clicks/2b.json,,liver;spleen
```
Paths are relative to the table's folder. `prompts` and `volume` must be there; several objects of a case are
parted by semicolons.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from limnet.batch.case import BatchCase, Plan
from limnet.batch.folders import case_name
from limnet.errors import ConfigError

NEEDED = ("volume", "prompts")
COLUMNS = (*NEEDED, "out", "case", "name", "anatomy", "start", "series", "dicom")
MOST_BYTES = 64 * 2**20


def read_table(path: str | Path, form: str = "nii.gz") -> Plan:
    """The cases of a table; those without `out` get CASE.`form`.

    ConfigError when the file is no such table, a column is unknown, or a row is not complete: it names the
    line. Whether volumes and prompts can be read turns out case by case.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: larger than {MOST_BYTES >> 20} MiB; it is no table of cases")
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        _check_header(path, header)
        reader.fieldnames = header
        cases = [
            _case(f"{path}, line {reader.line_num}", row, path.parent, form)
            for row in reader
            if any(value.strip() for value in row.values() if isinstance(value, str))
        ]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8 ({error}); export it as one") from None
    return Plan(tuple(cases))


def _check_header(path: Path, header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(COLUMNS)}"
            raise ConfigError(f"{path}: column {name!r} is not known{hint}")
        if header.count(name) > 1:
            raise ConfigError(f"{path}: two columns {name!r}; keep one")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ConfigError(
            f"{path}: no column {' and '.join(map(repr, missing))}; the first line must name the columns,"
            f" at least volume,prompts"
        )


def _case(where: str, row: Mapping[str, str | None], folder: Path, form: str) -> BatchCase:
    """One row as a case."""
    if None in row:  # csv's key for cells beyond the header
        raise ConfigError(f"{where}: more cells than columns; quote a cell that holds a comma")
    cells = {name: (value or "").strip() for name, value in row.items()}
    for name in NEEDED:
        if not cells[name]:
            raise ConfigError(f"{where}: no {name}; fill the cell, or remove the line")
    volume = folder / cells["volume"]
    prompts = tuple(folder / part for part in _parts(cells["prompts"]))
    lists = {name: _parts(cells.get(name, "")) for name in ("name", "anatomy", "start")}
    for name, parts in lists.items():
        if len(prompts) > 1 and len(parts) > len(prompts):
            raise ConfigError(f"{where}: {len(parts)} in column {name!r} for {len(prompts)} files of prompts")
    name = cells.get("case") or case_name(volume)
    try:
        return BatchCase(
            name=name,
            volume=volume,
            prompts=prompts,
            out=cells.get("out") or f"{name}.{form}",
            names=lists["name"],
            anatomy=lists["anatomy"],
            starts=tuple(folder / part if part else None for part in lists["start"]),
            series=cells.get("series") or None,
            dicom=folder / cells["dicom"] if cells.get("dicom") else None,
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _parts(cell: str) -> tuple[str, ...]:
    """The parts of a cell.

    >>> _parts("liver; ;spleen"), _parts("")
    (('liver', '', 'spleen'), ())
    """
    return tuple(part.strip() for part in cell.split(";")) if cell else ()
