"""What each kind of prompt makes of one slice: Dice of the prompt mask, nothing else being known.

    python benchmarks/prompts.py [--cases DIR] [--per-set N]

The shipped sample, or N cases of every set below DIR (DIR/SET/images, DIR/SET/labels of the same name). The
prompts are drawn from the truth of the object's largest slice, as a careful user would:

    click      the pixel farthest from the boundary
    scribble   the middle three quarters of the longest chord through that pixel
    box        the bounding box; "loose": a tenth wider on every side
    lasso      the convex hull; "loose": a tenth larger
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

import limnet
from limnet.evaluation import dice
from limnet.interaction import bounds
from limnet.prompt import Voxel, centre
from limnet.sample import sample_truth_path, sample_volume_path

Mask = NDArray[np.bool_]
Pixels = list[tuple[int, int]]

FEWEST = 30  # pixels of an object on its largest slice
LOOSE = 0.1  # of the extent


def longest_chord(truth: Mask) -> Pixels:
    """Ends of the middle three quarters of the longest chord through the centre that stays inside."""
    row, column = centre(truth)
    best: Pixels = [(row, column)]
    longest = 0.0
    for angle in np.arange(36) * math.pi / 36:
        ends = []
        for sign in (1, -1):
            reach = 0
            while _inside(
                truth,
                row + sign * (reach + 1) * math.sin(angle),
                column + sign * (reach + 1) * math.cos(angle),
            ):
                reach += 1
            reach = int(0.75 * reach)
            ends.append(
                (round(row + sign * reach * math.sin(angle)), round(column + sign * reach * math.cos(angle)))
            )
        length = math.dist(*ends)
        if length > longest:
            best, longest = ends, length
    return best


def _inside(truth: Mask, row: float, column: float) -> bool:
    r, c = round(row), round(column)
    return 0 <= r < truth.shape[0] and 0 <= c < truth.shape[1] and bool(truth[r, c])


def box_corners(truth: Mask, loose: float) -> Pixels:
    """First and last pixel of the bounding box, `loose` of its extent wider on every side."""
    low, high = np.array(bounds(truth))
    room = np.round(loose * (high - low + 1)).astype(int)
    low, high = np.maximum(low - room, 0), np.minimum(high + room, np.array(truth.shape) - 1)
    return [(int(low[0]), int(low[1])), (int(high[0]), int(high[1]))]


def hull_corners(truth: Mask, loose: float) -> Pixels:
    """Corners of the convex hull, moved outwards by `loose` of its extent."""
    pixels = np.argwhere(truth)
    if len({*pixels[:, 0]}) < 2 or len({*pixels[:, 1]}) < 2:
        return []
    corners = pixels[ConvexHull(pixels).vertices]
    middle = (corners.min(0) + corners.max(0)) / 2
    moved = np.clip(np.round(middle + (corners - middle) * (1 + 2 * loose)), 0, np.array(truth.shape) - 1)
    return [(int(row), int(column)) for row, column in moved]


def prompt_dices(session: limnet.Session, truth: Mask, axis: int, index: int) -> Iterator[tuple[str, float]]:
    """Kind and Dice of every prompt on an empty slice (h, w)."""

    def voxels(pixels: Pixels) -> list[Voxel]:
        placed = [np.insert(np.array(pixel), axis, index) for pixel in pixels]
        return [(int(i), int(j), int(k)) for i, j, k in placed]

    row, column = centre(truth)
    yield "click", dice(truth, session.click(voxels([(row, column)])[0], axis=axis))
    session.undo()
    yield "scribble", dice(truth, session.scribble(voxels(longest_chord(truth)), axis=axis))
    session.undo()
    for name, loose in (("", 0.0), (" loose", LOOSE)):
        low, high = voxels(box_corners(truth, loose))
        yield f"box{name}", dice(truth, session.box(low, high, axis=axis))
        session.undo()
        corners = voxels(hull_corners(truth, loose))
        if corners:
            yield f"lasso{name}", dice(truth, session.lasso(corners, axis=axis))
            session.undo()


def cases(folder: Path | None, per_set: int) -> Iterator[tuple[str, Path, Path]]:
    """Set, volume and truth of every case."""
    if folder is None:
        yield "sample", sample_volume_path(), sample_truth_path()
        return
    for images in sorted(folder.glob("*/images")):
        labels = images.with_name("labels")
        paths = sorted(path for path in images.iterdir() if (labels / path.name).exists())
        for path in paths[:: max(1, len(paths) // per_set)][:per_set]:
            yield images.parent.name, path, labels / path.name


def main() -> None:
    """Print one line per set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, help="folder of sets; default: the shipped sample")
    parser.add_argument("--per-set", type=int, default=3, help="cases of each set")
    options = parser.parse_args()
    model = limnet.load_model()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for set_name, path, truth_path in cases(options.cases, options.per_set):
        volume = limnet.read_volume(path)
        labels = limnet.read_mask(truth_path, like=volume)
        axis = volume.sweep_axis
        rest = tuple(a for a in range(3) if a != axis)
        for label in [n for n in np.unique(labels) if n][:5]:
            sizes = (labels == label).sum(rest)
            index = int(np.argmax(sizes))
            if sizes[index] >= FEWEST:
                session = limnet.Session(volume, model)
                truth = np.take(labels == label, index, axis)
                for kind, score in prompt_dices(session, truth, axis, index):
                    found[set_name][kind].append(score)
                    found["all"][kind].append(score)
    for set_name, kinds in found.items():
        number = len(kinds["click"])
        print(
            f"{set_name:28} {number:4}  " + "  ".join(f"{k} {np.mean(v):.3f}" for k, v in kinds.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
