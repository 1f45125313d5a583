"""What one DICOM file holds: an instance, and the planes in it with their places.

A plane is one 2D image: a classic file has one, an enhanced multi-frame file hundreds. Positions and
directions are DICOM's: LPS, mm; `axes` are the directions in which columns and rows are counted
(PS3.3 C.7.6.2).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limnet.errors import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"
UNKNOWN = "of an unknown kind"
DERIVED_KINDS = (SEGMENTATION, LABEL_MAP, STRUCTURES)
PHASE_WORDS = (  # what tells images at one position apart, most telling first
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "EffectiveEchoTime",
    "EchoTime",
    "InversionTime",
    "DiffusionGradientOrientation",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "FrameReferenceTime",
    "FrameType",
    "ImageType",
    "AcquisitionNumber",
)

SAME_Z_MM = 0.01  # how far two numbers for one place may differ

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Plane:
    """One 2D image of a file, not yet decoded."""

    path: Path
    frame: int  # from 0
    number: int  # instance number: the order when there are no positions
    position: Vector | None  # (3,) centre of the first pixel, LPS, mm
    axes: Vector | None  # (6,) direction along a row (columns grow), then along a column (rows grow)
    spacing: Vector | None  # (2,) mm between rows, between columns
    thickness: float  # mm; 0 unknown
    slope: float
    intercept: float
    stack: str  # of an enhanced file's stacks
    phase: tuple[str, ...]  # one value per word of PHASE_WORDS


@dataclass(frozen=True)
class Instance:
    """One image file of a series: what must be equal among its slices, and its planes."""

    path: Path
    uid: str  # SOP instance
    kind: str  # SOP class
    series: str
    study: str
    patient: str  # a digest: tells patients apart without naming them
    frame_of_reference: str
    modality: str
    series_number: str
    syntax: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    colours: str  # photometric interpretation
    has_lut: bool
    planes: tuple[Plane, ...]


def instance_of(header: Dataset, path: Path) -> Instance:
    """Of a header as it was read; VolumeError when the file holds no image."""
    rows, columns = whole(header.get("Rows")), whole(header.get("Columns"))
    if rows < 1 or columns < 1:
        raise VolumeError(
            f"{path}: DICOM without an image ({kind_name(header)}); is it cut short? copy it"
            f" again, or give images"
        )
    num_frames = max(1, whole(header.get("NumberOfFrames")))
    if num_frames > 1 << 20:
        raise VolumeError(f"{path}: claims {num_frames:,} frames; it is damaged")
    meta = header.file_meta
    samples = max(1, whole(header.get("SamplesPerPixel")))
    colours = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    known = colours in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB") or colours.startswith("YBR_")
    return Instance(
        path=path,
        uid=str(header.get("SOPInstanceUID", "")),
        kind=str(header.get("SOPClassUID", "")),
        series=str(header.get("SeriesInstanceUID", "")),
        study=str(header.get("StudyInstanceUID", "")),
        patient=hashlib.sha256(_patient(header).encode()).hexdigest(),
        frame_of_reference=str(header.get("FrameOfReferenceUID", "")),
        modality=str(header.get("Modality", ""))[:16],
        series_number=str(header.get("SeriesNumber", "") or "")[:12],
        syntax=str(meta.get("TransferSyntaxUID", "") or _guessed_syntax(header)),
        rows=rows,
        columns=columns,
        samples=samples,
        bits_allocated=whole(header.get("BitsAllocated")) or 16,
        bits_stored=whole(header.get("BitsStored")) or whole(header.get("BitsAllocated")) or 16,
        signed=whole(header.get("PixelRepresentation")) == 1,
        colours=colours if known else "MONOCHROME2",
        has_lut=bool(header.get("ModalityLUTSequence")),
        planes=tuple(planes_of(header, path, num_frames)),
    )


def planes_of(header: Dataset, path: Path, num_frames: int) -> list[Plane]:
    """The planes of a file, in the order of its frames."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    if per_frame:
        if len(per_frame) < num_frames:
            raise VolumeError(
                f"{path}: {num_frames} frames, but places for {len(per_frame)}; it is damaged: copy it again"
            )
        return [_enhanced_plane(header, path, n, per_frame[n], shared) for n in range(num_frames)]
    return _classic_planes(header, path, num_frames)


def is_image(header: Dataset) -> bool:
    """Whether a file is, or by its kind should be, an image; of an unknown kind it should."""
    if str(header.get("SOPClassUID", "")) in DERIVED_KINDS:
        return False
    name = kind_name(header)
    return bool(header.get("Rows")) or name == UNKNOWN or "Image Storage" in name


def kind_name(header: Dataset) -> str:
    """The name of a file's SOP class; never free text of the file."""
    from pydicom.uid import UID

    uid = UID(str(header.get("SOPClassUID", "") or header.file_meta.get("MediaStorageSOPClassUID", "") or ""))
    return uid.name if uid.name != uid else UNKNOWN


def whole(value: Any) -> int:
    """A header's number; 0 when it is missing."""
    return 0 if value in (None, "") else int(value)


def _patient(header: Dataset) -> str:
    """Who it is, as far as a file says: the identifier, else the name."""
    words = (str(header.get(word, "") or "").strip() for word in ("PatientID", "PatientName"))
    return next(filter(None, words), "")


def numbers(value: Any, count: int) -> Vector | None:
    """`count` numbers of a header; None when there are none, ValueError when there are others."""
    if value is None or (hasattr(value, "__len__") and len(value) == 0):
        return None
    vector = tuple(float(n) for n in value)
    if len(vector) != count or not all(abs(n) < 1e9 for n in vector):  # NaN is not below anything
        raise ValueError("not the numbers that were expected")
    return vector


def _guessed_syntax(header: Dataset) -> str:
    """Of a file without meta header, by how pydicom could read it."""
    implicit, little = header.original_encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def _positive(value: Any) -> float:
    number = 0.0 if value in (None, "") else float(value)
    return number if 0 < number < 1e6 else 0.0


def _between(header: Dataset) -> float:
    """mm from frame to frame along the normal, below 0 against it (PS3.3 C.8.4.15); 0 unknown."""
    value = header.get("SpacingBetweenSlices")
    number = 0.0 if value in (None, "") else float(value)
    return number if abs(number) < 1e6 else 0.0


def _pixel_spacing(header: Dataset) -> Vector | None:
    """mm between rows and columns: of the patient, else of the detector, else of ultrasound's regions."""
    for word in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = numbers(header.get(word), 2)
        if found and min(found) > 0:
            return found
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        deltas = (_positive(region.get("PhysicalDeltaY")), _positive(region.get("PhysicalDeltaX")))
        units = (whole(region.get("PhysicalUnitsXDirection")), whole(region.get("PhysicalUnitsYDirection")))
        if min(deltas) > 0 and units == (3, 3):  # 3: cm
            return 10 * deltas[0], 10 * deltas[1]
    return None


def _phase(*places: Dataset | None) -> tuple[str, ...]:
    """The value of each of PHASE_WORDS in the first of `places` that has it."""

    def value(word: str) -> str:
        for place in places:
            if place is not None and place.get(word) is not None:
                return str(place.get(word))
        return ""

    return tuple(value(word) for word in PHASE_WORDS)


def _classic_planes(header: Dataset, path: Path, num_frames: int) -> list[Plane]:
    """One place for the file; several frames lie along the normal as the file says, or have no place."""
    position = numbers(header.get("ImagePositionPatient"), 3)
    axes = numbers(header.get("ImageOrientationPatient"), 6)
    detector = (header.get("DetectorInformationSequence") or [None])[0]
    if detector is not None:  # nuclear medicine keeps its place there
        position = position or numbers(detector.get("ImagePositionPatient"), 3)
        axes = axes or numbers(detector.get("ImageOrientationPatient"), 6)
    between = _between(header)
    thickness = abs(between) or _positive(header.get("SliceThickness"))
    offsets = _dose_offsets(header, num_frames, position, axes) if num_frames > 1 else None
    if offsets is None and num_frames > 1 and position and axes and between:
        offsets = tuple(between * n for n in range(num_frames))
    if num_frames > 1 and offsets is None:
        position = axes = None  # a film: its frames lie in time
    slope = float(header.get("DoseGridScaling") or _default(header.get("RescaleSlope"), 1.0))
    planes = []
    for n in range(num_frames):
        place = position
        if position and axes and offsets:
            normal = cross(axes)
            place = tuple(p + offsets[n] * d for p, d in zip(position, normal, strict=True))
        planes.append(
            Plane(
                path=path,
                frame=n,
                number=whole(header.get("InstanceNumber")),
                position=place if axes else None,
                axes=axes if place else None,
                spacing=_pixel_spacing(header),
                thickness=thickness,
                slope=slope,
                intercept=float(_default(header.get("RescaleIntercept"), 0.0)),
                stack="",
                phase=_phase(header),
            )
        )
    return planes


def _dose_offsets(
    header: Dataset, num_frames: int, position: Vector | None, axes: Vector | None
) -> Vector | None:
    """mm along the normal of the frames of a dose; None when it is none.

    A file says them from the first frame on, or as the z of every frame (PS3.3 C.8.8.3.2).
    """
    offsets = numbers(header.get("GridFrameOffsetVector"), num_frames)
    if offsets is None or position is None or axes is None or offsets[0] == 0:
        return offsets
    if abs(offsets[0] - position[2]) > SAME_Z_MM or abs(abs(cross(axes)[2]) - 1) > 1e-3:
        raise ValueError("offsets that are neither distances nor places")
    return tuple((offset - offsets[0]) * round(cross(axes)[2]) for offset in offsets)


def _enhanced_plane(header: Dataset, path: Path, n: int, own: Dataset, shared: Dataset | None) -> Plane:
    """The place of one frame, from its own functional groups, else from the shared ones."""

    def group(word: str) -> Dataset | None:
        for place in (own, shared):
            found = place.get(word) if place is not None else None
            if found:
                return found[0]  # type: ignore[no-any-return]
        return None

    def value(sequence: str, word: str) -> Any:
        found = group(sequence)
        return None if found is None else found.get(word)

    position = numbers(value("PlanePositionSequence", "ImagePositionPatient"), 3)
    axes = numbers(value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    measures = group("PixelMeasuresSequence")
    spacing = _pixel_spacing(measures) if measures is not None else _pixel_spacing(header)
    thickness = 0.0
    if measures is not None:
        thickness = _positive(measures.get("SpacingBetweenSlices")) or _positive(
            measures.get("SliceThickness")
        )
    transform = group("PixelValueTransformationSequence") or header  # secondary captures say it once for all
    contents = [
        group(word)
        for word in (
            *("FrameContentSequence", "MREchoSequence", "MRDiffusionSequence", "MRImageFrameTypeSequence"),
            *("CTImageFrameTypeSequence", "CardiacSynchronizationSequence", "TemporalPositionSequence"),
        )
    ]
    return Plane(
        path=path,
        frame=n,
        number=whole(header.get("InstanceNumber")),
        position=position if axes else None,
        axes=axes if position else None,
        spacing=spacing,
        thickness=thickness,
        slope=float(_default(transform.get("RescaleSlope"), 1.0)),
        intercept=float(_default(transform.get("RescaleIntercept"), 0.0)),
        stack=str(value("FrameContentSequence", "StackID") or ""),
        phase=_phase(*contents),
    )


def cross(axes: Vector) -> Vector:
    """The slice normal: row direction x column direction."""
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    return b * f - c * e, c * d - a * f, a * e - b * d


def _default(value: Any, default: float) -> Any:
    return default if value in (None, "") else value
