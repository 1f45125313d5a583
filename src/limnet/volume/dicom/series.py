"""Which series a folder holds, and the one that is meant.

Files of a series that differ in size or orientation (a localiser among the slices), or that repeat positions
(echoes, time points), are parted into stacks; each can be chosen, as UID/1, UID/2 ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limnet.errors import VolumeError
from limnet.volume.dicom.arrange import split_phases
from limnet.volume.dicom.instance import Instance, Plane, instance_of, is_image, kind_name
from limnet.volume.dicom.reading import looks_like_dicom, opened
from limnet.volume.frames import ENDINGS, has_frames, natural_order

MOST_LISTED = 12  # series named in a message
SAME_DIRECTION = 1e-3  # of a direction's components: scanners write one direction in many roundings
SAME_SPACING_MM = 1e-4
MOST_COMPARED = 64  # stacks a plane is compared with


@dataclass(frozen=True)
class Series:
    """One stack of images that can be read as one volume."""

    name: str  # the series' UID, with /1, /2 ... when it has several stacks
    instances: tuple[Instance, ...]  # each with those of its planes that belong here

    @property
    def planes(self) -> tuple[Plane, ...]:
        """All planes, in no order yet."""
        return tuple(plane for instance in self.instances for plane in instance.planes)

    def __str__(self) -> str:
        first, count = self.instances[0], len(self.planes)
        words = f"{self.name}  {first.modality or '?'}, {count} image{'s' * (count != 1)} of"
        number = f", series {first.series_number}" if first.series_number else ""
        return f"{words} {first.columns} x {first.rows}{number}"


@dataclass(frozen=True)
class Scan:
    """What is in a folder."""

    series: tuple[Series, ...]
    others: tuple[str, ...]  # kinds of DICOM objects that are no images
    damaged: tuple[VolumeError, ...]


def dicom_files(folder: Path) -> Iterator[Path]:
    """Every DICOM file in a folder and its folders, in natural order, without pictures and hidden files."""
    for path in sorted(folder.iterdir(), key=natural_order):
        if path.name.startswith(".") or path.suffix.lower() in ENDINGS:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from dicom_files(path)
        elif path.is_file() and path.name.upper() != "DICOMDIR":
            with path.open("rb") as file:
                if looks_like_dicom(file.read(132)):
                    yield path


def dicom_in(path: Path) -> list[Path]:
    """The DICOM files a path stands for: itself, or those of a folder unless pictures lie beside them."""
    if path.is_file():
        with path.open("rb") as file:
            return [path] if looks_like_dicom(file.read(132)) else []
    return list(dicom_files(path)) if path.is_dir() and not has_frames(path) else []


def scan(paths: Sequence[Path]) -> Scan:
    """The series among DICOM files; damaged files are kept aside."""
    instances: list[Instance] = []
    others: list[str] = []
    damaged: list[VolumeError] = []
    for path in paths:
        try:
            with opened(path) as (header, _):
                if is_image(header):
                    instances.append(instance_of(header, path))
                else:
                    others.append(kind_name(header))
        except VolumeError as error:
            damaged.append(error)
    by_uid: dict[str, list[Instance]] = {}
    for instance in instances:
        by_uid.setdefault(instance.series, []).append(instance)
    found = tuple(stack for uid, members in by_uid.items() for stack in _stacks(uid, members))
    return Scan(found, tuple(sorted(set(others))), tuple(damaged))


def choose(found: Scan, where: str, name: str | None = None) -> Series:
    """The series that `name` (a UID, or UID/2) means, or the only one; else a VolumeError that lists them."""
    if found.damaged:
        raise found.damaged[0]
    if not found.series:
        kinds = f" (there is {', '.join(found.others[:3])})" if found.others else ""
        raise VolumeError(f"{where}: no DICOM images{kinds}; give a folder with a series of slices")
    meant = [s for s in found.series if name is None or name in (s.name, s.name.partition("/")[0])]
    if len(meant) == 1:
        _refuse_mixed(meant[0], where)
        return meant[0]
    listed = "; ".join(str(series) for series in (meant or found.series)[:MOST_LISTED])
    if not meant:
        raise VolumeError(f"{where}: no series {name!r}; there is: {listed}")
    raise VolumeError(f"{where}: {len(meant)} series, choose one with --series UID: {listed}")


def _stacks(uid: str, members: Sequence[Instance]) -> list[Series]:
    """The stacks of one series."""
    unique = _without_copies(members)
    of_path = {instance.path: instance for instance in unique}
    grids: dict[tuple[object, ...], list[list[Plane]]] = {}
    for instance in unique:
        for plane in instance.planes:
            key = (instance.rows, instance.columns, instance.samples, plane.stack)
            alike = grids.setdefault(key, [])
            near = next((g for g in alike[-MOST_COMPARED:] if _is_parallel(g[0], plane)), None)
            if near is None:
                alike.append([plane])
            else:
                near.append(plane)
    parts = [part for alike in grids.values() for planes in alike for part in split_phases(planes)]
    stacks = []
    for n, part in enumerate(parts, start=1):
        own: dict[Path, list[Plane]] = {}
        for plane in part:
            own.setdefault(plane.path, []).append(plane)
        name = uid if len(parts) == 1 else f"{uid}/{n}"
        stacks.append(Series(name, tuple(replace(of_path[p], planes=tuple(own[p])) for p in own)))
    return stacks


def _is_parallel(one: Plane, other: Plane) -> bool:
    """Whether two planes have the same directions and pixels of the same size, up to rounding."""
    pairs = (
        (one.axes, other.axes, SAME_DIRECTION),
        (one.spacing, other.spacing, SAME_SPACING_MM),
    )
    return all(
        a is b if a is None or b is None else all(abs(m - n) <= most for m, n in zip(a, b, strict=True))
        for a, b, most in pairs
    )


def _without_copies(members: Sequence[Instance]) -> list[Instance]:
    """A file that was copied under two names counts once; two different files of one UID are both kept."""
    seen: dict[str, list[Instance]] = {}
    for instance in members:
        twins = seen.setdefault(instance.uid, [])
        if not any(_same_content(instance.path, twin.path) for twin in twins):
            twins.append(instance)
    return [instance for twins in seen.values() for instance in twins]


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()


def _refuse_mixed(series: Series, where: str) -> None:
    """One series belongs to one patient and one place."""
    patients = {instance.patient for instance in series.instances}
    if len(patients) > 1:
        raise VolumeError(
            f"{where}: files of {len(patients)} patients in one series; keep those of one patient"
        )
    frames = {instance.frame_of_reference for instance in series.instances}
    if len(frames) > 1:
        raise VolumeError(
            f"{where}: slices of {len(frames)} frames of reference in one series: they do not share a place;"
            f" keep those of one"
        )
