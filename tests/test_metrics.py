"""Metrics, against figures worked out by hand and against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from limnet.errors import GeometryError
from limnet.evaluation.box import box_of
from limnet.evaluation.metrics import dice, hd95, iou, nsd, surface, surface_scores

Mask = NDArray[np.bool_]
small_masks = arrays(np.bool_, st.tuples(*[st.integers(1, 5)] * 3))


def cube(start: int, stop: int, size: int = 12) -> Mask:
    mask = np.zeros((size, size, size), bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def surface_by_definition(mask: Mask, spacing: tuple[float, ...]) -> tuple[NDArray[np.float64], list[float]]:
    """Corner by corner, the 2 x 2 x 2 voxels round it looked up one at a time; no axis of length one."""
    points, areas = [], []
    inside = np.pad(mask, 1).astype(float)
    for corner in np.ndindex(*[n - 1 for n in inside.shape]):
        cell = inside[tuple(slice(c, c + 2) for c in corner)]
        if 0 < cell.sum() < cell.size:
            gradient = [
                (cell.take(1, a).mean() - cell.take(0, a).mean()) / spacing[a] for a in range(mask.ndim)
            ]
            points.append([(c - 0.5) * step for c, step in zip(corner, spacing, strict=True)])
            areas.append(float(np.linalg.norm(gradient) * np.prod(spacing)))
    return np.array(points).reshape(-1, mask.ndim), areas


def nsd_by_definition(truth: Mask, mask: Mask, spacing: tuple[float, ...], tolerance: float) -> float:
    (a, areas_a), (b, areas_b) = (surface_by_definition(m, spacing) for m in (truth, mask))
    if len(a) == 0 or len(b) == 0:
        return float(len(a) == len(b))
    distance = cdist(a, b)
    near = np.dot(distance.min(1) <= tolerance + 1e-6, areas_a)
    near += np.dot(distance.min(0) <= tolerance + 1e-6, areas_b)
    return float(near / (sum(areas_a) + sum(areas_b)))


def test_dice_of_two_overlapping_cubes_is_worked_out_by_hand() -> None:
    # 4^3 = 64 and 4^3 = 64 voxels, sharing 2^3 = 8
    assert dice(cube(2, 6), cube(4, 8)) == 2 * 8 / 128


def test_iou_of_two_overlapping_cubes_is_worked_out_by_hand() -> None:
    assert iou(cube(2, 6), cube(4, 8)) == 8 / 120


@given(small_masks, st.randoms())
def test_iou_follows_from_dice(truth: Mask, random: object) -> None:
    mask = np.roll(truth, 1, 0)
    score = dice(truth, mask)
    assert iou(truth, mask) == pytest.approx(score / (2 - score))


@pytest.mark.parametrize("metric", [dice, iou, lambda a, b: nsd(a, b, (1, 1, 1), 2.0)])
def test_two_empty_masks_agree_and_one_empty_mask_scores_nothing(metric) -> None:  # type: ignore[no-untyped-def]
    empty = np.zeros((12, 12, 12), bool)
    assert metric(empty, empty) == 1.0
    assert metric(cube(2, 5), empty) == 0.0
    assert metric(empty, cube(2, 5)) == 0.0


@pytest.mark.parametrize("metric", [dice, iou, lambda a, b: nsd(a, b, (1, 1, 1), 2.0)])
def test_masks_on_different_grids_are_refused(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GeometryError, match="resample"):
        metric(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool))


def test_surface_of_a_box_has_nearly_the_area_of_the_box() -> None:
    mask = np.zeros((40, 50, 30), bool)
    mask[5:35, 5:45, 5:25] = True  # 30 x 40 x 20 voxels of 1 x 1 x 2 mm: 30 x 40 x 40 mm
    area = surface(mask, (1.0, 1.0, 2.0)).areas.sum()
    assert area == pytest.approx(
        2 * (30 * 40 + 30 * 40 + 40 * 40), rel=0.05
    )  # edges and corners are cut short


def test_surface_lies_on_the_faces_between_inside_and_outside() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:5, 2:7, 2:7] = True
    along_i, corners = np.unique(surface(mask, (2.0, 1.0, 1.0)).points_mm[:, 0], return_counts=True)
    assert along_i.tolist() == [5.0, 7.0, 9.0]  # 2 mm x (3 - ½), (4 - ½), (5 - ½)
    assert corners.tolist() == [36, 20, 36]  # two faces of 6 x 6 corners, and the rim between them


def test_surface_counts_the_edge_of_the_array_as_outside() -> None:
    assert surface(np.ones((4, 4, 4), bool), (1, 1, 1)).points_mm.min() == -0.5


def test_surface_of_a_2d_image_is_its_outline() -> None:
    mask = np.zeros((30, 30, 1), bool)
    mask[5:25, 5:25] = True
    outline = surface(mask, (1.0, 1.0, 9.0))
    assert outline.areas.sum() == pytest.approx(80, rel=0.05)
    assert set(outline.points_mm[:, 2]) == {0.0}


def test_nsd_forgives_a_cube_that_is_one_voxel_too_large_only_within_tolerance() -> None:
    assert nsd(cube(3, 8), cube(2, 9), (1.0, 1.0, 1.0), tolerance_mm=2.0) == 1.0
    assert nsd(cube(3, 8), cube(2, 9), (1.0, 1.0, 1.0), tolerance_mm=0.5) == 0.0


def test_nsd_measures_in_millimetres_along_each_axis() -> None:
    truth, mask = np.zeros((2, 3, 3, 9), bool)
    truth[1, 1, 2], mask[1, 1, 3] = True, True  # one voxel apart along k
    assert nsd(truth, mask, (1.0, 1.0, 2.0), tolerance_mm=2.0) == 1.0
    assert nsd(truth, mask, (1.0, 1.0, 2.1), tolerance_mm=2.0) == 0.5  # the face between them is shared
    assert nsd(truth, mask, (9.0, 9.0, 2.0), tolerance_mm=2.0) == 1.0


def test_nsd_includes_a_distance_equal_to_the_tolerance_despite_rounding() -> None:
    truth, mask = np.zeros((2, 30), bool)
    truth[2], mask[5] = True, True  # one voxel each, three apart: 3 x 0.1 > 0.3 in floating point
    assert nsd(truth, mask, (0.1,), tolerance_mm=0.3) == 1.0


def test_nsd_agrees_with_the_reference_implementation() -> None:
    # DeepMind surface-distance 0.1, measured once: two ellipsoids, voxels of 0.8 x 0.8 x 5 mm
    truth, mask = ellipsoids()
    for tolerance_mm, reference in ((1, 0.4294), (2, 0.5622), (3, 0.7479)):
        assert nsd(truth, mask, (0.8, 0.8, 5.0), tolerance_mm) == pytest.approx(reference, abs=0.01)


def test_nsd_refuses_a_spacing_of_the_wrong_length() -> None:
    with pytest.raises(GeometryError, match="3 positive numbers"):
        nsd(cube(2, 5), cube(2, 5), (1.0, 1.0), 2.0)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_nsd_equals_its_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(2, 7, 3))
    truth, mask = random.random((2, *shape)) < random.uniform(0.1, 0.9)
    spacing = tuple(random.uniform(0.5, 3.0, 3))
    tolerance = random.uniform(0.0, 3.0)
    assert nsd(truth, mask, spacing, tolerance) == pytest.approx(
        nsd_by_definition(truth, mask, spacing, tolerance)
    )


def hd95_by_definition(truth: Mask, mask: Mask, spacing: tuple[float, ...]) -> float:
    (a, areas_a), (b, areas_b) = (surface_by_definition(m, spacing) for m in (truth, mask))
    if len(a) == 0 or len(b) == 0:
        return 0.0 if len(a) == len(b) else math.nan
    distance = cdist(a, b)
    found = []
    for nearest, areas in ((distance.min(1), areas_a), (distance.min(0), areas_b)):
        enough = 0.95 * sum(areas) * (1 - 1e-9)
        found.append(min(d for d in nearest if sum(np.array(areas)[nearest <= d]) >= enough))
    return float(max(found))


def test_hd95_of_two_shifted_plates_is_the_shift_in_millimetres() -> None:
    truth, mask = np.zeros((2, 40, 40, 12), bool)
    truth[5:35, 5:35, 2], mask[5:35, 5:35, 5] = True, True
    # each has a face 3 slices of 2 mm from the other's nearest, and one 2 slices; the face is half the area
    assert hd95(truth, mask, (1.0, 1.0, 2.0)) == 6.0


def test_hd95_passes_over_a_speck_that_is_less_than_a_twentieth_of_the_surface() -> None:
    truth, mask = cube(5, 25, size=60), cube(5, 25, size=60)
    mask[50:52, 50:52, 50:52] = True
    assert hd95(truth, mask, (1, 1, 1)) == 0.0
    mask[40:52, 40:52, 40:52] = True
    assert hd95(truth, mask, (1, 1, 1)) > 30


def test_hd95_is_symmetric_and_takes_the_worse_direction() -> None:
    truth, mask = cube(10, 14, size=40), cube(10, 34, size=40)
    assert hd95(truth, mask, (1, 1, 1)) == hd95(mask, truth, (1, 1, 1)) > 20


def test_hd95_needs_something_to_measure_to() -> None:
    empty = np.zeros((12, 12, 12), bool)
    assert math.isnan(hd95(cube(2, 5), empty, (1, 1, 1)))
    assert math.isnan(hd95(empty, cube(2, 5), (1, 1, 1)))
    assert hd95(empty, empty, (1, 1, 1)) == 0.0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000))
def test_hd95_equals_its_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 7, 3))
    truth, mask = random.random((2, *shape)) < random.uniform(0.02, 0.9)
    spacing = tuple(random.uniform(0.5, 3.0, 3))
    found = hd95(truth, mask, spacing) if max(shape) > 1 else math.nan
    if truth.ndim == 3 and min(shape) > 1:
        assert found == pytest.approx(hd95_by_definition(truth, mask, spacing), nan_ok=True)


def ellipsoids() -> tuple[Mask, Mask]:
    i, j, k = np.indices((60, 60, 30))
    truth = (i - 30) ** 2 + (j - 30) ** 2 + ((k - 15) * 1.5) ** 2 < 18**2
    return truth, (i - 33) ** 2 + (j - 30) ** 2 + ((k - 15) * 1.5) ** 2 < 20**2


def test_hd95_agrees_with_the_reference_implementation() -> None:
    # DeepMind surface-distance 0.1, measured once on the two ellipsoids
    truth, mask = ellipsoids()
    for spacing, reference in (((1, 1, 1), 4.1231), ((0.8, 0.8, 5.0), 5.0), ((0.5, 2.0, 3.0), 4.0)):
        assert hd95(truth, mask, spacing) == pytest.approx(reference, abs=1e-4)


def test_hd95_agrees_with_simpleitk_within_a_voxel() -> None:
    truth, mask = ellipsoids()
    images = [SimpleITK.GetImageFromArray(m.astype(np.uint8)) for m in (truth, mask)]
    nearest = []
    for one, other in (images, images[::-1]):
        for image in (one, other):
            image.SetSpacing((5.0, 0.8, 0.8))  # SimpleITK counts the axes from the last
        contours = [SimpleITK.LabelContour(image, fullyConnected=False) for image in (one, other)]
        away = SimpleITK.SignedMaurerDistanceMap(contours[1], squaredDistance=False, useImageSpacing=True)
        nearest.append(
            np.abs(SimpleITK.GetArrayFromImage(away))[SimpleITK.GetArrayFromImage(contours[0]) > 0]
        )
    expected = max(np.percentile(distances, 95) for distances in nearest)  # of voxels, not of area
    assert hd95(truth, mask, (0.8, 0.8, 5.0)) == pytest.approx(expected, abs=1.0)


def test_one_pass_gives_what_the_metrics_give_one_by_one() -> None:
    truth, mask = ellipsoids()
    found = surface_scores(truth, mask, (0.8, 0.8, 5.0), (1.0, 2.0, 3.0))
    assert found.nsd == tuple(nsd(truth, mask, (0.8, 0.8, 5.0), tolerance) for tolerance in (1.0, 2.0, 3.0))
    assert found.hd95_mm == hd95(truth, mask, (0.8, 0.8, 5.0))


def test_a_tolerance_below_nothing_is_refused() -> None:
    with pytest.raises(GeometryError, match="must not be negative, got -1"):
        surface_scores(cube(2, 5), cube(2, 5), (1, 1, 1), (1.0, -1.0))


@given(small_masks)
def test_the_box_holds_the_whole_mask_and_touches_it_on_every_side(mask: Mask) -> None:
    box = box_of(mask)
    if box is None:
        assert not mask.any()
        return
    assert mask[box].sum() == mask.sum()
    for axis in range(mask.ndim):
        assert mask[box].take(0, axis).any()
        assert mask[box].take(-1, axis).any()
