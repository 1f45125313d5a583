"""nnInteractive's session class, answered by LIM-Net in this process: a script changes one import.

The same calls with the same meaning as `nnInteractiveInferenceSession` and its remote twin (2.6), on numpy
buffers. What differs is better documented than hidden: `docs/viewers.md` has the list.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.annotation import Annotation
from limnet.compat import given
from limnet.compat.capabilities import Capabilities, capabilities
from limnet.compat.dialogue import Dialogue
from limnet.compat.given import Step
from limnet.compat.order import bounds_of, turned, volume_of
from limnet.errors import LimNetWarning, PromptError
from limnet.model import LimNet, load_model

Bbox = list[list[int]]


class NnInteractiveSession:
    """One object at a time of one image at a time.

    Arrays, coordinates, boxes and spacing are in the order of the image's axes, (k, j, i) as ITK's and
    Slicer's numpy bridges make them; boxes are half-open. Every `add_*` returns the box that changed, or
    None. All objects made so far stay in `annotation`.
    """

    def __init__(
        self,
        device: object = None,
        use_torch_compile: bool = False,
        verbose: bool = False,
        torch_n_threads: int | None = None,
        do_autozoom: bool = True,
        interactions_storage: str = "auto",
        enable_undo: bool = True,
        *,
        model: LimNet | None = None,
    ) -> None:
        """`torch_n_threads` are the CPU threads of the networks; `model` is by default the shipped one.

        `device`, `use_torch_compile`, `verbose` and `interactions_storage` have no counterpart here.
        """
        self._model = model
        self._threads = torch_n_threads
        self._dialogue = Dialogue()
        self._last_paste_bbox: Bbox | None = None
        facts: Capabilities = capabilities()
        self.supported_interactions = facts["supported_interactions"]
        self.channel_mapping = {name: tuple(pair) for name, pair in facts["channel_mapping"].items()}
        self.num_interaction_channels = facts["num_interaction_channels"]
        self.supports_initial_label = facts["supports_initial_label"]
        self.supports_zero_shot_label_refinement = facts["supports_zero_shot_label_refinement"]
        self.preferred_scribble_thickness = facts["preferred_scribble_thickness"]
        self.interaction_decay = facts["interaction_decay"]
        self.INFERENCE_SESSION_VERSION = facts["inference_session_version"]
        self.license = facts["license"]
        self.supports_undo = enable_undo
        self.do_autozoom = do_autozoom
        self.original_image_shape: tuple[int, ...] | None = None
        self.target_buffer: NDArray[Any] | None = None
        self.annotation: Annotation | None = None

    def initialize_from_trained_model_folder(
        self,
        model_training_output_dir: str | Path,
        use_fold: object = None,
        checkpoint_name: str = "checkpoint_final.pth",
    ) -> None:
        """Nothing is read from there: LIM-Net brings its own networks. A LimNetWarning says so."""
        warnings.warn(
            f"{model_training_output_dir}: not read; the networks are LIM-Net's own",
            LimNetWarning,
            stacklevel=2,
        )

    def set_image(self, image: NDArray[Any], image_properties: dict[str, Any] | None = None) -> None:
        """An image (C, k, j, i); `image_properties["spacing"]` is (sk, sj, si) in mm. Forgets the one before.

        VolumeError, GeometryError as `volume_of` says; what it assumes comes as a LimNetWarning.
        """
        volume, notes = volume_of(image, (image_properties or {}).get("spacing"))
        for note in notes:
            warnings.warn(note, LimNetWarning, stacklevel=2)
        self._model = self._model or load_model(threads=self._threads)
        self.annotation = Annotation(volume, self._model)
        self.original_image_shape = image.shape
        self.target_buffer = None
        self._dialogue = Dialogue()

    def set_target_buffer(self, target_buffer: NDArray[Any]) -> None:
        """Where results go: (k, j, i), bool or integers, written in place. PromptError if it does not fit."""
        check_buffer(target_buffer.shape, target_buffer.dtype.name, self._loaded.volume.shape)
        self.target_buffer = target_buffer
        self._dialogue.show_nothing()

    def set_do_autozoom(self, do_autozoom: bool) -> None:
        """Kept, without effect: the view always fits the object."""
        self.do_autozoom = bool(do_autozoom)

    def reset_interactions(self) -> None:
        """The next object: the buffer is emptied and undo forgets; the former one stays in `annotation`."""
        if self.target_buffer is not None:
            self.target_buffer.fill(0)
        if self.annotation is not None:
            self._dialogue.reset(self.annotation)

    def add_point_interaction(
        self,
        coordinates: object,
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
    ) -> Bbox | None:
        """A point at (k, j, i), on a slice of the axis of largest spacing."""
        return self._add(given.point(self._loaded.volume, coordinates, include_interaction), run_prediction)

    def add_bbox_interaction(
        self,
        bbox_coords: object,
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
    ) -> Bbox | None:
        """A box [[k0, k1], [j0, j1], [i0, i1]], half-open, a single slice along one axis."""
        return self._add(given.box(self._loaded.volume, bbox_coords, include_interaction), run_prediction)

    def add_scribble_interaction(
        self,
        scribble_image: NDArray[Any],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
        interaction_bbox: object = None,
    ) -> Bbox | None:
        """A drawing, not 0 where drawn: of the whole image, or of `interaction_bbox`."""
        return self._add_drawing(
            given.scribble, scribble_image, include_interaction, run_prediction, interaction_bbox
        )

    def add_lasso_interaction(
        self,
        lasso_image: NDArray[Any],
        include_interaction: bool,
        run_prediction: bool = True,
        override_capability_checks: bool = False,
        interaction_bbox: object = None,
    ) -> Bbox | None:
        """A closed line or the area in it, as for `add_scribble_interaction`."""
        return self._add_drawing(
            given.lasso, lasso_image, include_interaction, run_prediction, interaction_bbox
        )

    def add_initial_seg_interaction(
        self,
        initial_seg: NDArray[Any],
        run_prediction: bool = False,
        override_capability_checks: bool = False,
    ) -> Bbox | None:
        """A mask (k, j, i) to start from: it goes into the buffer, and all prompts are wiped.

        With `run_prediction` it is also carried anew through the volume.
        """
        annotation = self._loaded
        mask = given.whole_mask(annotation.volume, initial_seg)
        self._dialogue.start_from(annotation, mask)
        if self.target_buffer is not None:
            self.target_buffer[...] = turned(mask)
        if not run_prediction:
            self._last_paste_bbox = None
            return None
        return self._predict(force_full_refine=True)

    def undo(self) -> bool:
        """Take back the last call, any number of times; False when there is none left."""
        self._last_paste_bbox = None
        if not self.supports_undo or self.annotation is None or not self._dialogue.undo(self.annotation):
            return False
        self._paste()
        return True

    def close(self) -> None:
        """Let go of image, buffer and networks."""
        self.annotation = self.target_buffer = self._model = None
        self._dialogue = Dialogue()

    def __enter__(self) -> NnInteractiveSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict(self, force_full_refine: bool = False) -> Bbox | None:
        """Carry what waits; the changed box. With `force_full_refine` and nothing waiting, all of it anew."""
        annotation, dialogue = self._loaded, self._dialogue
        if force_full_refine and not dialogue.is_waiting:
            dialogue.refine(annotation)
        while dialogue.give(annotation):
            assert dialogue.object_id is not None, "prompts are pending in no object"
            try:
                annotation.object(dialogue.object_id).session.propagate()
            except BaseException:
                dialogue.drop(annotation)
                raise
            dialogue.carried(annotation)
        return self._paste()

    @property
    def _loaded(self) -> Annotation:
        if self.annotation is None:
            raise PromptError("no image; call set_image() first")
        return self.annotation

    def _add_drawing(
        self,
        step_of: Callable[..., Step],
        image: NDArray[Any],
        positive: bool,
        run_prediction: bool,
        bbox: object,
    ) -> Bbox | None:
        return self._add(step_of(self._loaded.volume, np.asarray(image), bbox, positive), run_prediction)

    def _add(self, step: Step, run_prediction: bool) -> Bbox | None:
        self._dialogue.add(step)
        if run_prediction:
            return self._predict()
        self._last_paste_bbox = None
        return None

    def _paste(self) -> Bbox | None:
        """Write what differs into the buffer; its box."""
        patch = self._dialogue.answer(self._loaded)
        self._last_paste_bbox = None
        if patch is not None and self.target_buffer is not None:
            high = tuple(a + n for a, n in zip(patch.low, patch.block.shape, strict=True))
            bounds = bounds_of(patch.low, (high[0], high[1], high[2]))
            self.target_buffer[tuple(slice(a, b) for a, b in bounds)] = turned(patch.block)
            self._last_paste_bbox = [list(pair) for pair in bounds]
        return self._last_paste_bbox


def check_buffer(shape: object, dtype: object, volume_shape: tuple[int, int, int]) -> None:
    """PromptError unless a target buffer (k, j, i) fits the volume and holds bools or integers."""
    wanted = tuple(reversed(volume_shape))
    try:
        fits = tuple(shape) == wanted  # type: ignore[arg-type]
    except TypeError:
        fits = False
    if not fits:
        raise PromptError(f"target buffer of shape {shape!r:.80}: expected {wanted}, that of the image")
    try:
        kind = np.dtype(dtype).kind if isinstance(dtype, str) else "?"
    except TypeError:
        kind = "?"
    if kind not in "biu":
        raise PromptError(
            f"target buffer of type {dtype!r:.40}: expected bool or whole numbers, such as uint8"
        )
