"""A picture of a segmentation: slices down, rounds across, the mask's outline on each.

Slices are drawn as radiologists hang them (anterior or superior up, the patient's right on the left), cropped
round the object, with pixels square in millimetres. Colours (`COLOURS`) differ in lightness too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from limnet.errors import GeometryError, OutputError
from limnet.evaluation.box import Box, box_of
from limnet.evaluation.metrics import dice
from limnet.prompt import Click
from limnet.volume import Volume

Mask = NDArray[Any]  # (I, J, K), non-zero inside

COLOURS = {
    "paper": (18, 20, 24),
    "ink": (226, 229, 233),
    "faint": (136, 143, 152),
    "mask": (255, 176, 32),
    "truth": (64, 200, 255),
    "positive": (104, 232, 120),
    "negative": (255, 92, 122),
}
BORDER, TITLE, CAPTION, LEGEND = 16, 36, 24, 32  # heights in px; BORDER on all four sides
GUTTER, ACROSS, DOWN = 78, 14, 6  # widths in px: slice numbers, between columns, between rows
UP_OR_LEFT = "RAS"  # axes growing to these are drawn towards the top or the left


@dataclass(frozen=True, eq=False)
class MontageRound:
    """One column: the mask after a round, and the clicks that led to it."""

    mask: Mask
    clicks: tuple[Click, ...] = ()
    dice: float | None = None  # shown when known; reckoned from the truth when there is one


@dataclass(frozen=True, eq=False)
class _Frame:
    """How slices become tiles: which part of a slice is seen, and how large."""

    volume: Volume
    axis: int
    box: Box  # what is seen of (I, J, K)
    indices: tuple[int, ...]  # the slices shown
    transposed: bool  # the slice's first axis runs across, its second down
    flipped: tuple[bool, bool]  # of the two axes, in the slice's own order
    size: tuple[int, int]  # of a tile: width, height in px
    darkest: float
    brightest: float

    def plane(self, array: NDArray[Any], index: int) -> NDArray[Any]:
        """The part of slice `index` that is seen, (rows, columns) or (rows, columns, 3), the right way up."""
        seen = array[self.box[0], self.box[1], self.box[2]]
        flat = seen[(slice(None),) * self.axis + (index - self.box[self.axis].start,)]
        for position, flip in enumerate(self.flipped):
            flat = np.flip(flat, position) if flip else flat
        return np.swapaxes(flat, 0, 1) if self.transposed else flat

    def pixel(self, click: Click) -> tuple[float, float]:
        """Where a click lies on its tile: x, y in px."""
        sides = [(n, side) for n, side in enumerate(self.box) if n != self.axis]
        at = []
        for (n, side), flip in zip(sides, self.flipped, strict=True):
            share = (click.index[n] + 0.5 - side.start) / (side.stop - side.start)
            at.append(1 - share if flip else share)
        across, down = at if self.transposed else at[::-1]
        return across * self.size[0], down * self.size[1]


def draw_montage(
    volume: Volume,
    rounds: Sequence[MontageRound],
    *,
    axis: int | None = None,
    truth: Mask | None = None,
    num_slices: int = 5,
    title: str = "",
) -> Image.Image:
    """Draw `num_slices` slices across `axis` (default: the volume's sweep axis), one column per round.

    Slices are spread evenly over the object's extent, or moved onto a prompt slice that is near;
    prompt slices bear a dot. Intensities run from black at the 1st to white at the 99th percentile of what is
    seen.
    """
    if not rounds:
        raise GeometryError("a montage needs at least one round")
    axis = volume.sweep_axis if axis is None else axis
    for array in [item.mask for item in rounds] + ([] if truth is None else [truth]):
        if array.shape != volume.shape:
            raise GeometryError(f"mask of shape {array.shape} does not fit a volume of shape {volume.shape}")
    clicks = [click for item in rounds for click in item.clicks]
    region = _extent(volume, rounds, truth, clicks)
    frame = _frame(volume, axis, region, clicks=clicks, num_rounds=len(rounds), num_slices=num_slices)
    width, height = frame.size
    header = TITLE if title else 0
    canvas = Image.new(
        "RGB",
        (
            2 * BORDER + GUTTER + len(rounds) * (width + ACROSS) - ACROSS,
            2 * BORDER + header + CAPTION + len(frame.indices) * (height + DOWN) - DOWN + LEGEND,
        ),
        COLOURS["paper"],
    )
    draw = ImageDraw.Draw(canvas)
    if title:
        draw.text((BORDER, BORDER), title, COLOURS["ink"], _font(18))
    top = BORDER + header
    for column, item in enumerate(rounds):
        x = BORDER + GUTTER + column * (width + ACROSS)
        _caption(draw, (x, top), width, number=column + 1, score=_score(item, truth))
        for row, index in enumerate(frame.indices):
            canvas.paste(_tile(frame, item, truth, index), (x, top + CAPTION + row * (height + DOWN)))
    _gutter(draw, frame, top + CAPTION, {click.index[axis] for click in clicks})
    _legend(draw, (BORDER + GUTTER, canvas.height - BORDER - LEGEND + 12), truth is not None, clicks)
    return canvas


def write_montage(path: str | Path, montage: Image.Image) -> None:
    """Write a montage as PNG: whole, or not at all; OutputError when it cannot be written."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        montage.save(temporary, format="PNG", optimize=True)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}; choose another place"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def choose_slices(first: int, last: int, num_slices: int, prompt_slices: Sequence[int]) -> tuple[int, ...]:
    """`num_slices` slices from `first` to `last`, evenly, each moved onto a prompt slice within half a step.

    >>> choose_slices(10, 30, 3, prompt_slices=[22])
    (13, 22, 27)
    """
    if last - first + 1 <= num_slices:
        return tuple(range(first, last + 1))
    step = (last - first + 1) / num_slices
    chosen = []
    for number in range(num_slices):
        middle = first + (number + 0.5) * step
        near = [index for index in prompt_slices if -step / 2 <= index + 0.5 - middle < step / 2]
        chosen.append(near[0] if near else int(middle))
    return tuple(chosen)


def _extent(
    volume: Volume, rounds: Sequence[MontageRound], truth: Mask | None, clicks: Sequence[Click]
) -> NDArray[np.bool_]:
    """Voxels that must be seen: truth, last mask and clicks; everything when there are none."""
    region = np.asarray(rounds[-1].mask) != 0
    if truth is not None:
        region |= np.asarray(truth) != 0
    for click in clicks:
        region[click.index] = True
    return region if region.any() else np.ones(volume.shape, bool)


def _frame(
    volume: Volume,
    axis: int,
    region: NDArray[np.bool_],
    *,
    clicks: Sequence[Click],
    num_rounds: int,
    num_slices: int,
) -> _Frame:
    """Crop round `region` with a margin, and choose a scale at which the montage fits a screen."""
    box = box_of(region)
    assert box is not None  # _extent is never empty
    in_plane = [n for n in range(3) if n != axis]
    lengths_mm = [(box[n].stop - box[n].start) * volume.spacing[n] for n in in_plane]
    margin_mm = 0.3 * max(lengths_mm)
    seen = list(box)
    for n, length_mm in zip(in_plane, lengths_mm, strict=True):
        # a long thin object still gets a tile at most twice as long as wide
        grow_mm = max(margin_mm, (0.5 * (max(lengths_mm) + 2 * margin_mm) - length_mm) / 2)
        grow = int(np.ceil(grow_mm / volume.spacing[n]))
        seen[n] = slice(max(box[n].start - grow, 0), min(box[n].stop + grow, volume.shape[n]))
    transposed, flipped = _hanging(volume, in_plane)
    first_mm, second_mm = ((seen[n].stop - seen[n].start) * volume.spacing[n] for n in in_plane)
    across_mm, down_mm = (first_mm, second_mm) if transposed else (second_mm, first_mm)
    longest = float(np.clip(1500 / num_rounds, 120, 300))
    scale = longest / max(across_mm, down_mm)
    size = max(1, round(across_mm * scale)), max(1, round(down_mm * scale))
    low, high = _window(volume, tuple(seen))
    prompt_slices = list(dict.fromkeys(click.index[axis] for click in clicks))
    indices = choose_slices(box[axis].start, box[axis].stop - 1, num_slices, prompt_slices)
    return _Frame(volume, axis, tuple(seen), indices, transposed, flipped, size, low, high)


def _hanging(volume: Volume, in_plane: Sequence[int]) -> tuple[bool, tuple[bool, bool]]:
    """How to turn a slice: (first axis runs across?, flip (first, second))."""
    if volume.is_rgb:  # a photograph: i runs to the right, j down
        return True, (False, False)
    codes = [volume.orientation[n] for n in in_plane]
    first, second = (next(n for n, pair in enumerate(("RL", "AP", "SI")) if code in pair) for code in codes)
    flipped = (codes[0] in UP_OR_LEFT, codes[1] in UP_OR_LEFT)
    return first < second, flipped


def _window(volume: Volume, seen: Box) -> tuple[float, float]:
    """The 1st and the 99th percentile of what is seen; 0 to 255 for colours."""
    if volume.is_rgb:
        return 0.0, 255.0
    values = volume.array[seen]
    low, high = np.nanpercentile(values[np.isfinite(values)] if values.dtype.kind == "f" else values, (1, 99))
    return (float(low), float(high)) if high > low else (float(low) - 1, float(low) + 1)


def _tile(frame: _Frame, item: MontageRound, truth: Mask | None, index: int) -> Image.Image:
    """One slice of one round: grey levels, truth, outline, clicks."""
    plane = frame.plane(frame.volume.array, index).astype(np.float32)
    grey = np.clip((plane - frame.darkest) / (frame.brightest - frame.darkest), 0, 1) * 255
    image = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    pixels = np.asarray(image.resize(frame.size, Image.Resampling.BICUBIC)).astype(np.float32)
    inside = _enlarged(frame, item.mask, index)
    pixels[inside] = 0.86 * pixels[inside] + 0.14 * np.array(COLOURS["mask"])
    pixels[_outline(inside, 2)] = COLOURS["mask"]
    if truth is not None:
        pixels[_outline(_enlarged(frame, truth, index), 1)] = COLOURS["truth"]
    tile = Image.fromarray(pixels.round().astype(np.uint8))
    for click in item.clicks:
        if click.index[frame.axis] == index:
            _mark(ImageDraw.Draw(tile), frame.pixel(click), click.positive)
    return tile


def _enlarged(frame: _Frame, mask: Mask, index: int) -> NDArray[np.bool_]:
    """A mask at the size of a tile (height, width), its stairs smoothed: half-way between voxel centres."""
    flat = (frame.plane(np.asarray(mask), index) != 0).astype(np.uint8) * 255
    grown = Image.fromarray(np.ascontiguousarray(flat)).resize(frame.size, Image.Resampling.BILINEAR)
    inside: NDArray[np.bool_] = np.asarray(grown) >= 128
    return inside


def _outline(inside: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The outermost `width` pixels of a region; none along the tile's edge, beyond which it goes on."""
    core: NDArray[np.bool_] = ndimage.binary_erosion(inside, iterations=width, border_value=1)
    return inside & ~core


def _mark(draw: ImageDraw.ImageDraw, at: tuple[float, float], positive: bool) -> None:
    """A disk with a plus or a minus, dark-rimmed, so that it shows on any grey."""
    (x, y), radius = at, 7
    colour = COLOURS["positive" if positive else "negative"]
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour, COLOURS["paper"], 1)
    draw.line((x - 4, y, x + 4, y), COLOURS["paper"], 2)
    if positive:
        draw.line((x, y - 4, x, y + 4), COLOURS["paper"], 2)


def _score(item: MontageRound, truth: Mask | None) -> float | None:
    if item.dice is not None or truth is None:
        return item.dice
    return dice(np.asarray(truth) != 0, np.asarray(item.mask) != 0)


def _caption(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], width: int, *, number: int, score: float | None
) -> None:
    """Round and Dice above a column; in short where the column is narrow."""
    x, y = at
    draw.text((x, y), f"Round {number}" if width >= 150 else f"R{number}", COLOURS["ink"], _font(15))
    if score is not None:
        text = f"Dice {score:.3f}" if width >= 150 else f"{score:.3f}"
        draw.text((x + width, y), text, COLOURS["mask"], _font(15), anchor="ra")


def _gutter(draw: ImageDraw.ImageDraw, frame: _Frame, top: int, prompt_slices: set[int]) -> None:
    """Slice numbers at the left; a dot where the user clicked."""
    height = frame.size[1]
    for row, index in enumerate(frame.indices):
        y = top + row * (height + DOWN) + height / 2
        prompted = index in prompt_slices
        right = BORDER + GUTTER - 12
        colour = COLOURS["ink" if prompted else "faint"]
        draw.text((right, y), f"{'ijk'[frame.axis]} = {index}", colour, _font(15), anchor="rm")
        if prompted:
            draw.ellipse((BORDER, y - 4, BORDER + 8, y + 4), COLOURS["positive"])


def _legend(draw: ImageDraw.ImageDraw, at: tuple[int, int], has_truth: bool, clicks: Sequence[Click]) -> None:
    x, y = at
    lines = [("mask", "mask"), *([("truth", "truth")] if has_truth else [])]
    for colour, word in lines:
        draw.line((x, y + 9, x + 20, y + 9), COLOURS[colour], 3 if colour == "mask" else 1)
        draw.text((x + 27, y + 9), word, COLOURS["faint"], _font(13), anchor="lm")
        x += 80
    for positive, word in ((True, "object"), (False, "background")):
        if any(click.positive == positive for click in clicks):
            _mark(draw, (x + 8, y + 9), positive)
            draw.text((x + 22, y + 9), f"click on {word}", COLOURS["faint"], _font(13), anchor="lm")
            x += 130


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
