"""Pixels of DICOM files as voxels: decoded, rescaled, in colour or grey, in the narrowest exact type.

Grey: rescale slope and intercept, or the modality LUT, are applied; where all are whole numbers the voxels
stay integers. MONOCHROME1 (0 is white) is turned round within its stored bits, so that bright is high
everywhere. Colours, whatever their coding (RGB, YBR, palette), become RGB of 8 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import VolumeError
from limnet.volume.dicom.codestream import frame_size
from limnet.volume.dicom.instance import Instance, Plane, instance_of
from limnet.volume.dicom.reading import BoundedStream, opened
from limnet.volume.limits import check_limits
from limnet.volume.payload import DEFLATE_RATIO

if TYPE_CHECKING:
    from pydicom import Dataset

SMALLEST_ROOM = 1 << 22  # bytes of pixels any file may have: a blank slice shrinks to almost nothing
RUN_LENGTH = "1.2.840.10008.1.2.5"  # the one compression whose frames do not say their size
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
END = b"\xff\xd9"  # of a JPEG-LS frame; without it CharLS grinds for 4 s
EXPLICIT = (b"OB", b"OW", b"OF", b"OD", b"UN")  # no length begins so: it would be odd
PIXELS = {0x0010: "PixelData", 0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData"}  # in group 7FE0


def read_slices(planes: Sequence[Plane | None], instances: Sequence[Instance], where: str) -> NDArray[Any]:
    """The planes as one array, (I, J, K) or (I, J, K, 3); missing ones (None) hold the smallest value.

    `instances` are those the planes come from, all of one size. VolumeError when a file cannot be decoded.
    """
    first = instances[0]
    is_rgb = _is_rgb(first)
    kinds = [_kind(instance) for instance in instances]
    dtype = np.dtype(np.uint8) if is_rgb else np.result_type(*kinds)
    shape = (len(planes), first.rows, first.columns, *([3] if is_rgb else []))
    _check_room(first, planes, where)
    check_limits(first.path, math.prod(shape) * dtype.itemsize)
    try:
        voxels = np.zeros(shape, dtype)  # (K, J, I) or (K, J, I, 3)
    except (MemoryError, ValueError):
        raise VolumeError(f"{where}: {shape} voxels do not fit into memory; crop the series first") from None
    places = {(plane.path, plane.frame): k for k, plane in enumerate(planes) if plane is not None}
    for instance in instances:
        wanted = {plane.frame: places.get((plane.path, plane.frame)) for plane in instance.planes}
        for number, frame in enumerate(read_frames(instance.path)):
            k = wanted.get(number)
            if k is not None:
                voxels[k] = frame
    voxels = _narrowed(voxels)
    gaps = [k for k, plane in enumerate(planes) if plane is None]
    if gaps:
        known = [k for k, plane in enumerate(planes) if plane is not None]
        voxels[gaps] = min(voxels[k].min() for k in known)
    return voxels.swapaxes(0, 2)  # (I, J, K, ...)


def read_frames(path: Path) -> Iterator[NDArray[Any]]:
    """Every frame of a file: (rows, columns) rescaled grey, or (rows, columns, 3) RGB of 8 bits.

    VolumeError when pixels are missing, fewer than promised, or in a syntax that is not decoded.
    """
    with opened(path) as (header, stream):
        instance = instance_of(header, path)
        for plane, frame in zip(instance.planes, stored_frames(header, instance, stream), strict=True):
            yield (
                _coloured(frame, header, instance)
                if _is_rgb(instance)
                else _grey(frame, header, instance, plane)
            )


def stored_frames(header: Dataset, instance: Instance, stream: BoundedStream) -> Iterator[NDArray[Any]]:
    """The frames as they are stored (colours already RGB), one after the other, from an opened file."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import as_pixel_options
    from pydicom.uid import UID

    path, syntax = instance.path, UID(instance.syntax)
    keyword, vr = _pixel_element(header, stream, path)
    start = stream.tell()
    _check_size(instance, stream, path, is_packed=syntax.is_encapsulated, keyword=keyword)
    if instance.bits_allocated == 1 and not syntax.is_encapsulated:
        yield from _single_bits(instance, stream, is_swapped=vr == "OW" and not header.original_encoding[1])
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise VolumeError(
            f"{path}: pixels in the transfer syntax {syntax.name!r} are not decoded; save the series without"
            f" compression (a video: as frames)"
        ) from None
    if not decoder.is_available:
        needed = "; ".join(decoder.missing_dependencies)
        raise VolumeError(f"{path}: pixels in {syntax.name!r} need {needed}: pip install 'limnet[dicom]'")
    options = as_pixel_options(header, transfer_syntax_uid=syntax, pixel_keyword=keyword, pixel_vr=vr)
    options["number_of_frames"] = len(instance.planes)
    if syntax.is_encapsulated:
        _check_codestreams(instance, stream, options.get("extended_offsets"))
        stream.seek(start)
    source: Any = stream  # it reads, seeks and tells, which is all that pydicom asks
    try:
        if len(instance.planes) == 1:  # only as_array gives pydicom a frame that it may correct in place
            yield decoder.as_array(source, index=0, validate=True, **options)[0]
            return
        frames = decoder.iter_array(source, validate=True, **options)
        for count, (frame, _) in enumerate(frames, start=1):
            yield frame
            if count == len(instance.planes):
                return
    except RuntimeError:  # what pydicom raises when every decoder has given up
        raise VolumeError(
            f"{path}: pixels cannot be decoded ({syntax.name}, {instance.bits_stored} bits); save the series"
            f" without compression"
        ) from None
    raise VolumeError(
        f"{path}: fewer frames than the {len(instance.planes)} its header promises; copy it again"
    )


def _single_bits(
    instance: Instance, stream: BoundedStream, *, is_swapped: bool
) -> Iterator[NDArray[np.uint8]]:
    """Frames of one bit per pixel, packed without a gap between frames: (rows, columns) of 0 and 1.

    Taken here since pydicom unpacks from a stream only frames of whole bytes.
    """
    size = instance.rows * instance.columns
    packed = np.frombuffer(stream.read(-(-size * len(instance.planes) // 16) * 2), np.uint8)
    if is_swapped:
        packed = packed[: packed.size // 2 * 2].view(np.uint16).byteswap().view(np.uint8)
    for n in range(len(instance.planes)):
        first, last = n * size, (n + 1) * size
        bits = np.unpackbits(packed[first // 8 : -(-last // 8)], bitorder="little")
        yield bits[first % 8 :][:size].reshape(instance.rows, instance.columns)


def _pixel_element(header: Dataset, stream: BoundedStream, path: Path) -> tuple[str, str]:
    """(keyword, VR) of the pixel element at which the stream stands; moves it to the value."""
    order = "little" if header.original_encoding[1] else "big"
    start = stream.read(8)
    group, element = (int.from_bytes(start[n : n + 2], order) for n in (0, 2))  # type: ignore[arg-type]  # one of two
    if len(start) < 8 or group != 0x7FE0 or element not in PIXELS:
        raise VolumeError(f"{path}: DICOM without pixels; it is cut short or holds no image: copy it again")
    vr = "OW"
    if start[4:6] in EXPLICIT:  # whatever the file says of itself
        vr = start[4:6].decode("latin-1")
        stream.read(4)
    return PIXELS[element], vr if vr in ("OB", "OW", "OF", "OD") else "OW"


def _check_size(
    instance: Instance, stream: BoundedStream, path: Path, *, is_packed: bool, keyword: str
) -> None:
    """VolumeError when the file cannot hold what its header promises."""
    bits = instance.bits_allocated
    if not (bits == 1 or (bits % 8 == 0 and 8 <= bits <= 64)) or instance.samples not in (1, 3):
        raise VolumeError(
            f"{path}: {instance.samples} samples of {bits} bits per pixel, must be 1 or 3 samples of 1 to 64"
            f" bits; is it damaged?"
        )
    pixels = instance.rows * instance.columns * instance.samples * len(instance.planes)
    if instance.colours == "YBR_FULL_422" and not is_packed:
        pixels = pixels * 2 // 3  # two pixels share their colour
    wanted = math.ceil(pixels * bits / 8)
    left = stream.size - stream.tell()
    room = max(left * DEFLATE_RATIO, SMALLEST_ROOM) if is_packed else left
    if wanted > room:
        raise VolumeError(
            f"{path}: {left:,} bytes are too few for the {wanted:,} bytes of pixels its header promises;"
            f" it is truncated or not what it says: copy it again"
        )


def _check_codestreams(instance: Instance, stream: BoundedStream, offsets: Any) -> None:
    """VolumeError unless every compressed frame is whole and as large as the header says."""
    from pydicom.encaps import generate_frames

    _check_fragments(instance.path, stream)
    expected = (instance.rows, instance.columns, instance.samples)
    frames = generate_frames(
        stream,
        number_of_frames=len(instance.planes),
        extended_offsets=offsets,
    )
    for number, data in enumerate(frames):
        size = frame_size(data)
        if size is not None and size != expected:
            raise VolumeError(
                f"{instance.path}: compressed frame {number + 1} is {size.rows} x {size.columns} x"
                f" {size.samples}, where its header says {expected[0]} x {expected[1]} x {expected[2]};"
                f" it is damaged"
            )
        if instance.syntax in JPEG_LS and not data.rstrip(b"\0").endswith(END):
            raise VolumeError(
                f"{instance.path}: compressed frame {number + 1} is cut short; copy the file again"
            )
        if size is None and not instance.syntax.startswith(RUN_LENGTH):
            raise VolumeError(
                f"{instance.path}: compressed frame {number + 1} is not in the transfer syntax that its"
                f" header names; it is damaged"
            )


def _check_fragments(path: Path, stream: BoundedStream) -> None:
    """VolumeError when a fragment of compressed pixels reaches past the end of the file; the stream stays."""
    start = place = stream.tell()
    while True:
        stream.seek(place)
        item = stream.read(8)
        length = int.from_bytes(item[4:], "little")
        if item[:4] != b"\xfe\xff\x00\xe0":  # the end of the sequence, or what pydicom is to judge
            break
        place += 8 + length
        if place > stream.size:
            raise VolumeError(f"{path}: cut short inside its compressed pixels; copy it again")
    stream.seek(start)


def _check_room(first: Instance, planes: Sequence[Plane | None], where: str) -> None:
    """A grid with gaps may hold far more than its files do."""
    known = sum(plane is not None for plane in planes)
    if len(planes) > 1000 + 100 * known:
        raise VolumeError(f"{where}: {known} images would span {len(planes)} slices; split the series first")


def _is_rgb(instance: Instance) -> bool:
    return instance.samples == 3 or instance.colours == "PALETTE COLOR"


def _kind(instance: Instance) -> np.dtype[Any]:
    """The type that holds every value the grey pixels of a file may take after rescaling."""
    if instance.has_lut:
        return np.dtype(np.int32)
    low, high = _stored_range(instance)
    ends: list[float] = []
    for plane in instance.planes:
        if not (plane.slope.is_integer() and plane.intercept.is_integer()):
            return np.dtype(np.float32 if instance.bits_stored <= 16 else np.float64)
        ends += [plane.slope * low + plane.intercept, plane.slope * high + plane.intercept]
    for kind in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float64)


def _stored_range(instance: Instance) -> tuple[int, int]:
    bits = min(instance.bits_stored, instance.bits_allocated)
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if instance.signed else (0, (1 << bits) - 1)


def _grey(frame: NDArray[Any], header: Dataset, instance: Instance, plane: Plane) -> NDArray[Any]:
    """Modality values of a stored frame (rows, columns)."""
    if instance.colours == "MONOCHROME1" and frame.dtype.kind in "iu":
        low, high = _stored_range(instance)
        frame = (low + high) - frame.astype(np.int64)
    if instance.has_lut:
        from pydicom.pixels.processing import apply_modality_lut

        return apply_modality_lut(frame, header)
    if (plane.slope, plane.intercept) == (1, 0):
        return frame
    wide = (
        np.int64
        if frame.dtype.kind in "iu" and plane.slope.is_integer() and plane.intercept.is_integer()
        else None
    )
    if wide is None:
        return frame.astype(np.float64) * plane.slope + plane.intercept
    return frame.astype(np.int64) * int(plane.slope) + int(plane.intercept)


def _coloured(frame: NDArray[Any], header: Dataset, instance: Instance) -> NDArray[Any]:
    """RGB of 8 bits (rows, columns, 3)."""
    bits = instance.bits_stored
    if instance.colours == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        frame = apply_color_lut(frame, header)[..., :3]
        bits = 8 * frame.dtype.itemsize
    return (frame >> (bits - 8)).astype(np.uint8) if bits > 8 else frame.astype(np.uint8, copy=False)


def _narrowed(voxels: NDArray[Any]) -> NDArray[Any]:
    """As int16 where what is there fits: most CT promises more bits than it uses."""
    if voxels.dtype != np.int32 or not voxels.size:
        return voxels
    low, high = int(voxels.min()), int(voxels.max())
    return voxels.astype(np.int16) if low >= -32768 and high <= 32767 else voxels
