"""A picture of what training sees: slices of clips or cubes of each source, the target outlined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from limnet.errors import OutputError
from limnet.training.cases import TrainingCase
from limnet.training.clips import sample_clip
from limnet.training.cubes import CubeSample, sample_cube
from limnet.training.prompted_cubes import PromptedCubes
from limnet.training.recipe import Recipe
from limnet.training.shapes import ShapeFactory
from limnet.training.stream import SHAPES, shape_case
from limnet.training.supervoxels import SUPERVOXELS, supervoxel_case

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
C = TypeVar("C")  # settings
T = TypeVar("T")  # what is cut from a case by them

MADE_UP, REAL = "label map to image", "real image"
SLICES = 6  # of a clip or a cube that are shown
MAX_TRIES = 100  # draws of a clip or a cube with a visible object
CUBE_SCALE = 3  # pixels of the picture per sample of a cube, each way
RING = 4  # pixels around the target to which it is compared
PAPER, INK, OUTLINE = (18, 20, 24), (226, 229, 233), (255, 176, 32)
TOLD = (64, 156, 255)  # around what a cube's network is told to be the object: mask so far, prompted slices
BORDER, GAP, WORDS = 12, 4, 20  # px; WORDS is the height of a line above a row


@dataclass(frozen=True, eq=False)
class Row:
    """Slices of one clip or cube, and where it comes from."""

    source: str
    case: TrainingCase
    image: Array  # (S, 3, H, W), in [0, 1]
    truth: Mask  # (S, H, W)
    told: Mask  # (S, H, W), what the network is told to be object; of a clip nothing

    @property
    def words(self) -> str:
        """Source, set and case, and how the target stands out on the first slice."""
        name = "" if self.source == SHAPES else f"  {self.case.name}"
        target = self.truth[0]
        return (
            f"{self.source}:{name}  {' x '.join(f'{edge:.2g}' for edge in self.case.spacing)} mm,"
            f"  target {target.sum()} px,  contrast {contrast(self.image[0, 0], target):.2f}"
        )


def contrast(image: Array, target: Mask) -> float:
    """Difference between the mean grey of a target and of a ring around it: (H, W) twice -> [0, 1]."""
    around = ndimage.binary_dilation(target, iterations=RING) & ~target
    if not (target.any() and around.any()):
        return 0.0
    return abs(float(image[target].mean()) - float(image[around].mean()))


def gallery(recipe: Recipe, cases: Sequence[TrainingCase], seed: int, count: int) -> Iterator[Row]:
    """`count` rows of each source that the cases allow: random shapes always, three others with cases.

    Of a recipe for the overview network cubes are shown, else clips.
    """
    rng = np.random.default_rng(seed)
    factory = ShapeFactory(recipe.shapes, seed)
    labelled = [case for case in cases if case.objects]
    images = [case for case in cases if case.image is not None]
    maps = [case for case in labelled if case.image is None] or labelled
    real = [case for case in labelled if case.image is not None]
    sources: dict[str, tuple[Callable[[], TrainingCase], bool]] = {
        SHAPES: (lambda: shape_case(factory, rng), False)
    }
    if maps:
        sources[MADE_UP] = (partial(_drawn, maps, rng), True)
    if real:
        sources[REAL] = (partial(_drawn, real, rng), False)
    if images:
        sources[SUPERVOXELS] = (lambda: supervoxel_case(images, rng), False)
    for source, (draw, made_up) in sources.items():
        for _ in range(count):
            row = _row(source, draw, recipe, float(made_up), rng)
            if row is not None:
                yield row


def _row(
    source: str, draw: Callable[[], TrainingCase], recipe: Recipe, synthetic: float, rng: Rng
) -> Row | None:
    """A row of a case that `draw` gives; `synthetic` is the share of images with made-up intensities."""
    if recipe.network == "overview":
        cut = _cut(draw, sample_cube, replace(recipe.cube, synthetic=synthetic), rng)
        return None if cut is None else _cube_row(source, *cut, recipe, rng)
    clip = replace(recipe.clip, slices=SLICES, synthetic=synthetic)
    found = _cut(draw, sample_clip, clip, rng)
    if found is None:
        return None
    case, (image, truth) = found
    return Row(source, case, image, truth > 0.5, np.zeros(truth.shape, bool))


def _cube_row(source: str, case: TrainingCase, cube: CubeSample, recipe: Recipe, rng: Rng) -> Row:
    """Planes of a cube with its first prompt: the prompted one, then others through all of the object.

    Told is the mask that it starts from; where slices are prompted, what they hold.
    """
    cubes = PromptedCubes([cube], recipe.rounds, rng)
    clicked, held, free = (
        maps[0] for maps in (cubes.prompts.positive, cubes.prompts.held, cubes.prompts.free)
    )
    told = np.maximum(cubes.masks[0], held) * (free == 0)
    image, truth, known, clicked = (
        np.moveaxis(part, cube.axis, 0) for part in (cube.image, cube.truth.astype(np.float32), told, clicked)
    )
    filled = np.flatnonzero(truth.any((1, 2)))
    others = np.linspace(filled[0], filled[-1], SLICES - 1).round().astype(int)
    planes = [int(clicked.sum((1, 2)).argmax()), *others.tolist()]
    grey, *inside = (
        part[planes].repeat(CUBE_SCALE, 1).repeat(CUBE_SCALE, 2) for part in (image, truth, known)
    )
    return Row(source, case, np.repeat(grey[:, None], 3, axis=1), *(part > 0.5 for part in inside))


def _drawn(cases: Sequence[TrainingCase], rng: Rng) -> TrainingCase:
    """A random case of a random set."""
    groups = sorted({case.group for case in cases})
    group = groups[rng.integers(len(groups))]
    members = [case for case in cases if case.group == group]
    return members[rng.integers(len(members))]


def _cut(
    draw: Callable[[], TrainingCase], sample: Callable[[TrainingCase, C, Rng], T | None], config: C, rng: Rng
) -> tuple[TrainingCase, T] | None:
    """A case and what `sample` cuts from it, the object in sight; None when there is none in many draws."""
    for _ in range(MAX_TRIES):
        case = draw()
        found = sample(case, config, rng) if case.objects else None
        if found is not None:
            return case, found
    return None


def draw_gallery(rows: Sequence[Row]) -> Image.Image:
    """A row each: its first slice bare, then every slice with the target's outline and what is told of it."""
    side = rows[0].image.shape[-1]
    width = 2 * BORDER + (SLICES + 1) * (side + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * BORDER + len(rows) * (side + WORDS + GAP)), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, row in enumerate(rows):
        top = BORDER + number * (side + WORDS + GAP)
        pen.text((BORDER, top + 2), row.words, INK, font)
        nothing = np.zeros_like(row.truth[0])
        tiles = [_tile(row.image[0], nothing, nothing), *map(_tile, row.image, row.truth, row.told)]
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (BORDER + place * (side + GAP), top + WORDS))
    return sheet


def _tile(image: Array, truth: Mask, told: Mask) -> Image.Image:
    """(3, H, W) in [0, 1] and (H, W) twice -> a picture; outlines lie just outside."""
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)  # (H, W, 3)
    for inside, colour in ((told, TOLD), (truth, OUTLINE)):
        pixels[ndimage.binary_dilation(inside) & ~inside] = colour
    return Image.fromarray(pixels)


def write_gallery(path: Path, rows: Sequence[Row]) -> None:
    """Draw and save; OutputError when the file cannot be written."""
    try:
        draw_gallery(rows).save(path, format="PNG")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from None
