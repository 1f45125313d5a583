"""Volumes from files that users name or send: inside allowed folders, no larger than the limits allow."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from limnet.server.models import FileEntry
from limnet.server.refusals import Forbidden, Full, NotFound
from limnet.server.settings import ServerSettings
from limnet.volume import Volume, read_volume
from limnet.volume.frames import ENDINGS as PICTURES
from limnet.volume.limits import OversizeError, limited

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", *PICTURES)
HEADERS = (".nhdr", ".mhd")  # files that name another one
LOOKED_AT = 50  # files of a folder, to see whether it is one volume
BYTES_PER_VOXEL = 8  # of the widest type


def allowed_path(text: str, allowed: Sequence[Path]) -> Path:
    """The path, symbolic links followed, when it lies inside an allowed folder; else Forbidden or NotFound.

    What lies outside is forbidden whether or not it exists: nobody learns what is there.
    """
    try:
        path = Path(text).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, links in a circle
        raise NotFound(f"{text[:200]!r} is no path; choose a file below an allowed folder") from None
    if not any(path == root or root in path.parents for root in allowed):
        raise Forbidden(f"{text[:200]!r} lies outside the allowed folders; start the server with --allow DIR")
    if not path.exists():
        raise NotFound(f"{text[:200]!r}: no such file or folder; check the path")
    return path


def list_folder(folder: Path, allowed: Sequence[Path]) -> list[FileEntry]:
    """What in a folder may be opened: itself, folders, and files whose ending is a volume's, by name.

    Left out: what is hidden, and links that lead outside the allowed folders.
    """
    entries = []
    try:
        if is_one_volume(folder):
            name = f"all images of {folder.name}"
            entries.append(FileEntry(name=name, path=str(folder), kind="volume", bytes=None))
        for path in sorted(folder.iterdir(), key=lambda path: (not path.is_dir(), path.name.lower())):
            if path.name.startswith(".") or not _is_inside(path, allowed):
                continue
            if path.is_dir():
                entries.append(FileEntry(name=path.name, path=str(path), kind="folder", bytes=None))
            elif path.is_file() and path.name.lower().endswith(VOLUMES):
                size = path.stat().st_size
                entries.append(FileEntry(name=path.name, path=str(path), kind="volume", bytes=size))
    except OSError as error:
        raise NotFound(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None
    return entries


def is_one_volume(folder: Path) -> bool:
    """Whether a folder holds frames or DICOM slices itself, told by a few of its files."""
    files = [path for path in islice(folder.iterdir(), LOOKED_AT) if path.is_file() and path.name[:1] != "."]
    return any(path.name.lower().endswith((".dcm", *PICTURES)) or _is_dicom(path) for path in files)


def read_bounded(path: Path, inside: Iterable[Path], settings: ServerSettings) -> Volume:
    """Read a volume whose files all lie inside some folders and that fits the limits.

    Both are checked before anything is allocated. OversizeError when it does not fit, VolumeError and
    GeometryError as `read_volume`.
    """
    with limited(settings.max_voxels * BYTES_PER_VOXEL, list(inside)):
        volume = read_volume(path)
    count = math.prod(volume.shape)
    if count > settings.max_voxels:
        raise OversizeError(f"{path.name}: {count:,} voxels, at most {settings.max_voxels:,} are taken here")
    return volume


def safe_name(name: str | None) -> str:
    """The last part of an uploaded file's name, free of everything that could leave a folder or hide a file.

    >>> [safe_name(name) for name in ("../../etc/passwd", "C:\\\\scans\\\\ct.nii.gz", ".hidden", "", None)]
    ['passwd', 'ct.nii.gz', 'hidden', 'volume', 'volume']
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    kept = "".join(c for c in last if c.isprintable() and c not in '/\\:*?"<>|').lstrip(". ")
    return kept[-200:] or "volume"


def store_upload(files: Sequence[tuple[str, IO[bytes]]], folder: Path) -> Path:
    """Put uploaded files (name, content) into a new folder.

    The path to read: the header among them, the only file, or the folder.
    """
    folder.mkdir(parents=True)
    try:
        for name, content in files:
            with (folder / name).open("xb") as target:
                shutil.copyfileobj(content, target, 1 << 20)
    except FileExistsError:
        raise Forbidden(f"two files are named {name!r}; give each its own name") from None
    except OSError as error:
        raise Full(f"the upload cannot be stored ({error.strerror}); make room in the work folder") from None
    headers = [name for name, _ in files if name.lower().endswith(HEADERS)]
    if len(headers) == 1:
        return folder / headers[0]
    return folder / files[0][0] if len(files) == 1 else folder


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_inside(path: Path, allowed: Sequence[Path]) -> bool:
    target = path.resolve()
    return any(target == root or root in target.parents for root in allowed)
