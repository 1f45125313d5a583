"""The series a result refers to: its headers, slice by slice, for DICOM objects that are made from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limnet.errors import GeometryError, OutputError, VolumeError
from limnet.volume.dicom.arrange import Arrangement, arrange
from limnet.volume.dicom.instance import Instance, Plane
from limnet.volume.dicom.reading import guarded, opened
from limnet.volume.dicom.series import choose, dicom_in, scan
from limnet.volume.geometry import Affine, Shape, grid_difference
from limnet.volume.structure import Structure
from limnet.volume.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset


MAY_BE_EMPTY = (  # in every DICOM result (type 2)
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
FORMS = {
    "PatientSex": "[MFO]",
    "PatientBirthDate": r"\d{8}",
    "StudyDate": r"\d{8}",
    "StudyTime": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?",
}


@dataclass(frozen=True, eq=False)
class Source:
    """A series in the order of its slices."""

    where: str
    arrangement: Arrangement
    instances: dict[Path, Instance]
    headers: dict[Path, Dataset]  # without pixels
    shape: Shape

    @property
    def affine(self) -> Affine:
        """Voxel index to mm, RAS+."""
        return self.arrangement.affine

    @property
    def planes(self) -> tuple[Plane | None, ...]:
        """The plane of each slice k; None where the series has a gap."""
        return self.arrangement.planes

    @property
    def first(self) -> Dataset:
        """The header that speaks for the whole series."""
        return next(self.headers[plane.path] for plane in self.planes if plane is not None)

    def check(self, like: Volume) -> None:
        """GeometryError unless a volume lies on exactly this grid."""
        difference = (
            f"shape {self.shape} against {like.shape}"
            if self.shape != like.shape
            else grid_difference(self.affine, like.affine, like.shape)
        )
        if difference:
            raise GeometryError(f"{self.where}: {like.source} is not this series: {difference}")


def read_source(path: str | Path, *, series: str | None = None, allow_gaps: bool = False) -> Source:
    """The headers of a DICOM series; the arguments are those of `read_volume`.

    VolumeError when there is none, OutputError when it has no place in the patient to refer to.
    """
    path = Path(path)
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    files = dicom_in(path)
    if not files:
        raise OutputError(
            f"{path}: no DICOM series, to which a DICOM result would refer; name the one it was made from"
            f" (--dicom FOLDER, column dicom of a batch), or write .nii.gz or .seg.nrrd"
        )
    chosen = choose(scan(files), str(path), series)
    arrangement = arrange(chosen.planes, str(path), allow_gaps=allow_gaps)
    instances = {instance.path: instance for instance in chosen.instances}
    if not arrangement.is_placed or not chosen.instances[0].frame_of_reference:
        raise OutputError(
            f"{path}: a series without position in the patient, to which no DICOM result can refer; export"
            f" .nii.gz or .seg.nrrd instead"
        )
    headers = {}
    for name in instances:
        with opened(name) as (header, _):
            _completed(header)
            headers[name] = header
    first = chosen.instances[0]
    return Source(
        str(path), arrangement, instances, headers, (first.columns, first.rows, len(arrangement.planes))
    )


def _completed(header: Dataset) -> None:
    """Give a header what may be empty but must be there; anonymised series lack it, or hold other words."""
    for word in MAY_BE_EMPTY:
        value = str(header.get(word) or "")
        form = FORMS.get(word)
        if not value or (form is not None and not re.fullmatch(form, value.strip())):
            setattr(header, word, "")


def label_text(name: str) -> str:
    """A name as DICOM keeps it: one line of up to 64 letters without backslash, which parts values."""
    return " ".join(name.replace("\\", "/").split())[:64].strip()


def character_set(structures: Sequence[Structure], source: Source) -> Any:
    """How a result writes letters: as its series does, or in UTF-8 where a name has letters beyond ASCII."""
    if all(structure.name.isascii() for structure in structures):
        return source.first.get("SpecificCharacterSet") or None
    return "ISO_IR 192"


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Silence around making a DICOM file; what goes wrong in a library is one OutputError without values."""
    try:
        with guarded(path):
            yield
    except VolumeError as error:
        raise OutputError(
            f"{path}: the source series lacks what DICOM needs to refer to it, or is damaged; export .nii.gz"
            f" or .seg.nrrd instead ({error})"
        ) from None
