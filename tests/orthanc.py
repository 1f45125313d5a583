"""A real Orthanc (Debian's packages orthanc and orthanc-dicomweb) on a free port, for tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from nni_server import free_port

PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
USER, PASSWORD = "reader", "secret-word"


def missing() -> str:
    """Why there is no Orthanc here; "" when there is one."""
    if _program() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)"
    return "" if _plugin() else "Orthanc's DICOMweb plugin is not installed (Debian: orthanc-dicomweb)"


def _program() -> str | None:
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")


def _plugin() -> Path | None:
    return next((found for folder in PLUGINS for found in Path(folder).glob("libOrthancDicomWeb.so*")), None)


@contextmanager
def orthanc(folder: Path) -> Iterator[str]:
    """The address of its DICOMweb services while the block runs; it asks for USER and PASSWORD.

    Without TLS: Debian 12's Orthanc 1.10.1 crashes at the first request over it, as curl shows too.
    """
    port, plugin, program = free_port(), _plugin(), _program()
    assert plugin is not None
    assert program is not None
    folder.mkdir(parents=True)
    settings = {
        "Name": "limnet-tests",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(plugin)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    address = f"http://localhost:{port}/dicom-web"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        _wait(process, address, folder / "log")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Until it answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"{address}/series", auth=(USER, PASSWORD), timeout=5, trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"Orthanc did not start:\n{log.read_text(errors='replace')[-2000:]}")
