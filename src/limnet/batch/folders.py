"""A batch as two folders: volumes in one, their prompts under the same names in the other.

```
VOLUMES/CASE.nii.gz        any format limnet reads; a folder is a DICOM series or a film
PROMPTS/CASE.json          prompts of one object
PROMPTS/CASE.liver.json    or of several, each under its name
PROMPTS/CASE.limnet        or a journal (.limnet, .sqlite)
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from limnet.batch.case import BatchCase, CaseRow, Plan
from limnet.errors import ConfigError
from limnet.volume.files import WRITERS
from limnet.volume.frames import ENDINGS as PICTURES

VOLUMES = (*sorted(WRITERS, key=len, reverse=True), ".dcm", *PICTURES)
JOURNALS = (".limnet", ".sqlite")
SCRIPT = ".json"


def find_cases(volumes: str | Path, prompts: str | Path, form: str = "nii.gz") -> Plan:
    """The cases of two folders, in order of their names; results are called CASE.`form`.

    What has no partner, or two, is a failure of the plan. ConfigError when there is no such folder, or
    nothing in it.
    """
    volumes, prompts = Path(volumes), Path(prompts)
    scans = _by_case(volumes, lambda path: path.is_dir() or path.name.lower().endswith(VOLUMES))
    files = _listed(prompts, lambda path: path.name.lower().endswith((SCRIPT, *JOURNALS)))
    given: dict[str, list[Path]] = {}
    for path in files:
        given.setdefault(_owner(path, scans.keys()), []).append(path)
    cases, failures = [], []
    for name in sorted(scans.keys() | given.keys()):
        problem = _problem(name, scans.get(name, []), given.get(name, []), volumes, prompts)
        if problem:
            failures.append(CaseRow(name, "failed", problem))
            continue
        scripts = tuple(given[name])
        try:
            cases.append(
                BatchCase(
                    name=name,
                    volume=scans[name][0],
                    prompts=scripts,
                    out=f"{name}.{form}",
                    names=tuple(_object_name(path, name) for path in scripts),
                )
            )
        except ConfigError as error:
            failures.append(CaseRow(name, "failed", str(error)))
    if not cases and not failures:
        raise ConfigError(f"{volumes}: no volume in it; expected files such as CASE.nii.gz")
    return Plan(tuple(cases), tuple(failures))


def case_name(volume: Path) -> str:
    """What a case is called after its volume.

    >>> case_name(Path("scans/P7.nii.gz")), case_name(Path("scans/P7.1"))
    ('P7', 'P7.1')
    """
    ending = next((ending for ending in VOLUMES if volume.name.lower().endswith(ending)), "")
    return volume.name[: len(volume.name) - len(ending)] if ending else volume.name


def _by_case(folder: Path, is_wanted: Callable[[Path], bool]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _listed(folder, is_wanted):
        found.setdefault(path.name if path.is_dir() else case_name(path), []).append(path)
    return found


def _listed(folder: Path, is_wanted: Callable[[Path], bool]) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be listed ({error.strerror}); give a folder") from None
    return [path for path in paths if not path.name.startswith(".") and is_wanted(path)]


def _owner(path: Path, names: Iterable[str]) -> str:
    """The case that a file of prompts belongs to: the longest name that it begins with, else its own stem."""
    stem = path.name[: -len(path.suffix)]
    fitting = [name for name in names if stem == name or stem.startswith(f"{name}.")]
    return max(fitting, key=len, default=stem)


def _object_name(path: Path, case: str) -> str:
    """The name of the object in CASE.NAME.json; none in CASE.json."""
    return path.name[: -len(path.suffix)][len(case) + 1 :]


def _problem(name: str, scans: list[Path], given: list[Path], volumes: Path, prompts: Path) -> str:
    """Why the files of a case make none; empty when they do."""
    if len(scans) > 1:
        names = ", ".join(path.name for path in scans)
        return f"{volumes}: {len(scans)} volumes are called {name!r} ({names}); keep one"
    if not scans:
        return f"{given[0]}: no volume of that name in {volumes}; expected e.g. {volumes / name}.nii.gz"
    if not given:
        return f"{scans[0]}: no prompts of that name in {prompts}; expected e.g. {prompts / name}.json"
    if len(given) > 1 and any(path.name.lower().endswith(JOURNALS) for path in given):
        names = ", ".join(path.name for path in given)
        return f"{prompts}: a journal beside other prompts of {name!r} ({names}); keep one"
    return ""
