"""What nnInteractive's plugin 0.3.2 for 3D Slicer does, with the libraries that it does it with."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import requests
from numpy.typing import NDArray
from requests_toolbelt import MultipartEncoder

Mask = NDArray[np.uint8]


class PluginError(Exception):
    """What the plugin shows in a dialog."""


class Plugin:
    """One Slicer with one image and one segment; it sends what changed before every prompt."""

    def __init__(self, server: str, image: NDArray[np.generic]) -> None:
        self.server = server
        self.image = image  # (k, j, i)
        self.segment: Mask = np.zeros(image.shape[:3], np.uint8)
        self.sent_image: NDArray[np.generic] | None = None
        self.sent_segment: Mask | None = None
        self.uploads: list[str] = []

    def point(self, voxel: tuple[int, int, int], positive: bool = True) -> Mask:
        """A point (k, j, i)."""
        return self._prompt("point", json={"voxel_coord": list(voxel), "positive_click": positive})

    def box(self, one: tuple[int, int, int], two: tuple[int, int, int], positive: bool = True) -> Mask:
        """A box by two corners."""
        body = {"outer_point_one": list(one), "outer_point_two": list(two), "positive_click": positive}
        return self._prompt("bbox", json=body)

    def draw(self, kind: Literal["lasso", "scribble"], mask: Mask, positive: bool = True) -> Mask:
        """A drawing (k, j, i)."""
        fields = {"file": ("volume.npy.gz", packed(mask), "application/octet-stream")}
        encoder = MultipartEncoder(fields={**fields, "positive_click": str(positive)})
        headers = {"Content-Type": encoder.content_type, "Content-Encoding": "gzip"}
        return self._prompt(kind, data=encoder.to_string(), headers=headers)

    def _prompt(self, kind: str, **request: Any) -> Mask:
        self._synchronise()
        answer = self._post(f"{self.server}/add_{kind}_interaction", **request)
        bits = np.unpackbits(np.frombuffer(answer.content, np.uint8))
        self.segment = bits[: self.segment.size].reshape(self.segment.shape)
        self.sent_segment = self.segment.copy()
        return self.segment

    def _synchronise(self) -> None:
        if self.sent_image is None or not np.array_equal(self.sent_image, self.image):
            self.sent_image = self.image.copy()
            self._upload_image()
            self._upload_segment()
        elif self.sent_segment is None or not np.array_equal(self.sent_segment, self.segment):
            self._upload_segment()

    def _upload_image(self) -> None:
        self.uploads.append("image")
        buffer = io.BytesIO()
        np.save(buffer, self.image)
        encoder = MultipartEncoder(
            fields={"file": ("volume.npy", buffer.getvalue(), "application/octet-stream")}
        )
        headers = {"Content-Type": encoder.content_type}
        with suppress(PluginError):  # it only logs that
            self._post(f"{self.server}/upload_image", data=encoder, headers=headers)

    def _upload_segment(self) -> None:
        self.uploads.append("segment")
        files = {"file": ("volume.npy.gz", packed(self.segment), "application/octet-stream")}
        with suppress(PluginError):
            self._post(f"{self.server}/upload_segment", files=files, headers={"Content-Encoding": "gzip"})
        self.sent_segment = self.segment.copy()

    def _post(self, url: str, **request: Any) -> requests.Response:
        with requests.post(url, timeout=60, **request) as response:
            content = response.content
            if response.status_code != 200:
                raise PluginError(f"Status code {response.status_code}")
            if "application/json" in response.headers.get("Content-Type", ""):
                answer = response.json()
                if answer.get("status") == "error":
                    if "No image uploaded" in answer.get("message", ""):
                        self._upload_image()
                        self._upload_segment()
                        return self._post(url, **request)
                    raise PluginError(f"Server error: {answer.get('message')}")
            assert content is not None
            return response


def packed(mask: NDArray[np.generic]) -> bytes:
    """A mask as it is sent."""
    buffer = io.BytesIO()
    np.save(buffer, mask)
    return gzip.compress(buffer.getvalue())
