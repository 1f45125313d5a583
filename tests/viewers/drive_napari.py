"""The unmodified napari plugin, headless: every tool, undo, manual runs, the next object, a lost session.

    python drive_napari.py ADDRESS FOLDER       in an environment with napari[pyqt6] and napari-nninteractive

FOLDER holds image.npy and truth.npy, both (k, j, i), and spacing.npy. Run by `make test-viewers`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import MagicMock, PropertyMock, patch

import httpx
import numpy as np
from napari.components import ViewerModel
from napari.layers.base._base_constants import ActionType
from napari_nninteractive import widget_main
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QApplication

POINT, BOX, SCRIBBLE, LASSO = range(4)


class Driver:
    """A user of the plugin."""

    def __init__(self, address: str, folder: Path) -> None:
        self.app = QApplication.instance() or QApplication([])
        self.address = address
        self.truth = np.load(folder / "truth.npy") > 0
        self.viewer = ViewerModel()
        type(self.viewer).window = PropertyMock(return_value=MagicMock())  # the real window needs OpenGL
        self.viewer.add_image(
            np.load(folder / "image.npy"), name="image", scale=np.load(folder / "spacing.npy")
        )
        self.widget = widget_main.nnInteractiveWidget(self.viewer)
        self.widget.server_url_edit.setText(address)
        self.widget.image_selection.setCurrentText("image")

    @property
    def mask(self) -> np.ndarray:
        """What the label layer shows."""
        return np.asarray(self.viewer.layers[self.widget.label_layer_name].data)

    def dice(self) -> float:
        mask = self.mask > 0
        return float(2 * (mask & self.truth).sum() / (mask.sum() + self.truth.sum()))

    def wait(self, until: Callable[[], object], what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not until():
            self.app.processEvents()
            if time.monotonic() > end:
                raise SystemExit(
                    f"waited {seconds} s for: {what}; status: {self.widget.remote_status_label.text()}"
                )

    def initialise(self) -> None:
        """Press the button; uploads the image."""
        self.widget.on_init()
        done = lambda: self.widget.session is not None and self.widget.interaction_button.isEnabled()  # noqa: E731
        self.wait(done, "the plugin to connect and initialise")
        self.wait(lambda: self.widget._upload_dialog is None, "the upload")
        for _ in range(20):
            self.app.processEvents()

    def choose(self, tool: int, *, positive: bool = True) -> object:
        """Take a tool in hand; its layer."""
        widget = self.widget
        widget.prompt_button._uncheck()
        widget.prompt_button._check(0 if positive else 1)
        widget.interaction_button._uncheck()
        widget.interaction_button._check(tool)
        widget.on_interaction_selected()
        layer = self.viewer.layers[widget.layer_dict[tool]]
        layer.set_prompt(0 if positive else 1)
        return layer

    def point(self, place: tuple[int, int, int], *, positive: bool = True) -> float:
        """Click; how long it took."""
        layer = self.choose(POINT, positive=positive)
        started = time.perf_counter()
        layer.add(np.array(place, float) + 0.2)
        return time.perf_counter() - started

    def tell(self, text: str) -> None:
        sys.stdout.write(f"ok  {text}\n")
        sys.stdout.flush()


def middle(mask: np.ndarray) -> tuple[int, int, int]:
    """The voxel deepest inside the largest slice."""
    from scipy.ndimage import distance_transform_edt

    k = int(mask.sum((1, 2)).argmax())
    depth = distance_transform_edt(np.pad(mask[k], 1))[1:-1, 1:-1]
    j, i = np.unravel_index(int(depth.argmax()), depth.shape)
    return k, int(j), int(i)


def main(address: str, folder: Path) -> None:
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
    told: list[str] = []
    with patch.object(widget_main, "show_warning", told.append):
        drive(Driver(address, folder), told)


def drive(user: Driver, told: list[str]) -> None:
    widget = user.widget
    user.initialise()
    assert "Apache-2.0" in widget.model_license_label.text()
    user.tell(f"connected; the plugin shows: {widget.model_license_label.text()}")

    place = middle(user.truth)
    states = [user.mask.copy()]
    seconds = user.point(place)
    states.append(user.mask.copy())
    assert user.mask[place] == 1
    user.tell(f"point at {place}: {int(user.mask.sum())} voxels, Dice {user.dice():.2f}, {seconds:.2f} s")

    wrong = (user.mask > 0) & ~user.truth
    if not wrong.any():
        wrong = user.mask > 0
    seconds = user.point(middle(wrong), positive=False)
    states.append(user.mask.copy())
    assert user.mask[middle(wrong)] == 0
    user.tell(f"negative point: Dice {user.dice():.2f}, {seconds:.2f} s")

    k = place[0]
    rows, columns = np.nonzero(user.truth[k])
    low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    corners = [[k, low[0], low[1]], [k, low[0], high[1]], [k, high[0], high[1]], [k, high[0], low[1]]]
    user.viewer.dims.set_point(0, k * float(user.viewer.layers["image"].scale[0]))
    user.choose(BOX).add(np.array(corners, float), shape_type="rectangle")
    states.append(user.mask.copy())
    user.tell(f"box: Dice {user.dice():.2f}")

    user.choose(LASSO).add(np.array(corners, float), shape_type="polygon")
    states.append(user.mask.copy())
    user.tell(f"lasso: Dice {user.dice():.2f}")

    scribble = user.choose(SCRIBBLE)
    assert scribble.brush_size == 1
    scribble.data[k, place[1], place[2] - 3 : place[2] + 4] = 1
    scribble._last_dim_not_displayed, scribble._last_slice_id = 0, k  # as its mouse callback leaves them
    scribble._is_free = False
    scribble.events.finished(action=ActionType.ADDED, value="ADD")
    states.append(user.mask.copy())
    assert user.mask[k, place[1], place[2] - 3 : place[2] + 4].all()
    user.tell(f"scribble: Dice {user.dice():.2f}")

    for number, state in enumerate(reversed(states[:-1]), 1):
        widget.on_undo()
        assert (user.mask == state).all(), f"undo {number}"
    assert not told
    widget.on_undo()
    assert told == ["Nothing to undo."]
    told.clear()
    user.tell(f"undone {len(states) - 1} times, each exactly; then: nothing to undo")

    widget.auto_run_ckbx.setChecked(False)
    user.point(place)
    assert not user.mask.any()
    widget.on_run()
    assert (user.mask == states[1]).all()
    widget.auto_run_ckbx.setChecked(True)
    user.tell("manual run of a queued point")

    widget.on_next()
    assert not user.mask.any()
    user.point(place)
    user.point(middle(wrong), positive=False)
    kept = user.mask.copy()
    user.tell("next object")

    httpx.post(
        f"{user.address}/release", headers={"X-Lease-Token": widget.session._lease_token}, trust_env=False
    )
    user.point((place[0] + 1, place[1], place[2]))
    assert told, "the plugin did not notice"
    assert widget.session is None
    told.clear()
    user.initialise()
    assert (user.mask == kept).all()
    widget.on_undo()
    assert (user.mask == states[1]).all()
    assert not told
    user.tell("session lost, connected again: the object is there, and undo goes on from before")

    url = f"{user.address}/api/v1/volumes"
    (volume,) = httpx.get(url, trust_env=False).json()
    found = httpx.get(f"{url}/{volume['id']}", trust_env=False).json()["objects"]
    assert len(found) == 2, found
    user.tell(f"the annotator lists {len(found)} objects: {[item['voxels'] for item in found]} voxels")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
