"""limnet serve: the annotator in the browser."""

from __future__ import annotations

import logging
import os
import sys
import threading
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname, socket
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

import limnet
from limnet.cli.options import Count, File, Folder, MaybeCount
from limnet.errors import ConfigError, ServerError

if TYPE_CHECKING:
    from limnet.server.settings import ServerSettings

Volumes = Annotated[Positional[tuple[Path, ...]], arg(metavar="[VOLUME|FOLDER ...]", help_behavior_hint="")]
Folders = Annotated[UseAppendAction[tuple[Path, ...]], arg(metavar="DIR", help_behavior_hint="")]
Names = Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")]
Port = Annotated[int, arg(metavar="PORT")]
Minutes = Annotated[float, arg(metavar="MINUTES")]
Hours = Annotated[float, arg(metavar="HOURS")]


@dataclass(frozen=True)
class Serve:
    """Open the annotator in the browser; needs pip install 'limnet[server]'."""

    volumes: Volumes = ()  # volumes to open; folders in which volumes may be opened
    sample: bool = False  # open the sample volume, as it is done when nothing is named
    start: File = (
        None  # DICOM-SEG, RTSTRUCT or label map, whose objects the one VOLUME (or series) begins with
    )
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"  # another one needs keys: limnet keys add NAME
    port: Port = 8127  # 0: any free one
    nni_port: Port = 1527  # also listened on, where nnInteractive's clients look; 0: none
    nni_sessions: Count = 16  # viewers with sessions at a time, of nnInteractive and of ITK-SNAP each
    nni_idle_hours: Hours = 12.0  # after which the session of an idle viewer is over; its work stays
    name: Names = ()  # a name by which browsers reach the server; repeat for more
    work_dir: Folder = None  # where all work is kept; default: the platform's folder for user data
    allow: Folders = ()  # a folder in which volumes may be opened; repeat for more
    threads: MaybeCount = None  # default: all cores
    weights: Folder = None  # limnet's networks; default: the shipped ones
    no_browser: bool = False  # only print the address
    tls_cert: File = None  # certificate (PEM), with --tls-key: serves https
    tls_key: File = None  # its private key (PEM)
    max_upload_mib: Count = 2048  # of one upload
    max_voxels: Count = 512 * 2**20  # of one volume
    memory_mib: Count = 4096  # of all volumes in memory; beyond it, the least recently used are unloaded
    idle_minutes: Minutes = 30.0  # after which a volume is unloaded; its work stays

    def run(self) -> int:
        """Serve until Ctrl+C."""
        try:
            from limnet.server.app import create_app
            from limnet.server.page_route import is_built
            from limnet.server.run import serve
            from limnet.server.work_folder import lock_folder
        except ModuleNotFoundError as error:
            raise ConfigError(f"serve needs {error.name}: pip install 'limnet[server]'") from None
        logging.basicConfig(
            level=logging.WARNING, format="limnet: %(levelname)s: %(message)s", stream=sys.stderr
        )
        settings = self._settings()
        with ExitStack() as stack:
            sockets = [stack.enter_context(part) for part in self._listen()]
            port = sockets[0].getsockname()[1]
            stack.enter_context(lock_folder(settings.work_dir))
            app = create_app(settings)
            room = app.state.room
            for line in room.workspace.damaged:
                print(f"limnet: warning: {line}", file=sys.stderr)
            if not settings.is_local and not room.keys.entries:
                raise ConfigError(
                    f"--host {self.host} lets others in, and nobody has a key;"
                    f" make one first: limnet keys add NAME"
                )
            if not is_built():
                print(
                    "limnet: warning: the page was not built; see docs/page.md. The API works",
                    file=sys.stderr,
                )
            opened = self._open(room)
            address = f"{'https' if self.tls_cert else 'http'}://{self._reached}:{port}/"
            if opened:
                address += f"?volume={opened}"
            self._tell(settings, address, [part.getsockname()[1] for part in sockets[1:]])

            def started() -> None:
                if not self.no_browser and settings.is_local and has_screen():
                    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

            try:
                serve(app, sockets, tls_cert=self.tls_cert, tls_key=self.tls_key, started=started)
            except KeyboardInterrupt:
                print("limnet: stopped; all work is kept", file=sys.stderr)
        return 0

    @property
    def _reached(self) -> str:
        """The name or address by which browsers reach the server, as it stands in a URL."""
        if self.name:
            return self.name[0]
        if self.host in ("0.0.0.0", "::"):
            return gethostname()
        return f"[{self.host}]" if ":" in self.host else self.host

    def _settings(self) -> ServerSettings:
        from limnet.server.settings import ServerSettings
        from limnet.server.work_folder import default_work_dir

        if self.start is not None and (len(self.volumes) != 1 or self.sample):
            raise ConfigError("--start goes with one VOLUME, or one folder with a DICOM series")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("give --tls-cert and --tls-key together")
        named = (*self.volumes, *self.allow, *(() if self.start is None else (self.start,)))
        missing = [path for path in named if not path.exists()]
        if missing:
            raise ConfigError(f"{missing[0]}: no such file or folder; check the path")
        return ServerSettings(
            work_dir=(self.work_dir or default_work_dir()).resolve(),
            host=self.host,
            port=self.port,
            nni_port=self.nni_port,
            nni_sessions=self.nni_sessions,
            nni_idle_hours=self.nni_idle_hours,
            allowed=tuple(path.resolve() for path in (*self.volumes, *self.allow)),
            threads=self.threads,
            weights=self.weights,
            max_upload_mib=self.max_upload_mib,
            max_voxels=self.max_voxels,
            memory_mib=self.memory_mib,
            idle_minutes=self.idle_minutes,
            is_tls=self.tls_cert is not None,
            hosts=self.name,
        )

    def _listen(self) -> list[socket]:
        """The annotator's socket, and the one for nnInteractive's clients unless its port is taken."""
        from limnet.server.run import listen

        try:
            sockets = [listen(self.host, self.port)]
        except ServerError as error:
            raise ServerError(
                f"{error}; is limnet serve running already? Give another --port, or 0"
            ) from None
        if self.nni_port:
            try:
                sockets.append(listen(self.host, self.nni_port))
            except ServerError as error:
                print(
                    f"limnet: warning: {error}; nnInteractive's clients use --port's address", file=sys.stderr
                )
        return sockets

    def _open(self, room: object) -> str | None:
        """Open what was named, or the sample; the id of the first."""
        from limnet.sample import sample_volume_path
        from limnet.server.keys import LOCAL_USER
        from limnet.server.room import Room
        from limnet.server.structures import add_from_path

        assert isinstance(room, Room)
        if room.needs_key:  # whose would it be?
            if self.start is not None:
                raise ConfigError("--start works without keys only; add the file in the page instead")
            return None
        files = [path for path in self.volumes if path.is_file() or self.start is not None]
        if self.sample or not self.volumes:
            files.append(sample_volume_path())
        opened = [room.workspace.open_file(LOCAL_USER, path) for path in files]
        if self.start is not None:
            added = add_from_path(room, LOCAL_USER, opened[0], self.start)
            if not added:
                print(f"limnet: warning: {self.start}: not added, for there is work already", file=sys.stderr)
        return opened[0] if opened else None

    def _tell(self, settings: ServerSettings, address: str, nni_ports: list[int]) -> None:
        """Where it is and where the work goes."""
        print(f"limnet {limnet.__version__}")
        print(f"annotator    {address}")
        for port in nni_ports:
            print(f"viewers      {self._reached}:{port} (nnInteractive, ITK-SNAP, MONAI Label)")
        print(f"work folder  {settings.work_dir}")
        if not settings.is_local and self.tls_cert is None:
            print(
                "This is not encrypted. Give --tls-cert and --tls-key, or put a proxy that speaks https in"
                " front, such as: caddy reverse-proxy --from NAME --to 127.0.0.1:8127, beside"
                " limnet serve --name NAME"
            )
        print("Ctrl+C ends it; all work is kept.", flush=True)


def has_screen() -> bool:
    """Whether a browser's window could be seen; in a mere terminal, Python would start a text browser."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
