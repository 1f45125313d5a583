"""Truth of a video as pictures in which a colour stands for a class, as EndoVis 2018 gives it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, LimNetWarning
from limnet.volume import Volume
from limnet.volume.frames import ENDINGS, natural_order, read_image

Colour = tuple[int, int, int]  # red, green, blue, each 0 to 255


@dataclass(frozen=True)
class ColourFrames:
    """Where coloured label frames lie, and what their colours mean."""

    folder: Path  # one picture per video frame, of the same name
    colours: tuple[tuple[Colour, int], ...]  # colour, label; what is not named is background
    repaired: tuple[tuple[str, Path], ...] = ()  # name of a frame without ending, picture that replaces it


def read_colour_frames(truth: ColourFrames, frames: Path, like: Volume) -> NDArray[np.uint8]:
    """Labels (I, J, K) of the video `like`, whose frames lie in the folder `frames`.

    The label of a frame is the picture of the same name. CaseError when one is missing, of another size or
    no colour picture; a LimNetWarning counts pixels of colours that mean nothing.
    """
    names = [path.stem for path in sorted(_pictures(frames).values(), key=natural_order)]
    pictures = _pictures(truth.folder) | dict(truth.repaired)
    missing = [name for name in names if name not in pictures]
    if missing or len(names) != like.shape[2]:
        raise CaseError(
            f"{truth.folder}: labels of {len(names) - len(missing)} of {like.shape[2]} frames"
            f" (missing: {', '.join(missing[:3]) or 'none'}); every frame of {frames} needs one of its name"
        )
    labels = np.empty(like.shape, np.uint8)
    unknown = 0
    for k, name in enumerate(names):
        labels[:, :, k], strangers = _labels_of(pictures[name], truth, like.shape[:2])
        unknown += strangers
    if unknown:
        warnings.warn(
            f"{truth.folder}: {unknown:,} pixels of colours that labels.json does not name;"
            f" treated as background",
            LimNetWarning,
            stacklevel=2,
        )
    return labels


def _labels_of(path: Path, truth: ColourFrames, shape: tuple[int, int]) -> tuple[NDArray[np.uint8], int]:
    """Labels (I, J) of one picture, and how many of its pixels have a colour without a meaning."""
    picture = read_image(path, labels=False)
    if picture.shape != (*shape, 1) or not picture.is_rgb:
        kind = "RGB" if picture.is_rgb else "grey"
        raise CaseError(
            f"{path}: {kind} picture of {picture.shape[0]} x {picture.shape[1]} pixels; labels of this video"
            f" must be RGB, {shape[0]} x {shape[1]}"
        )
    code = _packed(picture.array[:, :, 0])  # (I, J)
    labels = np.zeros(shape, np.uint8)
    known = np.zeros(shape, bool)
    for colour, label in truth.colours:
        here = code == _packed(np.array(colour, np.uint8))
        labels[here] = label
        known |= here
    return labels, int(np.count_nonzero(~known))


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Three bytes (..., 3) as one number (...)."""
    wide = rgb.astype(np.uint32)
    packed: NDArray[np.uint32] = wide @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return packed


def _pictures(folder: Path) -> dict[str, Path]:
    """Pictures of a folder by name without ending; hidden ones (shadow files of macOS) are passed over."""
    if not folder.is_dir():
        raise CaseError(f"{folder}: no such folder; expected one with frames such as frame000.png")
    return {
        path.stem: path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".")
    }
