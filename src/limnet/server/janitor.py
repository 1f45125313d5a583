"""The janitor: a thread that unloads what has been idle for long."""

from __future__ import annotations

import threading
from types import TracebackType

from limnet.server.workspace import Workspace

SECONDS = 30.0  # between two looks


class Janitor:
    """Looks after a workspace while the block runs."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def __enter__(self) -> Janitor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(SECONDS):
            self._workspace.shrink()
