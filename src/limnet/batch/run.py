"""One case of a batch: is it done already? If not: read, prompt, write, note.

The result is made in a draft folder; then its record is written, then it is put in place. Whenever the
process ends, the next run finds the result that the record describes, the one before, or none.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

from limnet.batch.case import BatchCase, BatchSettings, CaseRow, ObjectRow, Playing
from limnet.batch.folders import JOURNALS
from limnet.batch.record import Inputs, Record, changed, read_record, record_path, sha256_of
from limnet.errors import LimNetWarning, OutputError, PromptError, VolumeError, in_words
from limnet.journal import Journal, recompute
from limnet.model import LimNet
from limnet.script import Scripted, read_script
from limnet.session import Session
from limnet.volume import Volume, read_volume
from limnet.volume.dicom.source import Source, read_source
from limnet.volume.exchange import start_mask, write_structures
from limnet.volume.placing import moved
from limnet.volume.structure import Structure, colour_of

DRAFT = "draft-"
T = TypeVar("T")


def run_case(
    case: BatchCase, folder: Path, settings: BatchSettings, model: LimNet
) -> Iterator[Playing | CaseRow]:
    """Bring a case to its row, which comes last; before it, one `Playing` per round.

    Whatever goes wrong is a row with the status "failed".
    """
    run = CaseRun(case, folder, settings, model)
    try:
        yield from run.events()
    except Exception as error:  # any: hours of results must not hang on one case, and a failure is told
        is_stale = run.is_begun and run.target.exists()
        old = "; the result of an earlier run is still there" if is_stale else ""
        yield CaseRow(case.name, "failed", in_words(error) + old)


class CaseRun:
    """A case at work."""

    def __init__(self, case: BatchCase, folder: Path, settings: BatchSettings, model: LimNet) -> None:
        self.case, self.settings, self.model = case, settings, model
        self.target = folder / case.out
        self.path = record_path(case, folder)
        self.notes: list[str] = []  # for the row's message
        self.rows: list[ObjectRow] = []
        self.is_begun = False  # known to be neither finished nor refused

    def events(self) -> Iterator[Playing | CaseRow]:
        """Playing for every round, then the row; errors are raised."""
        case, record = self.case, read_record(self.path)
        if not case.volume.exists():
            raise VolumeError(f"{case.volume}: no such file or folder; check the path")
        missing = next((path for path in case.prompts if not path.is_file()), None)
        if missing is not None:
            raise PromptError(f"{missing}: no such file; check the path")
        inputs = Inputs.of(case, self.settings, self.model.identity, version("limnet"), record)
        kept = self._kept(record, inputs)
        if kept is not None:
            yield kept
            return
        started = time.perf_counter()
        self.is_begun = True
        volume = self._heard(partial(self._read, case.volume))
        structures: list[Structure] = []
        for event in self._structures(volume):
            if isinstance(event, Structure):
                structures.append(event)
            else:
                yield event
        structures = self._named(structures)
        result = self._write(structures, volume, inputs, record, started)
        yield CaseRow(case.name, "done", result.message, round(result.seconds, 3), case.out, result.objects)

    def _kept(self, record: Record | None, inputs: Inputs) -> CaseRow | None:
        """The row of a case that is finished; None when it is to be run. OutputError when it must not be."""
        found = sha256_of(self.target)
        if record is None:
            if found and not self.settings.overwrite:
                raise OutputError(
                    f"{self.target}: is there already, and not from this batch; move it away, or give"
                    f" --overwrite"
                )
            return None
        difference = changed(inputs.checksums, record.inputs)
        is_ours = found in (record.result, record.before)
        if found and not is_ours and not self.settings.overwrite:
            if difference:
                raise OutputError(
                    f"{self.target}: was edited since, and {difference} changed; move it away, or give"
                    f" --overwrite"
                )
            return self._row_of(record, "edited since it was written; left as it is")
        if found == record.result and not difference:
            if inputs.stamp != record.stamp:  # copied or touched: the next run need not read it all again
                replace(record, stamp=inputs.stamp).write(self.path)
            return self._row_of(record, record.message)
        if difference and found:
            self.notes.append(f"run again: {difference} changed")
        return None

    def _row_of(self, record: Record, message: str) -> CaseRow:
        return CaseRow(self.case.name, "kept", message, record.seconds, self.case.out, record.objects)

    def _structures(self, volume: Volume) -> Iterator[Structure | Playing]:
        """The objects of the case, one after the other; only their masks stay in memory."""
        if self.case.prompts[0].name.lower().endswith(JOURNALS):
            yield from self._of_journal(self.case.prompts[0], volume)
            return
        for number, path in enumerate(self.case.prompts):
            name = _at(self.case.names, number) or _at(self.case.anatomy, number) or f"Object {number + 1}"
            session = Session(volume, self.model)
            start = self.case.starts[number] if number < len(self.case.starts) else None
            script = read_script(path)
            if start is not None:
                session.start_from(self._heard(partial(start_mask, start, volume)))
            prompts: tuple[Scripted, ...] = (*script.clicks, *script.prompts)
            for turn, prompt in enumerate(prompts, start=1):
                yield Playing(self.case.name, name, turn)
                self._heard(partial(prompt.give, session))
                self._heard(session.propagate)
            yield self._structure(session, name, colour_of(number), volume)

    def _of_journal(self, path: Path, volume: Volume) -> Iterator[Structure | Playing]:
        """The objects of a journal, as they are or prompted once more."""
        with Journal.open(path) as journal:
            annotation = self._heard(partial(journal.restore, volume, self.model))
            if not annotation.objects:
                raise PromptError(f"{path}: holds no object; there is nothing to make")
            for item in annotation.objects:
                session = item.session
                if not self.settings.restore:
                    yield Playing(self.case.name, item.name, 1)
                    session = self._heard(partial(recompute, session))
                yield self._structure(session, item.name, item.colour, volume)
                item.session.forget_slices()

    def _structure(self, session: Session, name: str, colour: str, volume: Volume) -> Structure:
        """The mask of a session, noted."""
        structure = Structure.of(name, session.mask, colour)
        voxels = int(structure.block.sum())
        ml = voxels * abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
        self.rows.append(ObjectRow(name, len(session.rounds), len(session.prompts), voxels, round(ml, 6)))
        if not voxels:
            self.notes.append(f"{name} is empty")
        return structure

    def _named(self, structures: list[Structure]) -> list[Structure]:
        """With the names and meanings of the case; ConfigError when it has too many."""
        for what, words in (("names", self.case.names), ("anatomy", self.case.anatomy)):
            if len(words) > len(structures):
                raise PromptError(
                    f"{len(words)} {what} for {len(structures)} objects; give one each, in order"
                )
        named = [
            replace(item, name=_at(self.case.names, n) or item.name, anatomy=_at(self.case.anatomy, n))
            for n, item in enumerate(structures)
        ]
        self.rows = [replace(row, name=item.name) for row, item in zip(self.rows, named, strict=True)]
        return named

    def _write(
        self,
        structures: list[Structure],
        volume: Volume,
        inputs: Inputs,
        before: Record | None,
        started: float,
    ) -> Record:
        """Draft the result, write its record, put it in place."""
        drafts = self.path.parent
        try:
            drafts.mkdir(exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=drafts))
        except OSError as error:
            raise OutputError(f"{drafts}: cannot be written: {error.strerror}; make room") from None
        try:
            source, like = self._source(volume)
            if like is not volume:
                structures = [moved(structure, volume, like) for structure in structures]
            made = draft / self.target.name
            kind = self.case.kind
            self._heard(partial(write_structures, made, structures, like, kind=kind, source=source))
            record = Record(
                inputs=inputs.checksums,
                stamp=inputs.stamp,
                result=sha256_of(made),
                before=sha256_of(self.target),
                seconds=time.perf_counter() - started,
                message="; ".join(dict.fromkeys(self.notes)),
                objects=tuple(self.rows),
            )
            record.write(self.path)
            self._place(draft)
            return record
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _place(self, draft: Path) -> None:
        """Move what is in the draft beside the target, the target itself last."""
        try:
            for part in sorted(draft.iterdir(), key=lambda part: part.name == self.target.name):
                part.replace(self.target.parent / part.name)
        except OSError as error:
            raise OutputError(
                f"{self.target}: cannot be written: {error.strerror}; choose another place"
            ) from None

    def _source(self, volume: Volume) -> tuple[Source | None, Volume]:
        """The series that a DICOM result refers to, and the volume on its grid."""
        if self.case.kind == "labels":
            return None, volume
        path = self.case.dicom or self.case.volume
        source = read_source(path, series=self.case.series, allow_gaps=self.settings.allow_gaps)
        return source, volume if self.case.dicom is None else self._read(path)

    def _read(self, path: Path) -> Volume:
        return read_volume(path, series=self.case.series, allow_gaps=self.settings.allow_gaps)

    def _heard(self, do: Callable[[], T]) -> T:
        """Do something; its warnings go into the message."""
        with _warned(self.notes):
            return do()


@contextmanager
def _warned(notes: list[str]) -> Iterator[None]:
    """Collect limnet's warnings as notes; others are shown as ever."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LimNetWarning)
        yield
    for item in caught:
        if issubclass(item.category, LimNetWarning):
            notes.append(" ".join(str(item.message).split()))
        else:
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)


def _at(words: tuple[str, ...], number: int) -> str:
    return words[number] if number < len(words) else ""
