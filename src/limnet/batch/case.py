"""Cases of a batch before they are run, and what is told of them while and after they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal, get_args

from limnet.errors import ConfigError
from limnet.volume.dicom.anatomy import anatomy_of
from limnet.volume.exchange import Kind

Format = Literal["nii.gz", "nii", "nrrd", "seg.nrrd", "mha", "seg.dcm", "labelmap.dcm", "rtstruct.dcm"]
Status = Literal["done", "kept", "failed", "not run"]
FORMATS: tuple[str, ...] = get_args(Format)
STATUSES: tuple[str, ...] = get_args(Status)
DICOM_KINDS: dict[str, Kind] = {
    ".seg.dcm": "seg",
    ".labelmap.dcm": "labelmap-seg",
    ".rtstruct.dcm": "rtstruct",
}


@dataclass(frozen=True, kw_only=True)
class BatchCase:
    """One volume, the prompts of its objects, and the file that their masks go to."""

    name: str
    volume: Path
    prompts: tuple[Path, ...]  # scripts, one object each, in order; or one journal with all its objects
    out: str  # file name of the result, within the batch's folder; its ending is the format
    names: tuple[str, ...] = ()  # of the objects, in order; "" leaves one as it is
    anatomy: tuple[str, ...] = ()  # likewise, names of `volume.dicom.anatomy`
    starts: tuple[Path | None, ...] = ()  # likewise: a mask to start from
    series: str | None = None  # of a folder with several DICOM series
    dicom: Path | None = None  # the series that a DICOM result refers to, when the volume is a conversion

    def __post_init__(self) -> None:
        checked_name(self.name, "case name")
        checked_name(self.out, "name of the result")
        if not self.out.lower().endswith(tuple(f".{form}" for form in FORMATS)):
            raise ConfigError(
                f"case {self.name}: result {self.out!r} must end in one of {', '.join(FORMATS)}"
            )
        for word in self.anatomy:
            if word:
                anatomy_of(word)
        if not self.prompts:
            raise ConfigError(f"case {self.name}: no prompts; give a script (JSON) or a journal")

    @property
    def kind(self) -> Kind:
        """What kind of file the result is."""
        found = (kind for ending, kind in DICOM_KINDS.items() if self.out.lower().endswith(ending))
        return next(found, "labels")


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How every case of a batch is run."""

    restore: bool = False  # take the masks of journals as they are; else give their prompts again
    overwrite: bool = False  # replace results that were changed since, or that others made
    allow_gaps: bool = False  # take DICOM series with missing slices


@dataclass(frozen=True)
class ObjectRow:
    """One object of a case that is finished: a row of objects.csv."""

    name: str
    rounds: int
    prompts: int
    voxels: int
    ml: float


@dataclass(frozen=True)
class CaseRow:
    """What became of one case: a row of summary.csv."""

    case: str
    status: Status
    message: str = ""  # one line: why it failed, what was repaired, why it was run again
    seconds: float = 0.0  # from reading the volume to the written result
    out: str = ""  # file name of the result
    objects: tuple[ObjectRow, ...] = ()

    @property
    def rounds(self) -> int:
        """Of all objects."""
        return sum(item.rounds for item in self.objects)

    @property
    def ml(self) -> float:
        """Of all objects; where they overlap, counted for each."""
        return sum(item.ml for item in self.objects)


@dataclass(frozen=True)
class Playing:
    """A case is at this round of this object now."""

    case: str
    object_name: str
    round: int


@dataclass(frozen=True)
class Plan:
    """All cases of a batch in order, and those that are known to fail before anything is read."""

    cases: tuple[BatchCase, ...]
    failures: tuple[CaseRow, ...] = ()

    def __post_init__(self) -> None:
        for what, words in (
            ("cases are called", [*(c.name for c in self.cases), *(f.case for f in self.failures)]),
            ("cases would write", [case.out for case in self.cases]),
        ):
            counts = Counter(word.lower() for word in words)  # Windows and macOS tell no case apart
            twice = next((word for word in words if counts[word.lower()] > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"two {what} {twice!r}; give each a name of its own (column 'case' or 'out')"
                )
        if not self.cases and not self.failures:
            raise ConfigError("no case: nothing to do; name volumes with prompts")


def checked_name(name: str, what: str) -> str:
    """A name that may be that of a file in a folder; ConfigError otherwise.

    >>> checked_name("patient-7", "case name")
    'patient-7'
    """
    is_plain = PurePosixPath(name).name == PureWindowsPath(name).name == name
    if not is_plain or name.startswith(".") or not name.isprintable() or len(name) > 200:
        raise ConfigError(
            f"{what} {name[:200]!r}: must be usable as a file name: no folders, no dot in front,"
            f" 1 to 200 characters"
        )
    return name
