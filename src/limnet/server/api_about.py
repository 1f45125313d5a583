"""/about, and files that may be opened."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

import limnet
from limnet.server.models import About, FileEntry, Folder, Limits
from limnet.server.problems import problems
from limnet.server.reading import allowed_path, list_folder
from limnet.server.refusals import NotFound
from limnet.server.room import RoomDep, UserDep

LICENCE = "Apache-2.0"

router = APIRouter(tags=["server"])


@router.get("/about", responses=problems())
async def about(room: RoomDep, user: UserDep) -> About:
    """Which server this is, who asks, and what it takes."""
    settings = room.settings
    return About(
        version=limnet.__version__,
        licence=LICENCE,
        weights=room.workspace.model.identity,
        server_id=room.server_id,
        user=user,
        limits=Limits(
            max_upload_mib=settings.max_upload_mib,
            max_voxels=settings.max_voxels,
            max_volumes=settings.max_volumes,
            max_objects=settings.max_objects,
        ),
    )


@router.get("/files", responses=problems())
def files(
    room: RoomDep, user: UserDep, folder: Annotated[str | None, Query(max_length=4096)] = None
) -> Folder:
    """What may be opened by path; without a folder, where to begin."""
    allowed = room.settings.allowed
    if folder is None:
        return Folder(folder=None, parent=None, entries=[_root(path) for path in allowed if path.exists()])
    path = allowed_path(folder, allowed)
    if not path.is_dir():
        raise NotFound(f"{folder[:200]!r} is a file; list the folder it lies in")
    inside = any(root in path.parents for root in allowed)
    return Folder(
        folder=str(path), parent=str(path.parent) if inside else None, entries=list_folder(path, allowed)
    )


def _root(path: Path) -> FileEntry:
    if path.is_dir():
        return FileEntry(name=path.name or str(path), path=str(path), kind="folder", bytes=None)
    return FileEntry(name=path.name, path=str(path), kind="volume", bytes=path.stat().st_size)
