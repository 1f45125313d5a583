"""DICOM RTSTRUCT: structures as closed planar contours, one region of interest each, written and read.

Contours are those of contour.py: within half a pixel of the mask, holes joined by a keyhole. Reading takes
all contours of a plane together, even-odd, which is right for keyholes and for outlines with holes beside
them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, LimNetWarning, OutputError, VolumeError
from limnet.volume.dicom.contour import contours_of, filled
from limnet.volume.dicom.instance import whole
from limnet.volume.dicom.reading import opened
from limnet.volume.dicom.segmentation import check_frame_of_reference
from limnet.volume.dicom.source import MAY_BE_EMPTY, Source, character_set, label_text, written
from limnet.volume.geometry import swap_lps, to_index, to_world
from limnet.volume.structure import Structure, colour_of, hex_colour
from limnet.volume.volume import Volume
from limnet.volume.whole import write_whole

if TYPE_CHECKING:
    from pydicom import Dataset

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # detached study management: what RTSTRUCT names a study by
FLAT = 0.05  # of a slice: how far the points of a contour may lie apart across it
MOST_REGIONS = 2000  # of a file; atlases have hundreds
MOST_FILLED = 100  # times that the boxes round all contours may fill the volume
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")

Points = NDArray[np.float64]


def write_structure_set(
    path: Path, structures: Sequence[Structure], source: Source, *, uid: str | None = None
) -> None:
    """Write structures on the grid of `source` as one RTSTRUCT file that refers to its instances."""
    if not any(structure.block.size for structure in structures):
        raise OutputError(f"{path}: nothing to write: every structure is empty; segment one first")
    with written(path):
        dataset = _structure_set(structures, source, uid)
        write_whole(path, lambda place: dataset.save_as(place, enforce_file_format=True))


def read_structure_set(path: Path, like: Volume) -> tuple[Structure, ...]:
    """The regions of an RTSTRUCT file on the grid of `like`; points and open lines are passed by.

    A slice takes the contours drawn nearest to it, if within half a slice. GeometryError when contours are
    not parallel to any slices of the volume or lie in another frame of reference.
    """
    with opened(path) as (header, _):
        for reference in header.get("ReferencedFrameOfReferenceSequence") or ():
            check_frame_of_reference(reference, path, like)
        names = {
            whole(item.get("ROINumber")): str(item.get("ROIName", ""))
            for item in header.get("StructureSetROISequence") or ()
        }
        structures, num_passed = [], 0
        regions = header.get("ROIContourSequence") or ()
        if len(regions) > MOST_REGIONS:
            raise VolumeError(
                f"{path}: {len(regions):,} regions, of which up to {MOST_REGIONS:,} are read; split the file"
            )
        room = MOST_FILLED * math.prod(like.shape)
        for n, item in enumerate(regions):
            number = whole(item.get("ReferencedROINumber"))
            colour = item.get("ROIDisplayColor")
            shade = hex_colour([int(c) for c in colour]) if colour and len(colour) == 3 else colour_of(n)
            contours = item.get("ContourSequence") or ()
            closed = [c for c in contours if str(c.get("ContourGeometricType", CLOSED[0])) in CLOSED]
            num_passed += len(contours) - len(closed)
            where, area = _region([_points(contour, path) for contour in closed], like, path, room)
            room -= area
            structures.append(Structure.at(names.get(number) or f"region {number}", where, like.shape, shade))
    if num_passed:
        warnings.warn(
            f"{path}: {num_passed} contours are points or open lines and enclose nothing; passed by",
            LimNetWarning,
            stacklevel=2,
        )
    return tuple(structures)


def _region(contours: list[Points], like: Volume, path: Path, room: int) -> tuple[NDArray[np.int64], int]:
    """Positions (N,) in the flat volume of what contours, in LPS mm, enclose; pixels of the boxes round them.

    VolumeError when these are more than `room`: no reader should fill a volume over and over.
    """
    indices = [to_index(like.affine, points * (-1.0, -1.0, 1.0)) for points in contours]  # (N, 3) each
    spreads = [np.ptp(index, axis=0) for index in indices]
    wide = [n for n, spread in enumerate(spreads) if np.sort(spread)[1] > FLAT]  # others enclose nothing
    if not wide:
        return np.zeros(0, np.int64), 0
    axis = int(np.argmin(sum(spreads[n] for n in wide)))
    if any(spreads[n][axis] > FLAT for n in wide):
        raise GeometryError(
            f"{path}: contours are not parallel to the slices of {like.source}; it belongs to another"
            f" scan, or must be resampled first"
        )
    nearest: dict[int, tuple[float, list[Points]]] = {}
    for depth, members in _planes(np.array([indices[n][:, axis].mean() for n in wide])):
        k = round(depth)
        if k not in nearest or abs(depth - k) < abs(nearest[k][0] - k):
            nearest[k] = depth, [np.delete(indices[wide[m]], axis, axis=1) for m in members]
    outside = [k for k in nearest if not 0 <= k < like.shape[axis]]
    if outside:
        raise GeometryError(
            f"{path}: contours outside {like.source} of shape {like.shape}; is it another scan's?"
        )
    rest = [a for a in range(3) if a != axis]
    found = []
    size = np.array([like.shape[a] for a in rest])
    area = 0
    for k, (_, polygons) in nearest.items():
        corners = np.concatenate(polygons)
        low = np.clip(np.floor(corners.min(0)), 0, size).astype(np.int64)  # the box around them is enough
        height, width = np.clip(np.floor(corners.max(0)) + 1, low, size).astype(np.int64) - low
        area += int(height * width)
        if area > room:
            raise VolumeError(
                f"{path}: its contours would fill {like.source} more than {MOST_FILLED} times; it is damaged"
            )
        inside = np.argwhere(filled([p - low for p in polygons], (int(height), int(width)))) + low
        index = np.insert(inside, axis, k, axis=1)
        found.append(np.ravel_multi_index(tuple(index.T), like.shape).astype(np.int64))
    return np.concatenate(found), area


def _planes(depths: NDArray[np.float64]) -> list[tuple[float, list[int]]]:
    """(depth, which contours) of every plane; files round, so contours of one plane may differ a little."""
    order = np.argsort(depths, kind="stable")
    ends = np.flatnonzero(np.diff(depths[order]) > FLAT) + 1
    return [(float(depths[part].mean()), part.tolist()) for part in np.split(order, ends)]


def _points(contour: Dataset, path: Path) -> Points:
    """The corners (N, 3) of a contour, LPS, mm."""
    from pydicom.dataelem import RawDataElement

    item = contour.get_item("ContourData")
    raw = item.value if item is not None else None
    if isinstance(item, RawDataElement) and isinstance(raw, bytes):  # many times faster than one DS each
        numbers = np.array(raw.strip(b" \0").split(b"\\"), np.float64)
    else:
        numbers = np.array([float(n) for n in raw or ()], np.float64)
    if not numbers.size or numbers.size % 3 or not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e6:
        raise VolumeError(f"{path}: a contour whose points are no triples of numbers; it is damaged")
    return numbers.reshape(-1, 3)


def _structure_set(structures: Sequence[Structure], source: Source, uid: str | None) -> Dataset:
    """The whole object."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian, generate_uid

    first = source.first
    dataset = Dataset()
    for word in (*MAY_BE_EMPTY, "StudyInstanceUID"):
        dataset[word] = first[word]
    letters = character_set(structures, source)
    if letters is not None:
        dataset.SpecificCharacterSet = letters
    dataset.FrameOfReferenceUID = first.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = first.get("PositionReferenceIndicator") or ""
    dataset.SOPClassUID = UID(SOP_CLASS)
    dataset.SOPInstanceUID = UID(uid) if uid else generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber = "1001"
    dataset.Manufacturer = dataset.ManufacturerModelName = "limnet"
    dataset.SoftwareVersions = version("limnet")
    dataset.OperatorsName = ""
    dataset.StructureSetLabel = "LIMNET"
    dataset.StructureSetDate = dataset.StructureSetTime = ""
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_references(source)]
    regions, contours, observations = [], [], []
    for number, structure in enumerate(structures, start=1):
        region, contour, observation = Dataset(), Dataset(), Dataset()
        region.ROINumber = number
        region.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
        region.ROIName = label_text(structure.name)
        region.ROIGenerationAlgorithm = "SEMIAUTOMATIC"
        contour.ROIDisplayColor = list(structure.rgb)
        contour.ContourSequence = _contours(structure, source)
        contour.ReferencedROINumber = number
        observation.ObservationNumber = observation.ReferencedROINumber = number
        observation.RTROIInterpretedType = observation.ROIInterpreter = ""
        regions.append(region)
        contours.append(contour)
        observations.append(observation)
    dataset.StructureSetROISequence = regions
    dataset.ROIContourSequence = contours
    dataset.RTROIObservationsSequence = observations
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(SOP_CLASS)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit VR has no room for long contours
    dataset.file_meta = meta
    return dataset


def _references(source: Source) -> Dataset:
    """Frame of reference, study, series and every instance."""
    from pydicom.dataset import Dataset

    first = source.first
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [
        _image(source.headers[path]) for path in dict.fromkeys(p.path for p in source.planes if p is not None)
    ]
    study.ReferencedSOPClassUID = STUDY_CLASS
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(header: Dataset, frame: int | None = None) -> Dataset:
    from pydicom.dataset import Dataset

    image = Dataset()
    image.ReferencedSOPClassUID = header.SOPClassUID
    image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    if frame is not None:
        image.ReferencedFrameNumber = frame + 1
    return image


def _contours(structure: Structure, source: Source) -> list[Dataset]:
    """The contours of every slice, LPS mm."""
    from pydicom.dataset import Dataset

    lps = swap_lps(source.affine)
    contours = []
    for n in range(structure.block.shape[2]):
        k = structure.low[2] + n
        plane = source.planes[k]
        for polygon in contours_of(structure.block[:, :, n]):  # (N, 2) in (i, j) of the block
            index = np.column_stack([polygon + structure.low[:2], np.full(len(polygon), k)])
            contour = Dataset()
            if plane is not None:
                several = len(source.instances[plane.path].planes) > 1
                contour.ContourImageSequence = [
                    _image(source.headers[plane.path], plane.frame if several else None)
                ]
            contour.ContourGeometricType = CLOSED[0]
            contour.NumberOfContourPoints = len(index)
            contour.ContourData = [_decimal(x) for x in to_world(lps, index).ravel()]
            contours.append(contour)
    return contours


def _decimal(value: float) -> str:
    """A decimal string (16 characters at most) to a millionth of a mm."""
    return f"{value + 0.0:.6f}".rstrip("0").rstrip(".")
