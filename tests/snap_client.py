"""What ITK-SNAP does, call by call, in both generations of its paths; against our server or its own."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any, Literal

import httpx
import numpy as np
import SimpleITK
from numpy.typing import NDArray

Generation = Literal["v1", "v2"]


class Snap:
    """One ITK-SNAP with one image."""

    def __init__(
        self, address: str, generation: Generation = "v1", model: str = "limnet", **http: Any
    ) -> None:
        self.http = httpx.Client(base_url=address, trust_env=False, timeout=30, **http)
        self.generation = generation
        self.prefix = "/v2" if generation == "v2" else ""
        path = f"/v2/start_session/{model}" if generation == "v2" else "/start_session"
        self.session = self._json(self.http.get(path))["session_id"]
        self.shape: tuple[int, ...] = ()  # (nz, ny, nx)

    def upload(self, image: SimpleITK.Image) -> None:
        """Send an image."""
        array = SimpleITK.GetArrayFromImage(image)
        self.shape = array.shape[:3]
        meta = {
            "dimensions": image.GetSize(),
            "spacing": image.GetSpacing(),
            "origin": image.GetOrigin(),
            "direction": image.GetDirection(),
            "components_per_pixel": image.GetNumberOfComponentsPerPixel(),
            "component_type": "float32",
        }
        self._json(self._send("/upload_raw", array, meta, filename="upload.nii.gz"))

    def point(self, x: int, y: int, z: int, positive: bool = True) -> NDArray[np.int8]:
        """A point; the mask (z, y, x)."""
        sign = ("foreground", "true" if positive else "false")
        if self.generation == "v2":
            query: list[tuple[str, Any]] = [("point", x), ("point", y), ("point", z), sign]
        else:
            query = [("x", x), ("y", y), ("z", z), sign]
        path = f"{self.prefix}/process_point_interaction/{self.session}"
        return self._mask(self.http.get(path, params=query))

    def draw(
        self, kind: Literal["scribble", "lasso"], drawn: NDArray[np.generic], positive: bool = True
    ) -> NDArray[np.int8]:
        """A scribble or a lasso (z, y, x); the mask."""
        meta = {"dimensions": drawn.shape[::-1], "components_per_pixel": 1, "component_type": "float32"}
        sign = "true" if positive else "false"
        return self._mask(self._send(f"/process_{kind}_interaction", drawn, meta, foreground=sign))

    def reset(self) -> None:
        """Another label was chosen."""
        answer = self._json(self.http.get(f"{self.prefix}/reset_interactions/{self.session}"))
        assert answer == {"status": "success"}

    def close(self) -> None:
        """End the session."""
        self._json(self.http.get(f"{self.prefix}/end_session/{self.session}"))
        self.http.close()

    def __enter__(self) -> Snap:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def _send(
        self, path: str, array: NDArray[np.generic], meta: dict[str, Any], **query: str
    ) -> httpx.Response:
        packed = gzip.compress(np.ascontiguousarray(array, "<f4").tobytes(), 1)
        parts = {
            "file": ("image.gz", packed, "application/gzip"),
            "metadata": (None, json.dumps(meta), "application/json"),
        }
        return self.http.post(f"{path}/{self.session}", params=query, files=parts)

    def _mask(self, answer: httpx.Response) -> NDArray[np.int8]:
        found = self._json(answer)
        assert found["status"] == "success"
        flat = np.frombuffer(gzip.decompress(base64.b64decode(found["result"])), np.int8)
        return flat.reshape(self.shape)

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def image_of(
    array: NDArray[np.generic],
    spacing: tuple[float, ...] = (1, 1, 2),
    origin: tuple[float, ...] = (0, 0, 0),
    direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> SimpleITK.Image:
    """An ITK image of an array (z, y, x)."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing([float(n) for n in spacing])
    image.SetOrigin([float(n) for n in origin])
    image.SetDirection([float(n) for n in direction])
    return image
