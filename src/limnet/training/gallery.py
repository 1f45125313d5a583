"""A picture of what training sees: clips of each source, slices side by side, the target outlined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from limnet.errors import OutputError
from limnet.training.cases import TrainingCase
from limnet.training.clips import Clip, ClipConfig, sample_clip
from limnet.training.recipe import Recipe
from limnet.training.shapes import ShapeFactory
from limnet.training.stream import SHAPES, shape_case
from limnet.training.supervoxels import SUPERVOXELS, supervoxel_case

MADE_UP, REAL = "label map to image", "real image"
SLICES = 6  # of a clip that is shown
MAX_TRIES = 100  # draws of a clip with a visible object
RING = 4  # pixels around the target to which it is compared
PAPER, INK, OUTLINE = (18, 20, 24), (226, 229, 233), (255, 176, 32)
BORDER, GAP, WORDS = 12, 4, 20  # px; WORDS is the height of a line above a row


@dataclass(frozen=True, eq=False)
class Row:
    """One clip and where it comes from."""

    source: str
    case: TrainingCase
    clip: Clip

    @property
    def words(self) -> str:
        """Source, set and case, and how the target stands out on the first slice."""
        name = "" if self.source == SHAPES else f"  {self.case.name}"
        target = self.clip.truth[0] > 0.5
        return (
            f"{self.source}:{name}  {' x '.join(f'{edge:.2g}' for edge in self.case.spacing)} mm,"
            f"  target {target.sum()} px,  contrast {contrast(self.clip.image[0, 0], target):.2f}"
        )


def contrast(image: NDArray[np.float32], target: NDArray[np.bool_]) -> float:
    """Difference between the mean grey of a target and of a ring around it: (H, W) twice -> [0, 1]."""
    around = ndimage.binary_dilation(target, iterations=RING) & ~target
    if not (target.any() and around.any()):
        return 0.0
    return abs(float(image[target].mean()) - float(image[around].mean()))


def gallery(recipe: Recipe, cases: Sequence[TrainingCase], seed: int, count: int) -> Iterator[Row]:
    """`count` clips of each source that the cases allow: random shapes always, three others with cases."""
    rng = np.random.default_rng(seed)
    factory = ShapeFactory(recipe.shapes, seed)
    labelled = [case for case in cases if case.objects]
    images = [case for case in cases if case.image is not None]
    maps = [case for case in labelled if case.image is None] or labelled
    real = [case for case in labelled if case.image is not None]
    sources: dict[str, tuple[Callable[[], TrainingCase], float]] = {
        SHAPES: (lambda: shape_case(factory, rng), recipe.clip.synthetic)
    }
    if maps:
        sources[MADE_UP] = (partial(_drawn, maps, rng), 1.0)
    if real:
        sources[REAL] = (partial(_drawn, real, rng), 0.0)
    if images:
        sources[SUPERVOXELS] = (lambda: supervoxel_case(images, rng), 0.0)
    for source, (draw, synthetic) in sources.items():
        config = replace(recipe.clip, slices=SLICES, synthetic=synthetic)
        for _ in range(count):
            found = _clip(draw, config, rng)
            if found is not None:
                yield Row(source, *found)


def _drawn(cases: Sequence[TrainingCase], rng: np.random.Generator) -> TrainingCase:
    """A random case of a random set."""
    groups = sorted({case.group for case in cases})
    group = groups[rng.integers(len(groups))]
    members = [case for case in cases if case.group == group]
    return members[rng.integers(len(members))]


def _clip(
    draw: Callable[[], TrainingCase], config: ClipConfig, rng: np.random.Generator
) -> tuple[TrainingCase, Clip] | None:
    """A clip in which the object is visible, and its case; None when there is none in many draws."""
    for _ in range(MAX_TRIES):
        case = draw()
        clip = sample_clip(case, config, rng) if case.objects else None
        if clip is not None:
            return case, clip
    return None


def draw_gallery(rows: Sequence[Row]) -> Image.Image:
    """One row per clip: its first slice bare, then every slice with the target's outline."""
    side = rows[0].clip.image.shape[-1]
    width = 2 * BORDER + (SLICES + 1) * (side + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * BORDER + len(rows) * (side + WORDS + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, row in enumerate(rows):
        top = BORDER + number * (side + WORDS + GAP)
        pen.text((BORDER, top + 2), row.words, INK, font)
        tiles = [_tile(row.clip.image[0], None), *map(_tile, row.clip.image, row.clip.truth)]
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (BORDER + place * (side + GAP), top + WORDS))
    return sheet


def _tile(image: NDArray[np.float32], truth: NDArray[np.float32] | None) -> Image.Image:
    """(3, H, W) in [0, 1] and (H, W) -> a picture; the outline lies just outside the target."""
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)  # (H, W, 3)
    if truth is not None:
        inside = truth > 0.5
        pixels[ndimage.binary_dilation(inside) & ~inside] = OUTLINE
    return Image.fromarray(pixels)


def write_gallery(path: Path, rows: Sequence[Row]) -> None:
    """Draw and save; OutputError when the file cannot be written."""
    try:
        draw_gallery(rows).save(path, format="PNG")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
