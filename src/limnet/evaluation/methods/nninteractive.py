"""nnInteractive as a method: an adapter to the inference session of the PyPI package `nninteractive`.

nnInteractive: Isensee, Rokuss, Krämer et al., arXiv 2503.08373. The package is Apache-2.0, its weights are CC
BY-NC-SA 4.0 (no commercial use), and it wants an NVIDIA GPU with about 10 GB. It is neither installed nor
shipped with limnet: whoever has both can put it in the same table.

What is called is the part of the interface that versions 1.0 to 2.5 share.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limnet.errors import ConfigError, PromptError
from limnet.evaluation.trial import NewSession
from limnet.prompt import Voxel
from limnet.volume import Volume

LUMA = (0.299, 0.587, 0.114)  # grey of RGB, ITU-R BT.601: the network takes one channel


class InferenceSession(Protocol):
    """What is used of `nnInteractiveInferenceSession`."""

    def set_image(self, image: NDArray[np.float32]) -> object:
        """Take a volume (1, I, J, K), intensities as they are; forgets the volume before."""

    def set_target_buffer(self, target_buffer: NDArray[np.uint8]) -> object:
        """Write masks into this array (I, J, K) from now on."""

    def reset_interactions(self) -> object:
        """Forget all clicks and empty the target buffer."""

    def add_point_interaction(self, coordinates: Voxel, include_interaction: bool) -> object:
        """Take a click and predict: the target buffer holds the new mask afterwards."""


class NnInteractiveSession:
    """A session of nnInteractive on one volume.

    Every click is predicted at once, as its authors advise (several clicks before one prediction would be
    centred on the last), so `propagate()` has nothing left to do. It works on voxels without spacing and has
    no planes: the axis is the volume's sweep axis, so that it is clicked on the slices limnet is clicked on.
    """

    def __init__(self, inference: InferenceSession, volume: Volume) -> None:
        self.volume = volume
        self._inference = inference
        self._mask = np.zeros(volume.shape, np.uint8)
        self._num_clicks = 0
        inference.set_image(_one_channel(volume)[None])
        inference.set_target_buffer(self._mask)
        inference.reset_interactions()

    @property
    def axis(self) -> int:
        """The volume's sweep axis."""
        return self.volume.sweep_axis

    @property
    def mask(self) -> NDArray[np.bool_]:
        """What the last click led to, (I, J, K)."""
        return self._mask > 0

    def click(self, index: Voxel, *, positive: bool = True) -> None:
        """Take a click and predict; PromptError when it lies outside the volume."""
        if not all(0 <= at < length for at, length in zip(index, self.volume.shape, strict=True)):
            raise PromptError(
                f"click {index} lies outside the volume of shape {self.volume.shape}:"
                f" indices are (i, j, k) and start at 0"
            )
        self._inference.add_point_interaction(index, include_interaction=positive)
        self._num_clicks += 1

    def propagate(self) -> None:
        """End the round; PromptError when there was no click at all."""
        if not self._num_clicks:
            raise PromptError("nothing to segment: click() first")


def nninteractive_session(model_folder: Path, device: str = "cuda:0") -> NewSession:
    """What makes sessions of nnInteractive from the weights in `model_folder`, loaded once.

    Sessions share the networks: a new one ends the one before. ConfigError when the package or the weights
    are missing.
    """
    try:
        torch = import_module("torch")
        package = import_module("nnInteractive.inference.inference_session")
    except ImportError as error:
        raise ConfigError(
            f"nnInteractive is not installed ({error}); run: pip install nninteractive"
            " (it needs an NVIDIA GPU with about 10 GB; its weights are CC BY-NC-SA 4.0: no commercial use)"
        ) from None
    if not model_folder.is_dir():
        raise ConfigError(
            f"{model_folder}: no such folder; expected the weights of nnInteractive (CC BY-NC-SA 4.0: no"
            " commercial use), such as the folder nnInteractive_v1.0 that its README tells how to fetch"
        )
    make: Callable[..., Any] = package.nnInteractiveInferenceSession
    inference = make(device=torch.device(device), use_torch_compile=False, verbose=False, do_autozoom=True)
    inference.initialize_from_trained_model_folder(str(model_folder))

    def new_session(volume: Volume) -> NnInteractiveSession:
        return NnInteractiveSession(inference, volume)

    return new_session


def _one_channel(volume: Volume) -> NDArray[np.float32]:
    """Intensities (I, J, K) as they are, or the luma of RGB."""
    grey = volume.array @ np.array(LUMA, np.float32) if volume.is_rgb else volume.array
    return np.ascontiguousarray(grey, np.float32)
