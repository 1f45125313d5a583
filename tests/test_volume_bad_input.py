"""Whatever the bytes: a volume or one line of text."""

from __future__ import annotations

import gzip
import io
import os
import random
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  # its users' own name for it
from PIL import Image

from limnet.errors import GeometryError, LimNetError, LimNetWarning, VolumeError
from limnet.volume import Volume, read_volume

ARRAY = np.random.default_rng(0).integers(0, 200, (6, 7, 8)).astype(np.int16)
NRRD = b"""NRRD0004
type: short
dimension: 3
space: left-posterior-superior
sizes: 2 2 2
space directions: (1,0,0) (0,2,0) (0,0,3)
endian: little
encoding: raw
space origin: (10,20,30)

""" + np.arange(8, dtype="<i2").tobytes()
MHA = b"""ObjectType = Image
NDims = 3
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 1 2 3
DimSize = 2 2 2
ElementType = MET_SHORT
ElementDataFile = LOCAL
""" + np.arange(8, dtype="<i2").tobytes()


def nifti(array: np.ndarray = ARRAY, **fields: Any) -> bytes:
    """A NIfTI file of 1 mm voxels with some header fields set after the fact."""
    image = nibabel.Nifti1Image(array, np.eye(4))
    content = bytearray(image.to_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    for field, value in fields.items():
        header[field] = value
    content[:348] = header.binaryblock
    return bytes(content)


def itk(name: str, folder: Path, *, packed: bool) -> bytes:
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(folder / name), packed)
    return (folder / name).read_bytes()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(ARRAY[:, :, 0].astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def dims(*sizes: int) -> list[int]:
    return [len(sizes), *sizes, *[1] * (7 - len(sizes))]


BAD_FILES = {
    "empty file": (b"", "empty file"),
    "text": (b"hello world", "not an image limnet can read"),
    "truncated gzip": (gzip.compress(nifti())[:400], "truncated|cut short"),
    "gzip cut inside the header": (gzip.compress(nifti())[:30], "cut short"),
    "gzip without its checksum": (gzip.compress(nifti())[:-8], "truncated"),
    "gzip with a wrong checksum": (gzip.compress(nifti())[:-8] + b"12345678", "damaged"),
    "gzip of junk": (b"\x1f\x8b" + b"junk" * 99, "cannot be read"),
    "nifti cut in its voxels": (nifti()[:700], "too few for the 672 bytes of voxels"),
    "nifti cut in its header": (nifti()[:300], "cut short inside its NIfTI header"),
    "nifti of several volumes": (nifti(np.stack([ARRAY, ARRAY], -1)), "split it first"),
    "nifti of zero size": (nifti(dim=dims(6, 0, 8)), "holds no voxel"),
    "nifti of negative size": (nifti(dim=dims(6, -7, 8)), "holds no voxel"),
    "nifti of one dimension": (nifti(dim=dims(336)), "must be one 2D or 3D volume"),
    "nifti of huge size": (nifti(dim=dims(32000, 32000, 32000)), "too few for the 65,536,000,000,000 bytes"),
    "gzip of huge size": (gzip.compress(nifti(dim=dims(32000, 32000, 32000))), "too few for the"),
    "all-equal volume": (nifti(np.full((3, 3, 3), 7, np.int16)), "every voxel is 7"),
    "all NaN": (nifti(np.full((3, 3, 3), np.nan, np.float32)), "every voxel is NaN or infinite"),
    "complex voxels": (nifti(ARRAY.astype(np.complex64)), "must be integers, floats or RGB"),
    "unknown data type": (nifti(datatype=77), "NIfTI data type 77 is unknown"),
    "no affine": (nifti(sform_code=0, qform_code=0), "no affine"),
    "singular affine": (nifti(srow_x=[0, 0, 0, 0]), "singular"),
    "NaN in the affine": (nifti(srow_x=[np.nan, 0, 0, 0]), "NaN"),
    "qform with negative edges": (
        nifti(sform_code=0, qform_code=1, pixdim=[1, -1, 1, 1, 1, 1, 1, 1]),
        "qform",
    ),
    "half of a pair": (nifti(magic=b"ni1"), "two-file NIfTI"),
    "wrong magic": (nifti(magic=b"abc"), "not NIfTI"),
    "voxels inside the header": (nifti(vox_offset=100), "start at byte 100"),
    "slope without intercept": (nifti(scl_slope=2, scl_inter=np.nan), "scl_inter"),
    "nrrd cut short": (NRRD[:-3], "too few for the 16 bytes"),
    "nrrd of zero size": (NRRD.replace(b"sizes: 2 2", b"sizes: 0 2"), "holds no voxel"),
    "nrrd of huge size": (NRRD.replace(b"sizes: 2 2", b"sizes: 99999999 99999999"), "too few"),
    "nrrd without directions": (NRRD.replace(b"space directions", b"spacings"), "no affine"),
    "nrrd with a singular affine": (NRRD.replace(b"(0,2,0)", b"(2,0,0)"), "singular"),
    "nrrd with words for numbers": (NRRD.replace(b"(0,2,0)", b"(0,b,0)"), "no vector of numbers"),
    "nrrd with a 2D and a 3D axis": (NRRD.replace(b"(0,2,0)", b"(0,2)"), "must be 2D or 3D vectors"),
    "nrrd without a type": (NRRD.replace(b"type", b"tipe"), "has no 'type'"),
    "nrrd of blocks": (NRRD.replace(b"short", b"block"), "NRRD type 'block'"),
    "nrrd without endian": (NRRD.replace(b"endian", b"indian"), "must be little or big"),
    "nrrd in bzip2": (NRRD.replace(b"raw", b"bzip2"), "encoding 'bzip2' is not read"),
    "nrrd of several volumes": (
        NRRD.replace(b"dimension: 3", b"dimension: 4")
        .replace(b"sizes: ", b"sizes: 5 ")
        .replace(b"directions: ", b"directions: none "),
        "split it first",
    ),
    "nrrd without its data file": (
        NRRD.replace(b"encoding", b"data file: gone.raw\nencoding"),
        "data file 'gone.raw' is missing",
    ),
    "nrrd in slices": (NRRD.replace(b"encoding", b"data file: LIST\nencoding"), "several files"),
    "mha cut short": (MHA[:-3], "too few for the 16 bytes"),
    "mha of huge size": (MHA.replace(b"DimSize = 2 2", b"DimSize = 99999999 99999999"), "too few"),
    "mha of zero size": (MHA.replace(b"DimSize = 2", b"DimSize = 0"), "holds no voxel"),
    "mha without spacing": (MHA.replace(b"ElementSpacing", b"Spacing"), "no affine"),
    "mha with a singular affine": (MHA.replace(b"1 0 0 0 1 0", b"1 0 0 1 0 0"), "singular"),
    "mha with words for numbers": (MHA.replace(b"1 2 3", b"1 b 3"), "must be 3 numbers"),
    "mha of several volumes": (
        MHA.replace(b"NDims = 3", b"NDims = 4").replace(b"DimSize = 2 2 2", b"DimSize = 2 2 2 3"),
        "split it first",
    ),
    "mha as text": (MHA.replace(b"NDims", b"BinaryData = False\nNDims"), "as text is not read"),
    "mha of junk packed": (MHA.replace(b"NDims", b"CompressedData = True\nNDims"), "damaged"),
    "mha without its data file": (MHA.replace(b"LOCAL", b"gone.raw"), "data file 'gone.raw' is missing"),
    "mha cut in its header": (MHA[:80], "no 'ElementDataFile'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(content)
    with pytest.raises(LimNetError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_affine_is_a_geometry_error(tmp_path: Path) -> None:
    (tmp_path / "ct.nii").write_bytes(nifti(sform_code=0, qform_code=0))
    with pytest.raises(GeometryError, match="set one"):
        read_volume(tmp_path / "ct.nii")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"gone\.nii: no such file or folder"):
        read_volume(tmp_path / "gone.nii")


@pytest.mark.parametrize("name", ["x" * 300, "zero\0byte"])
def test_a_path_that_cannot_be_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"cannot be read|no such file"):
        read_volume(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_an_error_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ct.nii")
    with pytest.raises(VolumeError, match="neither a file nor a folder"):
        read_volume(tmp_path / "ct.nii")


def mutated(content: bytes, seed: int, header: int) -> bytes:
    """A few bytes of the header changed, or the file cut, or a byte put in."""
    choice = random.Random(seed)
    changed = bytearray(content)
    for _ in range(choice.randint(1, 4)):
        position = choice.randrange(min(header, len(changed)))
        changed[position] = choice.choice((choice.randrange(256), choice.choice(b"0123456789-.e:=\n (),xN")))
    if seed % 7 == 0:
        del changed[choice.randrange(len(changed)) :]
    if seed % 11 == 0:
        changed.insert(choice.randrange(min(header, len(changed) + 1)), choice.randrange(256))
    return bytes(changed)


def sample(kind: str, folder: Path) -> bytes:
    """A small sound file of a kind."""
    if kind.startswith("nii"):
        return nifti()
    if kind.endswith(("nrrd", "mha")):
        return itk(f"sound.{kind.rsplit(maxsplit=1)[-1]}", folder, packed=kind.startswith("packed"))
    return picture(kind)


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        *[
            ("nii", 352),
            ("nii.gz", 352),
            ("nrrd", 400),
            ("packed nrrd", 400),
            ("mha", 500),
            ("packed mha", 500),
        ],
        *[("png", 80), ("tiff", 400), ("bmp", 80), ("jpeg", 700)],
    ],
)
def test_any_damage_ends_in_a_volume_or_one_line_and_little_memory(
    kind: str, header: int, tmp_path: Path
) -> None:
    sound, path = sample(kind, tmp_path), tmp_path / "mutated"
    path.write_bytes(sound)
    read_volume(path)  # libraries are loaded before memory is counted
    outcomes = {LimNetError: 0, Volume: 0}
    if kind != "bmp":  # tracing slows Pillow's loop over a BMP's palette two hundredfold
        tracemalloc.start()
    for seed in range(150):
        changed = mutated(sound, seed, header)
        path.write_bytes(gzip.compress(changed, 1) if kind == "nii.gz" else changed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LimNetWarning)
            try:
                outcomes[type(read_volume(path))] += 1
            except LimNetError as error:
                assert "\n" not in str(error)
                outcomes[LimNetError] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert min(outcomes.values()) > 0
    assert peak < 40e6
