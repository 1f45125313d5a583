"""The application: routes, safety around them, and what they share."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles

import limnet
from limnet.model import LimNet
from limnet.server import (
    api_about,
    api_objects,
    api_sweep,
    api_volumes,
    itksnap,
    monai,
    nninteractive,
    page_route,
    slicer_legacy,
)
from limnet.server.audit import AuditLog
from limnet.server.janitor import Janitor
from limnet.server.keys import Keyring
from limnet.server.problems import handle_problems
from limnet.server.room import Room
from limnet.server.safety import Safety
from limnet.server.settings import ServerSettings
from limnet.server.sweeps import Sweeps
from limnet.server.workspace import Workspace

API = "/api/v1"
NUM_THREADS = 200  # requests that may wait for a turn at once; waiting costs nothing but a thread
DESCRIPTION = """Interactive 3D segmentation: prompts on slices, sweeps through the volume, rounds.

Voxel indices are (i, j, k) of the volume's array, lengths are in mm, affines are RAS+. Errors are problem
details (RFC 9457). A 2xx answer to a change means that it is on disk."""


def create_app(settings: ServerSettings, model: LimNet | None = None) -> FastAPI:
    """The ASGI application of a work folder, which it creates; `model` defaults to that of the settings."""
    settings.work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(settings.passing_dir, ignore_errors=True)
    settings.passing_dir.mkdir()
    workspace = Workspace(settings, model)
    audit = AuditLog(settings.work_dir / "audit.jsonl")
    room = Room(settings, Keyring(settings.work_dir), audit, workspace, Sweeps(workspace))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = NUM_THREADS
        with Janitor(workspace):
            yield
        await anyio.to_thread.run_sync(room.close)

    app = FastAPI(
        title="limnet",
        version=limnet.__version__,
        description=DESCRIPTION,
        license_info={"name": api_about.LICENCE, "identifier": api_about.LICENCE},
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.room = room
    api = APIRouter(prefix=API)
    for router in (api_about.router, api_volumes.router, api_objects.router, api_sweep.router):
        api.include_router(router)
    app.include_router(api)
    slicer_legacy.install(app, room)
    nninteractive.install(app, room)
    itksnap.install(app, room)
    monai.install(app, room)
    app.include_router(page_route.router)
    if page_route.is_built():
        app.mount("/", StaticFiles(directory=page_route.FOLDER), name="page")
    handle_problems(app)
    app.add_middleware(Safety, settings=settings)
    return app
