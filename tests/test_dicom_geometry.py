"""Geometry: a place in millimetres stays that place through every format, by the word of other readers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from dicom_files import random_affine, write_series
from geometry_judges import FORMATS, all_turns, body, centroid, judges_of, scene, turned
from limnet.cli.rounds import click_at_mm
from limnet.errors import GeometryError, LimNetWarning
from limnet.volume import Volume, read_mask, read_volume
from limnet.volume.dicom.source import read_source
from limnet.volume.exchange import Kind, read_structures, write_structures
from limnet.volume.structure import Structure

MICROMETRE = 1e-3  # in mm


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("seed", [1, 2])
def test_independent_readers_find_an_exported_mask_on_the_same_millimetre(
    name: str, seed: int, tmp_path: Path
) -> None:
    volume, structure = scene(tmp_path / "scan", seed)
    file, kind = FORMATS[name]
    write_structures(tmp_path / file, [structure], volume, kind=kind, source=read_source(tmp_path / "scan"))
    judges = judges_of(name, tmp_path / "scan")
    if not judges:
        pytest.skip("plastimatch has no wheel for this machine")
    for find in judges.values():
        distance = np.linalg.norm(find(tmp_path / file) - centroid(structure.mask, volume.affine))
        assert distance < MICROMETRE


@pytest.mark.parametrize("name", FORMATS)
def test_a_mask_read_back_under_all_48_index_orders_is_the_same_voxels(name: str, tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 3)
    file, kind = FORMATS[name]
    write_structures(tmp_path / file, [structure], volume, kind=kind, source=read_source(tmp_path / "scan"))
    masked = volume.with_array(structure.mask.astype(np.uint8))
    for order, flips in all_turns():
        (back,) = read_structures(tmp_path / file, turned(volume, order, flips))
        np.testing.assert_array_equal(back.mask, turned(masked, order, flips).array)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_mask_of_any_of_48_index_orders_lands_on_the_series(ending: str, tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 4)
    masked = volume.with_array(structure.mask.astype(np.uint8))
    for n, (order, flips) in enumerate(all_turns()):
        like = turned(masked, order, flips)
        path = tmp_path / f"{n}{ending}"
        write_structures(path, [Structure.of("body", like.array)], like)
        (back,) = read_structures(path, volume)
        np.testing.assert_array_equal(back.mask, structure.mask)


def test_a_click_in_millimetres_hits_its_voxel_in_series_of_all_48_index_orders(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    base = Volume(rng.permutation(4 * 5 * 3).reshape(4, 5, 3).astype(np.int16), random_affine(rng))
    wanted = base.array[1, 3, 2]
    x, y, z, _ = base.affine @ (1, 3, 2, 1)
    for n, (order, flips) in enumerate(all_turns()):
        like = turned(base, order, flips)
        write_series(tmp_path / str(n), like.array, like.affine)
        volume = read_volume(tmp_path / str(n))
        assert volume.array[click_at_mm(f"{x},{y},{z}", volume, is_lps=False).index] == wanted
        assert volume.array[click_at_mm(f"{-x},{-y},{z}", volume, is_lps=True).index] == wanted


def test_a_sheared_series_keeps_its_masks_exactly(tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 7, tilt=True)
    source = read_source(tmp_path / "scan")
    for name in FORMATS.keys() - {"MetaImage"}:  # whose matrix is a rotation by definition
        file, kind = FORMATS[name]
        write_structures(tmp_path / file, [structure], volume, kind=kind, source=source)
        (back,) = read_structures(tmp_path / file, volume)
        np.testing.assert_array_equal(back.mask, structure.mask)


def test_a_cropped_mask_is_put_where_it_belongs(tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 8)
    whole = SimpleITK.GetImageFromArray(structure.mask.astype(np.uint8).transpose(2, 1, 0))
    lps = np.diag([-1.0, -1.0, 1.0]) @ volume.affine[:3]
    whole.SetSpacing(volume.spacing)
    whole.SetOrigin(lps[:, 3].tolist())
    whole.SetDirection((lps[:, :3] / np.array(volume.spacing)).ravel().tolist())
    SimpleITK.WriteImage(whole[1:17, 1:12, 0:10], str(tmp_path / "part.nrrd"))
    (back,) = read_structures(tmp_path / "part.nrrd", volume)
    np.testing.assert_array_equal(back.mask, structure.mask)


def test_a_mask_half_a_voxel_away_is_refused(tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 9)
    moved = volume.affine.copy()
    moved[:3, 3] += 0.5 * volume.affine[:3, 0]
    write_structures(tmp_path / "m.nii.gz", [structure], Volume(volume.array, moved))
    with pytest.raises(GeometryError, match="lie between those of"):
        read_structures(tmp_path / "m.nii.gz", volume)


def test_a_segmentation_of_another_scan_is_refused_though_its_grid_is_the_same(tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 10)
    write_series(tmp_path / "other", np.asarray(volume.array), volume.affine)
    other, source = read_volume(tmp_path / "other"), read_source(tmp_path / "scan")
    kinds: list[Kind] = ["seg", "rtstruct"]
    for kind in kinds:
        write_structures(tmp_path / "out.dcm", [structure], volume, kind=kind, source=source)
        with pytest.raises(GeometryError, match="made for another scan"):
            read_structures(tmp_path / "out.dcm", other)


def test_a_nifti_of_a_series_with_gaps_puts_every_slice_in_its_place(tmp_path: Path) -> None:
    volume, _ = scene(tmp_path / "scan", 11)
    (tmp_path / "scan" / "IM0004").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LimNetWarning)
        gappy = read_volume(tmp_path / "scan", allow_gaps=True)
    np.testing.assert_allclose(gappy.affine, volume.affine, atol=1e-9)
    structure = Structure.of("body", body())
    write_structures(tmp_path / "m.nii.gz", [structure], gappy)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.nii.gz", like=volume) != 0, body())
