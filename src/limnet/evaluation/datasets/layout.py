"""What the folder layouts of public data sets have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limnet.errors import CaseError
from limnet.evaluation.cases import CaseFailure, CaseFiles, EvaluationSet, NamedObject


@dataclass(frozen=True)
class Layout:
    """How one public data set lies on disk once it is unpacked."""

    title: str  # its official name
    source: str  # where it can be had, in words
    expects: str  # what lies below the root
    recognises: Callable[[Path], bool]  # cheap: looks at names only
    find: Callable[[Path], list[EvaluationSet]]  # whole sets, in a fixed order


def objects_named(names: Mapping[int, str]) -> tuple[NamedObject, ...]:
    """One object per label, of its id."""
    return tuple(NamedObject(label, name, (label,)) for label, name in names.items())


def set_of(
    name: str,
    cases: Iterable[CaseFiles],
    objects: Sequence[NamedObject],
    failures: Iterable[CaseFailure] = (),
) -> EvaluationSet:
    """A set in which every case declares the same objects."""
    return EvaluationSet(
        name=name,
        cases=tuple(cases),
        failures=tuple(failures),
        names={item.object_id: item.name for item in objects},
    )


def with_truth(
    name: str, cases: Iterable[CaseFiles], objects: Sequence[NamedObject], needed: str
) -> EvaluationSet:
    """A set of those cases whose image and label map are there; the others become failures.

    `needed` says what to do about a file that is missing.
    """
    complete, failures = [], []
    for case in cases:
        absent = [path for path in (case.image, case.labels) if isinstance(path, Path) and not path.exists()]
        if absent:
            failures.append(CaseFailure(name, case.name, f"{absent[0]}: no such file; {needed}"))
        else:
            complete.append(case)
    return set_of(name, complete, objects, failures)


def place_in(root: Path, *inner: str, holds: Callable[[Path], bool]) -> Path | None:
    """The first of `root` and its folders `inner` that `holds` what is looked for."""
    places = (root, *(root / name for name in inner))
    return next((place for place in places if place.is_dir() and holds(place)), None)


def folders(place: Path, pattern: str) -> list[Path]:
    """Folders in `place` whose name fits a glob pattern, by name; hidden ones are passed over."""
    return sorted(path for path in place.glob(pattern) if path.is_dir() and not path.name.startswith("."))


def files(place: Path, pattern: str) -> list[Path]:
    """Files in `place` whose name fits a glob pattern, by name; hidden ones are passed over."""
    return sorted(path for path in place.glob(pattern) if path.is_file() and not path.name.startswith("."))


def without_ending(path: Path) -> str:
    """The name of a NIfTI file without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def read_json(path: Path) -> Any:
    """The content of a JSON file; CaseError when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except ValueError as error:  # JSON and UTF-8 errors are ValueErrors
        raise CaseError(f"{path}: not JSON ({error}); copy or download the file again") from None
