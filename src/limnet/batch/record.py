"""What is known of a finished case: checksums of all that went into its result, and of the result.

```
FOLDER/CASE.nii.gz            the result
FOLDER/.batch/CASE.json       its record, written just before the result is put in place
FOLDER/.batch/lock            held while a batch runs
FOLDER/.batch/draft-*         results on their way; removed at the next start
```
A volume is read again for its checksum only when sizes or times of its files have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limnet.batch.case import BatchCase, BatchSettings, ObjectRow
from limnet.errors import OutputError
from limnet.text_file import write_whole

KEPT = ".batch"  # folder of the records, within that of the results
HEADERS = (".mhd", ".nhdr")  # files that name another one, which is called alike
WORDS = {  # of `inputs`, as a message names them
    "volume": "volume",
    "prompts": "prompts",
    "starts": "masks to start from",
    "weights": "weights",
    "version": "version of limnet",
    "settings": "settings",
}


@dataclass(frozen=True)
class Record:
    """A result and where it came from."""

    inputs: dict[str, str]  # checksums of what went in, under the names of WORDS
    stamp: str  # of the volume's files: what tells whether they were written since
    result: str  # SHA-256 of the result
    before: str  # SHA-256 of the result that it took the place of; "" for none
    seconds: float
    message: str
    objects: tuple[ObjectRow, ...]

    def write(self, path: Path) -> None:
        """Put it on disk, whole or not at all."""
        try:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps(asdict(self), indent=1))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}; make room") from None


def read_record(path: Path) -> Record | None:
    """The record of an earlier run; None when there is none, or it is damaged and so says nothing."""
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        objects = tuple(ObjectRow(**item) for item in table.pop("objects"))
        return Record(**table, objects=objects)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def record_path(case: BatchCase, folder: Path) -> Path:
    """Where the record of a case lies."""
    return folder / KEPT / f"{case.name}.json"


@dataclass(frozen=True)
class Inputs:
    """All that goes into a case, as checksums."""

    checksums: dict[str, str]
    stamp: str  # of the volume's files

    @classmethod
    def of(
        cls, case: BatchCase, settings: BatchSettings, weights: str, version: str, known: Record | None
    ) -> Inputs:
        """Of a case as it is now; a volume with the stamp that `known` has is not read again."""
        scan, starts = files_of(case.volume), [path for path in case.starts if path is not None]
        stamp = stamp_of(scan)
        is_known = known is not None and known.stamp == stamp and "volume" in known.inputs
        said: list[object] = [case.out, case.names, case.anatomy, [path is None for path in case.starts]]
        said += [case.series, str(case.dicom or ""), settings.restore, settings.allow_gaps]
        checksums = {
            "volume": known.inputs["volume"] if known is not None and is_known else checksum_of(scan),
            "prompts": checksum_of([file for path in case.prompts for file in files_of(path)]),
            "starts": checksum_of([file for path in starts for file in files_of(path)]),
            "weights": weights,
            "version": version,
            "settings": hashlib.sha256(json.dumps(said).encode()).hexdigest(),
        }
        return cls(checksums, stamp)


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> str:
    """What differs between the inputs of two runs, in words; empty when nothing does."""
    return ", ".join(word for name, word in WORDS.items() if now.get(name) != before.get(name))


def files_of(path: Path) -> list[Path]:
    """The files that an input is made of, in order; none when it is not there."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.name.lower().endswith(HEADERS):
        return sorted(file for file in path.parent.glob(f"{path.stem}.*") if file.is_file())
    log = path.with_name(f"{path.name}-wal")  # of a journal that was not closed
    return [file for file in (path, log) if file.is_file()]


def stamp_of(files: list[Path]) -> str:
    """Number and size of files, and a checksum of names, sizes and times: the same until one is written."""
    facts = [(file.name, file.stat()) for file in files]
    told = [(name, fact.st_size, fact.st_mtime_ns) for name, fact in facts]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return f"{len(facts)} files, {sum(fact.st_size for _, fact in facts)} bytes, {digest[:16]}"


def checksum_of(files: list[Path]) -> str:
    """SHA-256 of names and contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()


def sha256_of(file: Path) -> str:
    """SHA-256 of a file; "" when it is not there."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()
