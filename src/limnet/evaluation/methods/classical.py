"""Three classical methods that grow from seeds, each from a well-kept library.

| method | a voxel belongs to the seeds that | library |
|---|---|---|
| `random-walker` | a random walk from it meets first, by a margin | scikit-image |
| `geodesic` | are nearer, when edges make the way longer | SimpleITK |
| `grow` | flood it first, edges and distance holding the flood back | scikit-image |

Settings were chosen once, on six cases of the training data (hippocampus, tumour of brain and of soft tissue,
left ventricle, heart and aorta; six rounds of one click), and are the same for every volume. The figures
below are mean Dice over those rounds and cases.

Not taken: SimpleITK's watershed from markers (0.49 where `grow` reaches 0.53). Graph cuts on SciPy's maximum
flow, which cut closely around single clicks or, with intensity models of the seeds, leak (0.37 at best in
round five, on four of the cases). Fast GrowCut, a shortest path as `geodesic` is, for which all of ITK would
have to be installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from limnet.evaluation.methods.edges import edge_strength
from limnet.evaluation.methods.library import Library
from limnet.evaluation.methods.region import BACKGROUND, OBJECT, Region
from limnet.evaluation.methods.seeded import Baseline

Score = NDArray[np.float32]

SKIMAGE = Library("skimage.segmentation", "scikit-image")
SIMPLEITK = Library("SimpleITK", "SimpleITK")

# Few seeds stand in a large frame of background, so the walk must favour them. As it is: 0.49; with balls of
# 2.5 mm instead of 4 mm: 0.39; with a share of 0.5, the plain majority, and beta 500: 0.34
WALK_BETA = 130.0  # how strongly edges hold the walk back, scikit-image's own default; 500 gave 0.46
WALK_SHARE = 0.1  # of walks that must end in the object
WALK_TOLERANCE = 1e-3  # of the solver, relative; 1e-6 changed no Dice by more than 0.01 (beta 2000)

GEODESIC_STEP = 0.02  # cost of a mm without edges; 0.01 and 0.05 were as good within 0.02

GROW_SIGMA_MM = 2.0  # smoothing of the edges; 1 mm gave 0.50
GROW_COMPACTNESS = 1e-3  # price of a working voxel of distance; 1e-4 gave 0.50, at 0 and 1 mm 0.35


def random_walker(region: Region) -> Score:
    """How much more than WALK_SHARE of the random walks from a voxel end in the object (Grady, 2006).

    Channels of RGB count together. Solved by conjugate gradients with a Jacobi preconditioner.
    """
    segmentation = SKIMAGE.load()
    with warnings.catch_warnings():  # of probabilities a little off [0, 1], which the threshold does not mind
        warnings.simplefilter("ignore")
        share = segmentation.random_walker(
            region.values,
            region.seeds.astype(np.int32),
            beta=WALK_BETA,
            mode="cg_j",
            tol=WALK_TOLERANCE,
            return_full_prob=True,
            spacing=region.spacing_mm,
            channel_axis=-1,
        )  # (2, i, j, k): OBJECT, BACKGROUND
    score: Score = (share[0] - WALK_SHARE).astype(np.float32)
    return score


def geodesic(region: Region) -> Score:
    """Which seeds are nearer when a mm costs GEODESIC_STEP plus the edge strength there, in [-1, 1].

    The distances solve the eikonal equation by fast marching (Sethian, 1996); the score is their difference
    over their sum. Channels of RGB count together, as the length of their gradients.
    """
    cost = GEODESIC_STEP + edge_strength(region)  # (i, j, k)
    to_object, to_background = (
        _travel_time(1 / cost, region.seeds == kind, region.spacing_mm) for kind in (OBJECT, BACKGROUND)
    )
    score: Score = (to_background - to_object) / (to_background + to_object)
    return score


def grow(region: Region) -> Score:
    """1 where seeds of the object get first when all grow together over the edges, -1 elsewhere.

    A watershed of the smoothed edge strength from the seeds, each of which pays GROW_COMPACTNESS for its
    distance (compact watershed; Neubert and Protzel, 2014): without that price a single click leaks through
    the weakest point of a boundary.
    """
    segmentation = SKIMAGE.load()
    edges = edge_strength(region, GROW_SIGMA_MM)
    labels = segmentation.watershed(edges, region.seeds.astype(np.int32), compactness=GROW_COMPACTNESS)
    return np.where(labels == OBJECT, 1, -1).astype(np.float32)


METHODS: Mapping[str, Baseline] = {
    "random-walker": Baseline(random_walker, max_voxels=80_000, seed_mm=4.0, library=SKIMAGE),
    "geodesic": Baseline(geodesic, max_voxels=150_000, seed_mm=1.5, library=SIMPLEITK),
    "grow": Baseline(grow, max_voxels=150_000, seed_mm=1.5, library=SKIMAGE),
}


def _travel_time(
    speed: NDArray[np.floating], starts: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> Score:
    """Time (i, j, k) at which a front that leaves `starts` at 0 with `speed`, mm per unit, passes."""
    sitk = SIMPLEITK.load()
    image = sitk.GetImageFromArray(np.ascontiguousarray(speed, np.float32))  # its axes are k, j, i
    image.SetSpacing(spacing_mm[::-1])
    marching = sitk.FastMarchingImageFilter()
    marching.SetTrialPoints(np.argwhere(starts)[:, ::-1].tolist())
    times: Score = sitk.GetArrayFromImage(marching.Execute(image))
    return times
