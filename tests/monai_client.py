"""MONAI Label's client: the real one out of its wheel, and a small one of ours with the same calls."""

from __future__ import annotations

import email
import importlib.util
import json
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

FOLDER = Path(__file__).parents[1] / "build" / "monailabel"
FILE = "monailabel/client/client.py"
WHEEL = "monailabel==0.8.5"  # by far the largest part of it is not unpacked


def real_client() -> ModuleType | str:
    """The module of the real client, or why there is none."""
    if sys.version_info >= (3, 13):
        return "it needs the module cgi, which Python 3.13 does not have"
    if not (FOLDER / FILE).exists():
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--retries",
            "0",
            "--timeout",
            "20",
        ]
        command += ["-d", str(FOLDER), WHEEL]
        if subprocess.run(command, capture_output=True, timeout=300, check=False).returncode:
            return f"{WHEEL} cannot be fetched"
        (wheel,) = FOLDER.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(FILE, FOLDER)
        wheel.unlink()
    spec = importlib.util.spec_from_file_location("monailabel_client", FOLDER / FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of cgi
        spec.loader.exec_module(module)
    return module


class RefusedError(Exception):
    """The server said no."""


class SmallClient:
    """The calls of the real client that the module for 3D Slicer makes."""

    def __init__(self, address: str, tmpdir: str) -> None:
        self.http = httpx.Client(base_url=address, trust_env=False, timeout=30)
        self.tmpdir = Path(tmpdir)

    def update_auth(self, token: dict[str, str]) -> None:
        self.http.headers["Authorization"] = f"{token['token_type']} {token['access_token']}"

    def auth_enabled(self) -> bool:
        return bool(self._json("GET", "/auth/")["enabled"])

    def auth_token(self, username: str, password: str) -> Any:
        form = {"username": username, "password": password, "grant_type": "password"}
        return self._json("POST", "/auth/token", data=form)

    def auth_valid_token(self) -> bool:
        return self.http.get("/auth/token/valid").status_code == 200

    def info(self) -> Any:
        return self._json("GET", "/info/")

    def next_sample(self, strategy: str, params: dict[str, Any]) -> Any:
        return self._json("POST", f"/activelearning/{strategy}", json=params)

    def create_session(self, path: str) -> Any:
        return self._json("PUT", "/session/", files=[("files", (Path(path).name, Path(path).read_bytes()))])

    def get_session(self, session_id: str) -> Any:
        return self._json("GET", f"/session/{session_id}")

    def remove_session(self, session_id: str) -> Any:
        return self._json("DELETE", f"/session/{session_id}")

    def upload_image(self, path: str, image_id: str) -> Any:
        files = {"file": (path, Path(path).read_bytes())}
        query = {"image": image_id}
        return self._json("PUT", "/datastore/", params=query, files=files, data={"params": "{}"})

    def save_label(self, image_id: str, path: str, tag: str = "", params: Any = None) -> Any:
        files = {"label": (path, Path(path).read_bytes())}
        query = {"image": image_id} | ({"tag": tag} if tag else {})
        data = {"params": json.dumps(params or {})}
        return self._json("PUT", "/datastore/label", params=query, files=files, data=data)

    def datastore(self) -> Any:
        return self._json("GET", "/datastore/", params={"output": "all"})

    def download_label(self, label: str, tag: str) -> str:
        answer = self._ask("GET", "/datastore/label", params={"label": label, "tag": tag})
        path = self.tmpdir / f"{tag}.nii.gz"
        path.write_bytes(answer.content)
        return str(path)

    def infer(self, model: str, image: str, params: Any, session_id: str | None = None) -> Any:
        query = {"image": image} | ({"session_id": session_id} if session_id else {})
        parts = {"params": (None, json.dumps(params))}
        answer = self._ask("POST", f"/infer/{model}", params=query, files=parts)
        kind = answer.headers["content-type"]
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.content)
        said, file = message.get_payload()
        name = file.get_filename()
        (self.tmpdir / name).write_bytes(file.get_payload(decode=True))
        return str(self.tmpdir / name), json.loads(said.get_payload())

    def train_status(self, check_if_running: bool = False) -> bool:
        return self.http.get("/train/", params={"check_if_running": check_if_running}).status_code == 200

    def train_start(self, model: str, params: Any) -> Any:
        return self._json("POST", f"/train/{model}", json=params)

    def _ask(self, method: str, path: str, **names: Any) -> httpx.Response:
        answer = self.http.request(method, path, **names)
        if answer.status_code != 200:
            raise RefusedError(f"Status: {answer.status_code}; Response: {answer.text}")
        return answer

    def _json(self, method: str, path: str, **names: Any) -> Any:
        return self._ask(method, path, **names).json()
