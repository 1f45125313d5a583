"""The other methods: what they are told, what they find, what they refuse."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from doubles import box_volume, volume_of
from limnet.errors import ConfigError, PromptError, VolumeError
from limnet.evaluation.methods import METHODS, new_baseline, nninteractive_session
from limnet.evaluation.methods.edges import edge_strength
from limnet.evaluation.methods.nninteractive import NnInteractiveSession
from limnet.evaluation.methods.region import (
    BACKGROUND,
    OBJECT,
    UNKNOWN,
    Region,
    block_factors,
    block_means,
    frame_seeds,
    plant,
    region_around,
)
from limnet.evaluation.methods.seeded import Baseline, SeededSession
from limnet.evaluation.metrics import dice
from limnet.prompt import Click, Voxel
from limnet.volume import Volume

Mask = NDArray[np.bool_]

LIBRARIES = {"random-walker": "skimage", "geodesic": "SimpleITK", "grow": "skimage"}


def session_of(name: str, volume: Volume) -> Any:
    pytest.importorskip(LIBRARIES[name])
    return new_baseline(name)(volume)


def bright_ball(rgb: bool = False) -> tuple[Volume, Mask]:
    """A ball of 10 mm before a background that brightens slowly; voxels of 1 x 1 x 2 mm."""
    shape, spacing = (48, 40, 20), np.reshape((1, 1, 2), (3, 1, 1, 1))
    away = (np.indices(shape) - np.reshape((24, 20, 10), (3, 1, 1, 1))) * spacing
    ball = (away**2).sum(0) <= 10**2
    grey = 60 + 20 * np.indices(shape)[0] / shape[0] + 100 * ball
    if not rgb:
        return volume_of(grey.astype(np.int16), (1, 1, 2)), ball
    colours = np.stack([grey, 220 - grey, np.full(shape, 90)], axis=-1)  # red and green change places
    return volume_of(colours.astype(np.uint8), (1, 1, 2)), ball


# The region


def test_blocks_become_cubes_before_they_become_large() -> None:
    assert block_factors((100, 100, 10), (1.0, 1.0, 4.0), max_voxels=10**6) == (1, 1, 1)
    assert block_factors((100, 100, 10), (1.0, 1.0, 4.0), max_voxels=30_000) == (2, 2, 1)


def test_a_block_is_the_mean_of_its_voxels_and_the_last_may_be_smaller() -> None:
    array = np.arange(10).reshape(5, 2, 1)
    assert block_means(array, (2, 2, 1)).ravel().tolist() == [1.5, 5.5, 8.5]


def test_block_means_equal_their_definition_with_three_channels() -> None:
    array = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3)).astype(np.uint8)
    expected = array.reshape(3, 2, 2, 2, 4, 1, 3).mean((1, 3, 5))
    np.testing.assert_allclose(block_means(array, (2, 2, 1)), expected, rtol=1e-6)


def test_the_region_reaches_a_fixed_distance_beyond_the_positive_clicks_and_stays_in_the_volume() -> None:
    volume = volume_of(np.arange(64 * 64 * 32).reshape(64, 64, 32), (1, 1, 2))
    clicks = (Click((30, 5, 16)), Click((40, 5, 16)), Click((60, 60, 30), positive=False))
    region = region_around(volume, clicks, reach_mm=10, max_voxels=10**6, seed_mm=1)
    assert region.box == (slice(20, 51), slice(0, 16), slice(11, 22))
    assert region.open_sides == ((True, True), (False, True), (True, True))
    assert not region.is_whole


def test_a_region_is_never_larger_than_its_bound() -> None:
    volume = volume_of(np.random.default_rng(0).random((90, 80, 70)))
    region = region_around(volume, [Click((45, 40, 35))], reach_mm=500, max_voxels=5_000, seed_mm=1)
    assert region.is_whole
    assert region.seeds.size <= 5_000
    assert region.values.shape == (*region.seeds.shape, 1)


def test_the_frame_is_background_except_where_the_sweep_ends_with_the_volume() -> None:
    seeds = frame_seeds((5, 5, 5), ((False, False), (True, True), (False, True)), sweep_axis=2)
    assert (seeds[0] == BACKGROUND).all()
    assert (seeds[1:-1, 1:-1, 0] == UNKNOWN).all()
    assert (seeds[:, :, -1] == BACKGROUND).all()
    assert np.count_nonzero(seeds == UNKNOWN) == 3 * 3 * 4


def test_a_click_becomes_a_ball_in_mm() -> None:
    seeds = np.zeros((9, 9, 9), np.uint8)
    plant(seeds, [Click((4, 4, 4))], (1.0, 1.0, 3.0), seed_mm=2.0)
    assert np.count_nonzero(seeds == OBJECT) == 13  # a disk of radius 2 on one slice
    assert (seeds[4, 2:7, 4] == OBJECT).all()


def test_the_newest_click_wins_but_never_another_clicks_own_voxel() -> None:
    seeds = np.zeros((9, 1, 1), np.uint8)
    plant(seeds, [Click((3, 0, 0)), Click((4, 0, 0), positive=False)], (1.0, 1.0, 1.0), seed_mm=2.0)
    expected = [UNKNOWN, OBJECT, BACKGROUND, OBJECT, BACKGROUND, BACKGROUND, BACKGROUND, UNKNOWN, UNKNOWN]
    assert seeds.ravel().tolist() == expected


def test_what_is_found_returns_to_its_place_on_the_volumes_grid() -> None:
    volume = volume_of(np.random.default_rng(0).random((40, 40, 40)))
    region = region_around(volume, [Click((20, 20, 20))], reach_mm=15, max_voxels=1_000, seed_mm=1)
    assert region.factors == (4, 4, 4)
    mask = np.zeros(volume.shape, bool)
    score = np.full(region.seeds.shape, -1, np.float32)
    score[2, 3, 4] = 3.0
    region.paste(score, mask)
    middle = [side.start + 4 * at + 1.5 for side, at in zip(region.box, (2, 3, 4), strict=True)]
    np.testing.assert_allclose(ndimage.center_of_mass(mask), middle, atol=1e-6)


def test_pasting_slab_by_slab_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = volume_of(np.random.default_rng(0).random((31, 30, 29)))
    region = region_around(volume, [Click((15, 15, 15))], reach_mm=99, max_voxels=2_000, seed_mm=1)
    score = np.random.default_rng(1).normal(size=region.seeds.shape).astype(np.float32)
    whole, slabs = np.zeros((2, *volume.shape), bool)
    region.paste(score, whole)
    monkeypatch.setattr("limnet.evaluation.methods.region.SLAB_VOXELS", 2_000)
    region.paste(score, slabs)
    assert whole.any()
    assert np.array_equal(whole, slabs)


def test_edges_are_intensity_per_mm_over_all_channels() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 11, dtype=np.float32), (3, 3, 11))
    values = np.stack([ramp, ramp], axis=-1)
    region = Region(
        values,
        np.zeros((3, 3, 11), np.uint8),
        (1.0, 1.0, 2.0),
        (slice(3), slice(3), slice(11)),
        (1, 1, 1),
        (),
    )
    np.testing.assert_allclose(edge_strength(region), np.sqrt(2) * 0.05, rtol=1e-5)


# Sessions around a classical method


def bright(region: Region) -> NDArray[np.float32]:
    """The object is what is brighter than the middle of the range."""
    return region.values[..., 0] - 0.5


def test_a_session_grows_its_box_until_it_holds_what_is_found() -> None:
    volume = box_volume(low=(10, 60, 4), high=(150, 70, 12), shape=(160, 160, 16), spacing=(1, 1, 2))
    session = SeededSession(volume, Baseline(bright, max_voxels=10**6, seed_mm=1))
    session.click((80, 65, 8))
    session.propagate()
    assert np.array_equal(session.mask, volume.array > 0)


def test_clicks_are_law_even_where_the_method_disagrees() -> None:
    volume = box_volume()
    session = SeededSession(volume, Baseline(bright, max_voxels=10**6, seed_mm=1))
    session.click((2, 2, 2))
    session.click((12, 12, 8), positive=False)
    session.propagate()
    assert session.mask[2, 2, 2]
    assert not session.mask[12, 12, 8]


def test_a_round_without_a_positive_click_is_refused() -> None:
    session = SeededSession(box_volume(), METHODS["grow"])
    session.click((1, 1, 1), positive=False)
    with pytest.raises(PromptError, match="inside the object first"):
        session.propagate()


def test_a_click_outside_the_volume_is_refused() -> None:
    with pytest.raises(PromptError, match=r"outside the volume of shape \(24, 24, 16\)"):
        SeededSession(box_volume(), METHODS["grow"]).click((24, 0, 0))


def test_a_volume_with_holes_in_its_numbers_is_refused() -> None:
    array = np.zeros((4, 4, 4))
    array[1, 1, 1] = np.nan
    with pytest.raises(VolumeError, match="NaN"):
        SeededSession(volume_of(array), METHODS["grow"])


def test_an_unknown_baseline_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no baseline is called 'growcut'; known: random-walker, geodesic"):
        new_baseline("growcut")


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_library_is_named_with_the_command_that_brings_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("skimage.segmentation", "SimpleITK"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'limnet\[benchmark\]'"):
        new_baseline(name)


# The classical methods


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_one_click_finds_a_ball(name: str, rgb: bool) -> None:
    volume, ball = bright_ball(rgb=rgb)
    session = session_of(name, volume)
    session.click((24, 20, 10))
    session.propagate()
    assert session.mask.shape == volume.shape
    assert dice(ball, session.mask) > 0.9


@pytest.mark.parametrize("name", METHODS)
def test_a_negative_click_takes_back_what_is_around_it(name: str) -> None:
    volume = box_volume(low=(10, 10, 2), high=(50, 20, 14), shape=(60, 30, 16))
    session = session_of(name, volume)
    session.click((14, 15, 8))
    session.propagate()
    before = session.mask
    session.click((46, 15, 8), positive=False)
    session.propagate()
    assert before[12:18, 13:17, 8].all()
    assert session.mask[12:18, 13:17, 8].all()
    assert not session.mask[44:48, 13:17, 8].any()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_clicks_give_the_same_mask_in_one_round_or_two(name: str) -> None:
    volume, _ = bright_ball()
    once, twice = session_of(name, volume), session_of(name, volume)
    for session in (once, twice):
        session.click((24, 20, 10))
    twice.propagate()
    for session in (once, twice):
        session.click((36, 20, 10), positive=False)
        session.propagate()
    assert np.array_equal(once.mask, twice.mask)


@pytest.mark.parametrize("shape", [(40, 40, 1), (1, 40, 40), (2, 2, 2), (1, 1, 1)])
@pytest.mark.parametrize("name", METHODS)
def test_flat_and_tiny_volumes_are_segmented_without_complaint(name: str, shape: Voxel) -> None:
    away = np.indices(shape) - np.reshape([n // 2 for n in shape], (3, 1, 1, 1))
    volume = volume_of(((away**2).sum(0) < 64).astype(np.int16) * 100)
    session = session_of(name, volume)
    centre = tuple(n // 2 for n in shape)
    session.click(centre)
    session.propagate()
    assert session.mask[centre]
    if max(shape) == 40:
        assert dice(volume.array > 0, session.mask) > 0.8


# nnInteractive


class RecordedInference:
    """Says what it is asked, and marks a cube around every positive click."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings
        self.calls: list[tuple[Any, ...]] = []

    def initialize_from_trained_model_folder(self, folder: str) -> None:
        self.calls.append(("load", folder))

    def set_image(self, image: NDArray[np.float32]) -> None:
        self.image = image
        self.calls.append(("set_image", image.shape, str(image.dtype)))

    def set_target_buffer(self, target_buffer: NDArray[np.uint8]) -> None:
        self.target = target_buffer
        self.calls.append(("set_target_buffer", target_buffer.shape, str(target_buffer.dtype)))

    def reset_interactions(self) -> None:
        self.target.fill(0)
        self.calls.append(("reset_interactions",))

    def add_point_interaction(self, coordinates: Sequence[int], include_interaction: bool) -> None:
        i, j, k = coordinates
        self.target[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = include_interaction
        self.calls.append(("point", tuple(coordinates), include_interaction))


def test_nninteractive_is_told_the_volume_and_then_every_click_in_turn() -> None:
    inference = RecordedInference()
    session = NnInteractiveSession(inference, box_volume())
    session.click((12, 12, 8))
    session.click((9, 9, 8), positive=False)
    session.propagate()
    assert inference.calls == [
        ("set_image", (1, 24, 24, 16), "float32"),
        ("set_target_buffer", (24, 24, 16), "uint8"),
        ("reset_interactions",),
        ("point", (12, 12, 8), True),
        ("point", (9, 9, 8), False),
    ]


def test_nninteractive_answers_with_what_it_wrote_into_the_buffer() -> None:
    session = NnInteractiveSession(RecordedInference(), box_volume())
    session.click((12, 12, 8))
    session.propagate()
    assert session.mask.dtype == bool
    assert session.mask.sum() == 27
    assert session.axis == 2


def test_nninteractive_gets_intensities_as_they_are_and_the_grey_of_rgb() -> None:
    plain, coloured = RecordedInference(), RecordedInference()
    volume = box_volume()
    NnInteractiveSession(plain, volume)
    assert np.array_equal(plain.image[0], volume.array)
    NnInteractiveSession(coloured, volume_of(np.full((4, 4, 4, 3), (100, 0, 0), np.uint8)))
    np.testing.assert_allclose(coloured.image, 29.9, rtol=1e-6)


def test_nninteractive_refuses_clicks_outside_and_rounds_without_any() -> None:
    session = NnInteractiveSession(RecordedInference(), box_volume())
    with pytest.raises(PromptError, match="outside"):
        session.click((0, 0, -1))
    with pytest.raises(PromptError, match="click"):
        session.propagate()


def test_nninteractive_that_is_absent_is_named_with_its_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    monkeypatch.setitem(sys.modules, "nnInteractive.inference.inference_session", None)  # beside its client
    with pytest.raises(ConfigError, match=r"pip install nninteractive.*10 GB.*CC BY-NC-SA"):
        nninteractive_session(tmp_path, "cuda:0")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch and nnInteractive were there."""
    torch, package = types.ModuleType("torch"), types.ModuleType("inference_session")
    torch.device = lambda name: f"device {name}"  # type: ignore[attr-defined]
    package.nnInteractiveInferenceSession = RecordedInference  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    for parent in ("nnInteractive", "nnInteractive.inference"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, "nnInteractive.inference.inference_session", package)


@pytest.mark.usefixtures("installed")
def test_the_networks_of_nninteractive_are_loaded_once_for_all_sessions(tmp_path: Path) -> None:
    new_session = nninteractive_session(tmp_path, "cuda:1")
    first, second = (new_session(box_volume()) for _ in range(2))
    assert isinstance(first, NnInteractiveSession)
    assert isinstance(second, NnInteractiveSession)
    inference = first._inference
    assert inference is second._inference
    assert isinstance(inference, RecordedInference)
    assert inference.settings["device"] == "device cuda:1"
    assert inference.calls[0] == ("load", str(tmp_path))
    assert [call[0] for call in inference.calls].count("load") == 1


@pytest.mark.usefixtures("installed")
def test_weights_of_nninteractive_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        nninteractive_session(tmp_path / "nowhere")
