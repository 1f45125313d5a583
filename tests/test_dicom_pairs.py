"""Every pair of formats, every order of indices: what one file says and another repeats is the same place."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from dicom_files import random_affine, write_series
from geometry_judges import FORMATS, TO_RAS, all_turns, scene, turned
from limnet.cli.rounds import click_at_mm
from limnet.volume import Volume, read_volume
from limnet.volume.dicom.source import read_source
from limnet.volume.exchange import read_structures, write_structures


def test_a_mask_goes_through_every_pair_of_formats_unchanged(tmp_path: Path) -> None:
    volume, structure = scene(tmp_path / "scan", 21)
    source = read_source(tmp_path / "scan")
    for one, other in product(FORMATS.values(), repeat=2):
        structures = (structure,)
        for n, (file, kind) in enumerate((one, other)):
            path = tmp_path / f"{n}{file}"
            write_structures(path, structures, volume, kind=kind, source=source)
            structures = read_structures(path, volume)  # type: ignore[assignment]  # of one structure
        np.testing.assert_array_equal(structures[0].mask, structure.mask)
        assert structures[0].name == structure.name


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name][0].endswith(".dcm")])
def test_results_of_a_series_of_any_of_48_index_orders_land_on_the_same_voxels(
    name: str, tmp_path: Path
) -> None:
    base, structure = scene(tmp_path / "base", 22)
    frame, (file, kind) = base.frame_of_reference, FORMATS[name]
    masked = base.with_array(structure.mask.astype(np.uint8))
    for n, (order, flips) in enumerate(all_turns()):
        like = turned(base, order, flips)
        folder = tmp_path / str(n)
        write_series(folder, np.asarray(like.array), like.affine, frame_of_reference=frame)
        volume = read_volume(folder)
        write_structures(tmp_path / "m.nii", [structure], masked)
        own = read_structures(tmp_path / "m.nii", volume)
        write_structures(tmp_path / file, own, volume, kind=kind, source=read_source(folder))
        (back,) = read_structures(tmp_path / file, base)
        np.testing.assert_array_equal(back.mask, structure.mask)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_click_in_millimetres_hits_its_voxel_in_files_of_itk_of_all_48_index_orders(
    ending: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(23)
    base = Volume(rng.permutation(4 * 5 * 3).reshape(4, 5, 3).astype(np.int16), random_affine(rng))
    wanted = base.array[1, 3, 2]
    x, y, z, _ = base.affine @ (1, 3, 2, 1)
    for order, flips in all_turns():
        like = turned(base, order, flips)
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(like.array.transpose(2, 1, 0)))
        lps = np.diag(TO_RAS) @ like.affine[:3]
        image.SetSpacing(like.spacing)
        image.SetOrigin(lps[:, 3].tolist())
        image.SetDirection((lps[:, :3] / np.array(like.spacing)).ravel().tolist())
        SimpleITK.WriteImage(image, str(tmp_path / f"scan{ending}"))
        volume = read_volume(tmp_path / f"scan{ending}")
        assert volume.array[click_at_mm(f"{x},{y},{z}", volume, is_lps=False).index] == wanted
        assert volume.array[click_at_mm(f"{-x},{-y},{z}", volume, is_lps=True).index] == wanted
