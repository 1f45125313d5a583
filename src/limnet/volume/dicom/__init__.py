"""DICOM: series of slices, multi-frame files, films; pydicom reads the files, the place is worked out here.

Needs the extra `dicom`; nothing of it is imported before a DICOM file is met.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limnet.volume.dicom.arrange import arrange
from limnet.volume.dicom.pixels import read_slices
from limnet.volume.dicom.series import Series, choose, dicom_in, scan
from limnet.volume.volume import Volume

__all__ = ["Series", "dicom_in", "list_series", "read_dicom"]


def list_series(path: Path) -> tuple[Series, ...]:
    """Every series of images in a DICOM file or folder; none when there is no DICOM."""
    return scan(dicom_in(path)).series


def read_dicom(
    paths: Sequence[Path], where: str, *, series: str | None = None, allow_gaps: bool = False
) -> Volume:
    """One series among DICOM files as a volume.

    i counts columns, j rows, k slices along the normal. `series` is a UID, or UID/2 for its second stack; it
    may be left out when there is only one. Missing slices are a GeometryError that names their positions;
    with `allow_gaps` they are filled with background. VolumeError when files are damaged, or mix patients.
    """
    chosen = choose(scan(paths), where, series)
    arrangement = arrange(chosen.planes, where, allow_gaps=allow_gaps)
    array = read_slices(arrangement.planes, chosen.instances, where)
    frame = chosen.instances[0].frame_of_reference if arrangement.is_placed else ""
    return Volume(array, arrangement.affine, source=where, frame_of_reference=frame)
