"""Pictures as volumes: an image is a volume of one slice, a folder of frames one whose last axis is time.

`array[i, j, k]` is the pixel in column i from the left and row j from the top of frame k. A picture has no
millimetres: every edge is taken as 1 mm, columns run to left and rows to posterior, as ITK reads pictures.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import LimNetError, VolumeError
from limnet.volume.limits import check_limits
from limnet.volume.payload import DEFLATE_RATIO, one_line
from limnet.volume.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])  # pixels of 1 mm; RAS+ of ITK's identity
DTYPES = {"grey": np.uint8, "rgb": np.uint8, "uint16": np.uint16, "int32": np.int32, "float": np.float32}
MIXED = {frozenset(("grey", "rgb")): "rgb", frozenset(("grey", "uint16")): "uint16"}


@dataclass(frozen=True)
class Frame:
    """One picture, not yet decoded."""

    path: Path
    page: int  # of a multi-page TIFF; else 0
    size: tuple[int, int]  # columns, rows
    kind: str  # a key of DTYPES


def looks_like_image(start: bytes) -> bool:
    """Whether bytes start as PNG, JPEG, BMP or TIFF does."""
    return start.startswith(STARTS)


def read_image(path: Path, *, labels: bool) -> Volume:
    """One picture as a volume of one slice, a multi-page TIFF as one of several. VolumeError when it cannot.

    `labels` keeps palette indices instead of turning them into colours.
    """
    return _stack(_frames(path, labels=labels), str(path), labels=labels)


def read_frame_folder(path: Path, *, labels: bool) -> Volume:
    """All pictures of a folder, in natural order of their names (2 before 10), as one volume.

    Other and hidden files are ignored. Grey frames among RGB ones become RGB. VolumeError when the folder
    holds no picture or they differ in size.
    """
    names = [p for p in path.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")]
    if not names:
        raise VolumeError(f"{path}: folder without frames, must hold files ending in {', '.join(ENDINGS)}")
    frames = [frame for name in sorted(names, key=natural_order) for frame in _frames(name, labels=labels)]
    return _stack(frames, str(path), labels=labels)


def has_frames(folder: Path) -> bool:
    """Whether pictures lie in a folder itself (not only in folders in it)."""
    return any(p.suffix.lower() in ENDINGS and not p.name.startswith(".") for p in folder.iterdir())


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Sort key by which frame2 comes before frame10."""
    parts = re.split(r"([0-9]+)", path.name.lower())
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], path.name


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """The picture, its size believable; whatever goes wrong with it is one VolumeError."""
    from PIL import Image

    check_limits(path, 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata that are not used here
            content = path.read_bytes()  # from memory, Pillow cannot be made to allocate what a length claims
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                # At best, a byte of deflate holds 8 one-bit pixels times its ratio.
                if image.width * image.height > len(content) * DEFLATE_RATIO * 8:
                    raise VolumeError(
                        f"{path}: a file this short cannot hold {image.width} x {image.height} pixels"
                    )
                yield image
    except LimNetError:
        raise
    except MemoryError:
        raise VolumeError(f"{path}: picture does not fit into memory; make it smaller") from None
    except Exception as error:  # Pillow lets any exception type escape from a damaged file
        raise VolumeError(
            f"{path}: picture cannot be read ({one_line(error)}); save it again as PNG"
        ) from None


def _frames(path: Path, *, labels: bool) -> list[Frame]:
    """The pages of one file: one, except in TIFF."""
    with _opened(path) as image:
        pages = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        frames = []
        for page in range(pages):
            if page:
                image.seek(page)
            frames.append(Frame(path, page, image.size, _kind(image, labels=labels)))
        return frames


def _kind(image: Image, *, labels: bool) -> str:
    """What the pixels of a Pillow mode become."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return "uint16"  # before Pillow 10.3, 16-bit PNG opened as "I"
    if image.mode in ("1", "L", "LA") or (labels and image.mode == "P"):
        return "grey"
    return {"I": "int32", "F": "float"}.get(image.mode, "rgb")


def _stack(frames: list[Frame], where: str, *, labels: bool) -> Volume:
    """All frames in one array, decoded one after the other."""
    first = frames[0]
    kinds = frozenset(frame.kind for frame in frames)
    kind = first.kind if len(kinds) == 1 else MIXED.get(kinds)
    if kind is None:
        raise VolumeError(f"{where}: frames of types {', '.join(sorted(kinds))}, must be of one type")
    for frame in frames:
        if frame.size != first.size:
            raise VolumeError(
                f"{frame.path}: frame of {frame.size[0]} x {frame.size[1]} pixels, must be {first.size[0]} x"
                f" {first.size[1]} like {first.path.name}; resize it or take it out of the folder"
            )
    columns, rows = first.size
    shape = (len(frames), rows, columns, *([3] if kind == "rgb" else []))
    check_limits(first.path, math.prod(shape) * np.dtype(DTYPES[kind]).itemsize)
    pixels = np.empty(shape, DTYPES[kind])
    for k, frame in enumerate(frames):
        pixels[k] = _decoded(frame, kind, labels=labels)
    return Volume(pixels.swapaxes(0, 2), AFFINE, source=where)  # (K, J, I, ...) -> (I, J, K, ...)


def _decoded(frame: Frame, kind: str, *, labels: bool) -> NDArray[Any]:
    """Pixels, (rows, columns) or (rows, columns, 3); alpha is dropped."""
    with _opened(frame.path) as image:
        if frame.page:
            image.seek(frame.page)
        if kind == "rgb":
            return np.asarray(image.convert("RGB"))
        if image.mode == "LA" or (image.mode == "1" and not labels):
            return np.asarray(image.convert("L"))  # black and white become 0 and 255
        return np.asarray(image)
