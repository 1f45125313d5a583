"""DICOM segmentations: written by highdicom, one segment per structure, and read back from anyone's.

Written as BINARY (segments may overlap; every viewer reads it) or LABELMAP (Supplement 243; small, no
overlap). Read: both, and FRACTIONAL at one half. A frame lies where its own position and the orientation say;
nothing is resampled, so a segmentation on another grid is a GeometryError.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from limnet.errors import GeometryError, OutputError, VolumeError
from limnet.volume.dicom.anatomy import anatomy_of, name_of_codes
from limnet.volume.dicom.instance import LABEL_MAP, Plane, instance_of, whole
from limnet.volume.dicom.pixels import stored_frames
from limnet.volume.dicom.reading import opened, require
from limnet.volume.dicom.source import Source, character_set, label_text, written
from limnet.volume.geometry import swap_lps, to_index
from limnet.volume.placing import AXIS_TOLERANCE, PLACE_TOLERANCE
from limnet.volume.structure import Structure, colour_of, do_overlap, hex_colour, labels_of
from limnet.volume.volume import Volume
from limnet.volume.whole import write_whole

if TYPE_CHECKING:
    from pydicom import Dataset

Indices = NDArray[np.int64]


def write_segmentation(
    path: Path,
    structures: Sequence[Structure],
    source: Source,
    *,
    kind: Literal["binary", "labelmap"] = "binary",
    uid: str | None = None,
) -> None:
    """Write structures on the grid of `source` as one DICOM-SEG file that refers to its instances.

    `uid` becomes the SOP instance UID (default: a new one). OutputError when there is nothing to write.
    """
    require("highdicom")
    if not any(structure.block.size for structure in structures):
        raise OutputError(f"{path}: nothing to write: every structure is empty; segment one first")
    pixels: NDArray[Any]
    if kind == "binary" and do_overlap(structures):
        pixels = np.stack([s.mask.swapaxes(0, 2) for s in structures], axis=-1)  # (K, J, I, S)
    else:
        pixels = labels_of(structures).swapaxes(0, 2)  # (K, J, I)
    with written(path):
        dataset = _segmentation(structures, pixels, source, kind, uid)
        write_whole(path, lambda place: dataset.save_as(place, enforce_file_format=True))


def read_segmentation(path: Path, like: Volume) -> tuple[Structure, ...]:
    """The segments of a DICOM-SEG file on the grid of `like`, in the order of their numbers.

    GeometryError when it lies on another grid, in another frame of reference or outside.
    """
    with opened(path) as (header, stream):
        check_frame_of_reference(header, path, like)
        instance = instance_of(header, path)
        is_labels = instance.kind == LABEL_MAP or header.get("SegmentationType") == "LABELMAP"
        half = (whole(header.get("MaximumFractionalValue")) or 1) / 2
        numbers = [0] * len(instance.planes) if is_labels else _numbers(header, path)
        found: dict[int, list[Indices]] = {}
        for plane, number, frame in zip(
            instance.planes, numbers, stored_frames(header, instance, stream), strict=True
        ):
            if frame.ndim != 2:
                raise VolumeError(f"{path}: a segmentation in colours, must be one number per pixel")
            marked = frame > 0 if is_labels else frame >= max(half, 0.5)
            if not marked.any():
                continue
            where = _places(plane, np.argwhere(marked), like, path)
            if is_labels:
                values = frame[marked]
                order = np.argsort(values, kind="stable")
                each, starts = np.unique(values[order], return_index=True)
                for value, part in zip(each, np.split(where[order], starts[1:]), strict=True):
                    found.setdefault(int(value), []).append(part)
            else:
                found.setdefault(number, []).append(where)
        return tuple(_structures(header, found, like))


def check_frame_of_reference(header: Dataset, path: Path, like: Volume) -> None:
    """GeometryError when a file names another frame of reference than the volume's."""
    own = str(header.get("FrameOfReferenceUID", ""))
    if own and like.frame_of_reference and own != like.frame_of_reference:
        raise GeometryError(
            f"{path}: made for another scan: its frame of reference is not that of {like.source}"
        )


def _segmentation(
    structures: Sequence[Structure], pixels: NDArray[Any], source: Source, kind: str, uid: str | None
) -> Any:
    """highdicom's object."""
    import highdicom

    known = [k for k, plane in enumerate(source.planes) if plane is not None]
    headers = list(dict.fromkeys(source.planes[k].path for k in known))  # type: ignore[union-attr]  # not None
    first = source.planes[known[0]]
    assert first is not None and first.axes is not None
    step = float(abs(source.affine[:3, 2] @ np.cross(*_unit(source.affine[:3, :2]).T)))  # along the normal
    spacing = first.spacing or (1.0, 1.0)
    lps = swap_lps(source.affine)
    positions = [
        highdicom.PlanePositionSequence("PATIENT", _position(source, k, lps)) for k in range(source.shape[2])
    ]
    dataset = highdicom.seg.Segmentation(
        source_images=[source.headers[path] for path in headers],
        pixel_array=np.ascontiguousarray(pixels),
        segmentation_type="LABELMAP" if kind == "labelmap" else "BINARY",
        segment_descriptions=[_description(n, s) for n, s in enumerate(structures, start=1)],
        series_instance_uid=highdicom.UID(),
        series_number=_series_number(source),
        sop_instance_uid=uid or highdicom.UID(),
        instance_number=1,
        manufacturer="limnet",
        manufacturer_model_name="limnet",
        software_versions=version("limnet"),
        device_serial_number="0",
        content_description="limnet segmentation",
        content_label="SEGMENTATION",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=spacing, slice_thickness=step, spacing_between_slices=step
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", first.axes),
        plane_positions=positions,
        specific_character_set=character_set(structures, source),
    )
    if "ContentCreatorName" not in dataset:
        dataset.ContentCreatorName = ""  # type 2: may be empty, must be there
    return dataset


def _unit(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of length 1."""
    unit: NDArray[np.float64] = axes / np.linalg.norm(axes, axis=0)
    return unit


def _position(source: Source, k: int, lps: NDArray[np.float64]) -> tuple[float, ...]:
    """Where slice k lies: as its file says to the last digit, or by the affine where there is none."""
    plane = source.planes[k]
    if plane is not None and plane.position is not None:
        return plane.position
    return tuple(float(n) for n in lps[:3, 3] + k * lps[:3, 2])


def _series_number(source: Source) -> int:
    number = source.first.get("SeriesNumber")
    return (int(number) + 1000) % 10_000_000 if number not in (None, "") else 1000


def _description(number: int, structure: Structure) -> Any:
    import highdicom
    from pydicom.sr.coding import Code

    meaning = anatomy_of(structure.anatomy or "tissue")

    def code(of: Any) -> Code:
        return Code(of.value, of.scheme, of.meaning)

    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label_text(structure.name) or f"structure {number}",
        segmented_property_category=code(meaning.category),
        segmented_property_type=code(meaning.kind),
        algorithm_type="SEMIAUTOMATIC",
        algorithm_identification=_algorithm(),
        display_color=highdicom.color.CIELabColor.from_rgb(*structure.rgb),
    )
    if meaning.side is not None:
        side = highdicom.sr.CodedConcept.from_code(code(meaning.side))
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
    return description


def _algorithm() -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    return highdicom.AlgorithmIdentificationSequence(
        name="limnet", family=codes.DCM.ArtificialIntelligence, version=version("limnet")
    )


def _numbers(header: Dataset, path: Path) -> list[int]:
    """The segment each frame belongs to."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    numbers = []
    for own in header.get("PerFrameFunctionalGroupsSequence") or ():
        found = own.get("SegmentIdentificationSequence") or (
            shared.get("SegmentIdentificationSequence") if shared is not None else None
        )
        if not found:
            raise VolumeError(f"{path}: a segmentation whose frames name no segment; it is damaged")
        numbers.append(whole(found[0].get("ReferencedSegmentNumber")))
    return numbers


def _places(plane: Plane, pixels: NDArray[np.int64], like: Volume, path: Path) -> Indices:
    """Positions (N,) in the flat volume of pixels (N, 2) (row, column) of one frame."""
    if plane.position is None or plane.axes is None or plane.spacing is None:
        raise GeometryError(f"{path}: a segmentation without position in the patient; export it again")
    to_ras = np.array([-1.0, -1.0, 1.0])
    along_row, along_column = np.array(plane.axes[:3]) * to_ras, np.array(plane.axes[3:]) * to_ras
    inverse = np.linalg.inv(like.affine[:3, :3])
    steps = np.stack([inverse @ along_column * plane.spacing[0], inverse @ along_row * plane.spacing[1]])
    rounded = np.rint(steps)  # (2, 3), for a row, a column
    start = to_index(like.affine, np.array(plane.position) * to_ras)
    if (
        np.abs(steps - rounded).max() > AXIS_TOLERANCE
        or not np.array_equal(np.abs(rounded).sum(1), [1, 1])
        or np.abs(pixels.max(0) @ (steps - rounded)).max() > 0.5  # drift over the whole frame
        or np.abs(start - np.rint(start)).max() > PLACE_TOLERANCE
    ):
        raise GeometryError(
            f"{path}: not on the grid of {like.source} (voxels differ in size, direction or place); resample"
            f" it to that grid first"
        )
    index = pixels @ rounded.astype(np.int64) + np.rint(start).astype(np.int64)  # (N, 3)
    if ((index < 0) | (index >= like.shape)).any():
        raise GeometryError(
            f"{path}: reaches outside {like.source} of shape {like.shape}; is it another scan's?"
        )
    flat: Indices = np.ravel_multi_index(tuple(index.T), like.shape).astype(np.int64)
    return flat


def _structures(header: Dataset, found: dict[int, list[Indices]], like: Volume) -> list[Structure]:
    """Every segment the header describes, empty ones too, then those it forgot."""
    described = {whole(item.get("SegmentNumber")): item for item in header.get("SegmentSequence") or ()}
    structures = []
    for n, number in enumerate(sorted((described.keys() - {0}) | found.keys())):
        item = described.get(number)
        name = str(item.get("SegmentLabel", "") if item is not None else "") or f"segment {number}"
        where = np.concatenate(found[number]) if number in found else np.zeros(0, np.int64)
        structures.append(Structure.at(name, where, like.shape, _colour(item, n), _anatomy(item)))
    return structures


def _colour(item: Dataset | None, n: int) -> str:
    value = None if item is None else item.get("RecommendedDisplayCIELabValue")
    if value is None or len(value) != 3:
        return colour_of(n)
    return hex_colour(_rgb_of_lab([int(part) for part in value]))


def _rgb_of_lab(value: list[int]) -> list[float]:
    """sRGB, 0 to 255, of DICOM's 16-bit CIELab (PS3.3 C.10.7.1.1; D65 as highdicom writes it)."""
    light, a, b = value[0] * 100 / 65535, value[1] * 255 / 65535 - 128, value[2] * 255 / 65535 - 128
    y = (light + 16) / 116
    parts = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29)) * (0.95047, 1.0, 1.08883)
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = np.clip(to_rgb @ xyz, 0, 1)
    rgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return [float(part) for part in 255 * rgb]


def _anatomy(item: Dataset | None) -> str:
    """The name of a segment's code in our table; "" when it has none."""
    kinds = None if item is None else item.get("SegmentedPropertyTypeCodeSequence")
    if not kinds:
        return ""
    sides = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence")
    value = str(kinds[0].get("CodeValue", ""))
    side = str(sides[0].get("CodeValue", "")) if sides else None
    return name_of_codes(value, side)
