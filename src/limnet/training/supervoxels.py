"""Supervoxels of real images as targets (design: source 4): real texture, any object, no labels needed.

A random crop is cut into SLIC supervoxels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120) of random size
that follow edges; now and then neighbours of nearly the same grey are merged, so that targets are large and
of any shape, as organs are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.training.cases import MIN_VOXELS, TrainingCase, case_with_labels, training_objects

SUPERVOXELS = "supervoxels"
CROP = (96, 96, 32)  # voxels at most; the fewest along the thickest slices
MAX_TRIES = 8  # crops drawn before one without any edge is taken
MIN_CONTRAST = 0.04  # of [0, 1]: a supervoxel that differs less from what surrounds it is no object ...
SPREAD = 0.7  # ... nor one that differs by less than so many standard deviations of its own greys
MERGED = 0.7  # share of crops in which neighbours are merged
CLOSEST = (0.02, 0.12)  # range of the difference in grey below which they are

Image = NDArray[np.float32]
Labels = NDArray[np.intp]


def supervoxel_case(cases: Sequence[TrainingCase], rng: np.random.Generator) -> TrainingCase:
    """A crop of a random set's random image, its supervoxels for labels; `cases` must have images."""
    groups = sorted({case.group for case in cases})
    for _ in range(MAX_TRIES):
        group = groups[rng.integers(len(groups))]
        members = [case for case in cases if case.group == group]
        case = _cut(members[rng.integers(len(members))], rng)
        if case.objects:
            break
    return case


def _cut(case: TrainingCase, rng: np.random.Generator) -> TrainingCase:
    """One random crop of a case, cut into supervoxels."""
    assert case.image is not None
    window = _window(case.image.shape[:3], case.spacing, rng)
    image = case.image[window]
    labels = supervoxels(image.astype(np.float32), case.spacing, rng)
    made = case_with_labels(f"{case.name}-{SUPERVOXELS}", SUPERVOXELS, image, labels, case.spacing)
    distinct = _distinct(image, made.labels)
    objects = tuple(each for each in training_objects(made.labels, MIN_VOXELS) if distinct[each.label])
    return TrainingCase(made.name, made.group, image, made.labels, made.spacing, objects)


def _window(
    shape: tuple[int, ...], spacing: Sequence[float], rng: np.random.Generator
) -> tuple[slice, slice, slice]:
    """A random box of at most CROP voxels, shortest along the axis of largest spacing."""
    thick = int(np.argmax(np.array(spacing) * (1 + 0.01 * rng.random(3))))  # any axis of an even grid
    if 1 in shape:
        thick = shape.index(1)
    most = list(CROP[:2])
    most.insert(thick, CROP[2])
    lengths = [min(n, m) for n, m in zip(shape, most, strict=True)]
    starts = [int(rng.integers(n - length + 1)) for n, length in zip(shape, lengths, strict=True)]
    i, j, k = (slice(a, a + length) for a, length in zip(starts, lengths, strict=True))
    return i, j, k


def supervoxels(image: Image, spacing: tuple[float, float, float], rng: np.random.Generator) -> Labels:
    """Labels 1, 2, ... of an image (I, J, K) or (I, J, K, 3) in [0, 1]; every voxel belongs to one."""
    from skimage.segmentation import slic

    volume = image.shape[0] * image.shape[1] * image.shape[2]
    smallest, largest = max(120.0, volume / 600), max(240.0, volume / 30)
    size = smallest * (largest / smallest) ** rng.random()  # voxels of a supervoxel, log-uniform
    # Of balls in noise these follow the edge best: blurred more, 1.9 to 4 % of all voxels were on the wrong
    # side instead of 0 to 0.6 %; below 0.03 the connectivity that SLIC enforces swallows most supervoxels.
    labels: Labels = slic(
        image,
        n_segments=max(2, round(volume / size)),
        compactness=0.03 * 8 ** rng.random(),
        sigma=rng.uniform(0, 0.8),
        spacing=spacing,
        max_num_iter=5,
        channel_axis=-1 if image.ndim == 4 else None,
        start_label=1,
    ).astype(np.intp)
    if rng.random() < MERGED:
        labels = merge_alike(image, labels, float(rng.uniform(*CLOSEST)))
    return labels


def merge_alike(image: Image, labels: Labels, closest: float) -> Labels:
    """Neighbours whose mean greys differ by less than `closest` become one, the most alike first.

    A merged region has the mean of all its voxels, so that merging does not creep along a slope of grey.
    """
    greys = _means(image, labels)
    counts = np.bincount(labels.ravel(), minlength=len(greys)).astype(float)
    parent = list(range(len(greys)))

    def root(label: int) -> int:
        while parent[label] != label:
            label = parent[label]
        return label

    pairs, _ = _neighbours(labels)
    for one, other in pairs[np.argsort(np.abs(greys[pairs[:, 0]] - greys[pairs[:, 1]]), kind="stable")]:
        a, b = sorted((root(int(one)), root(int(other))))
        if a != b and abs(greys[a] - greys[b]) < closest:
            greys[a] = (greys[a] * counts[a] + greys[b] * counts[b]) / (counts[a] + counts[b])
            counts[a] += counts[b]
            parent[b] = a
    return np.array([root(label) for label in range(len(parent))])[labels]


def _distinct(image: NDArray[Any], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each label stands out from its neighbours, shared borders weighted: (256,)."""
    full = image.astype(np.float32)
    greys = _means(full, labels, 256)
    spread = np.sqrt(np.maximum(_means(np.square(full), labels, 256) - greys**2, 0))
    pairs, lengths = _neighbours(labels.astype(np.intp))
    difference, border = np.zeros(256), np.zeros(256)
    for side in (0, 1):
        contrast = np.abs(greys[pairs[:, 0]] - greys[pairs[:, 1]]) * lengths
        np.add.at(difference, pairs[:, side], contrast)
        np.add.at(border, pairs[:, side], lengths)
    found: NDArray[np.bool_] = difference >= np.maximum(MIN_CONTRAST, SPREAD * spread) * np.maximum(border, 1)
    return found


def _means(image: Image, labels: NDArray[Any], length: int = 0) -> NDArray[np.float64]:
    """Mean grey of every label; colours are averaged first."""
    grey = image.mean(-1) if image.ndim == 4 else image
    counts = np.bincount(labels.ravel(), minlength=length)
    sums = np.bincount(labels.ravel(), grey.ravel().astype(np.float64), minlength=length)
    means: NDArray[np.float64] = sums / np.maximum(counts, 1)
    return means


def _neighbours(labels: Labels) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of labels that share faces, the lower one first, and how many: (P, 2), (P,)."""
    found = []
    for axis in range(3):
        one, other = (np.delete(labels, cut, axis).ravel() for cut in (-1, 0))
        differ = one != other
        found.append(np.sort(np.stack([one[differ], other[differ]], axis=1), axis=1))
    pairs, lengths = np.unique(np.concatenate(found), axis=0, return_counts=True)
    return pairs, lengths
