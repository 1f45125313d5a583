"""Damaged and hostile DICOM: a one-line error or a volume, in bounded time and memory, nothing else."""

from __future__ import annotations

import gzip
import resource
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from dicom_files import PATIENT, header_of, put_pixels, save, write_series
from limnet.cli import main
from limnet.errors import LimNetError, LimNetWarning
from limnet.volume import Volume, read_volume
from limnet.volume.dicom.source import read_source
from limnet.volume.exchange import Kind, read_structures, write_structures
from limnet.volume.structure import Structure

Mutator = Callable[[bytearray, np.random.Generator], None]

PER_PAIR = 8  # mutated files per base and mutator
MOST_SECONDS = 5.0  # of processor time for any one file
MOST_MEMORY = 600 << 20  # bytes by which all of them together may raise the peak
BASES = (
    *("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"),
    *(
        "image_dfl.dcm",
        "rtdose.dcm",
        "SC_rgb_rle_2frame.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "MR_small_bigendian.dcm",
    ),
)
TAGS = {  # little endian, group 28: what decides how much is read
    "rows": b"\x28\0\x10\0",
    "columns": b"\x28\0\x11\0",
    "bits": b"\x28\0\0\1",
    "frames": b"\x28\0\x08\0",
    "samples": b"\x28\0\x02\0",
    "pixels": b"\xe0\x7f\x10\0",
}


def cut(data: bytearray, rng: np.random.Generator) -> None:
    """The file ends too early."""
    del data[int(rng.integers(1, len(data))) :]


def scatter(data: bytearray, rng: np.random.Generator) -> None:
    """Some bytes of the header are others."""
    for at in rng.integers(128, min(len(data), 2500), 12):
        data[at] = rng.integers(256)


def mistype(data: bytearray, rng: np.random.Generator) -> None:
    """Elements claim other value representations."""
    places = [at for at in range(132, min(len(data), 3000) - 6) if data[at + 4 : at + 6].isalpha()]
    for at in rng.choice(places, min(5, len(places)), replace=False) if places else ():
        data[at + 4 : at + 6] = rng.choice([b"SQ", b"OB", b"UN", b"DS", b"IS", b"FD", b"AT", b"UI", b"US"])


def inflate(data: bytearray, rng: np.random.Generator) -> None:
    """The header promises far more pixels, or stranger ones, than there are."""
    for name in rng.choice(list(TAGS), 2, replace=False):
        at = data.find(TAGS[name], 132)
        if at >= 0:
            data[at + 8 : at + 10] = struct.pack("<H", int(rng.choice([0, 1, 7, 255, 65535])))


def lengthen(data: bytearray, rng: np.random.Generator) -> None:
    """Elements claim to be as long as a length can say."""
    for _ in range(3):
        at = int(rng.integers(132, min(len(data), 3000) - 8))
        data[at + 4 : at + 8] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"UN\0\0"])


def nest(data: bytearray, rng: np.random.Generator) -> None:
    """Sequences in sequences in sequences, or one of a thousand items, before everything else."""
    start = 144 + int.from_bytes(data[140:144], "little") if data[128:132] == b"DICM" else 0
    opening = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    item = b"\xfe\xff\0\xe0\0\0\0\0"
    deep = rng.random() < 0.5
    data[start:start] = opening * int(rng.integers(200, 3000)) if deep else opening[:12] + item * 1000


def swap(data: bytearray, rng: np.random.Generator) -> None:
    """Another transfer syntax is named than the file is in."""
    at = data.find(b"1.2.840.10008.1.2", 132)
    if at >= 0:
        syntaxes = [b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5\0\0\0", b"1.2.840.10008.1.2.1.99"]
        syntaxes += [b"1.2.840.10008.1.2.4.102", b"1.2.840.10008.1.2\0\0\0\0\0"]
        new = rng.choice(syntaxes)
        data[at : at + len(new)] = new


MUTATORS: tuple[Mutator, ...] = (cut, scatter, mistype, inflate, lengthen, nest, swap)


def peak_memory() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def outcome(read: Callable[[], object]) -> str:
    """The error's message, or "" when there was none; any other exception fails the test."""
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", LimNetWarning)
            read()
        message = ""
    except LimNetError as error:
        message = str(error)
        assert message
        assert error.__cause__ is None  # no traceback of a library behind it
    assert time.process_time() - started < MOST_SECONDS
    assert "\n" not in message
    return message


def test_hundreds_of_mutated_images_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    rng, before = np.random.default_rng(2024), peak_memory()
    path, count, refused = tmp_path / "mutated", 0, 0
    for base in BASES:
        original = Path(get_testdata_file(base)).read_bytes()
        for mutate in MUTATORS:
            for _ in range(PER_PAIR):
                data = bytearray(original)
                mutate(data, rng)
                path.write_bytes(data)
                refused += bool(outcome(lambda: read_volume(path)))
                count += 1
    assert count >= 500
    assert refused > count // 3  # the mutations do hit
    assert peak_memory() - before < MOST_MEMORY
    assert [p.name for p in tmp_path.iterdir()] == ["mutated"]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Volume]:
    folder = tmp_path_factory.mktemp("dicom") / "scan"
    voxels = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
    write_series(folder, voxels, np.diag([-1.0, -1.0, 2.0, 1.0]))
    return folder, read_volume(folder)


@pytest.mark.parametrize("kind", ["seg", "labelmap-seg", "rtstruct"])
def test_mutated_segmentations_are_read_or_refused_in_one_line(
    kind: Kind, scan: tuple[Path, Volume], tmp_path: Path
) -> None:
    folder, volume = scan
    rng, before = np.random.default_rng(7), peak_memory()
    mask = np.zeros(volume.shape, bool)
    mask[2:9, 3:8, 1:5] = True
    write_structures(
        tmp_path / "s.dcm", [Structure.of("thing", mask)], volume, kind=kind, source=read_source(folder)
    )
    original = (tmp_path / "s.dcm").read_bytes()
    for mutate in (cut, scatter, mistype, inflate, lengthen, nest):
        for _ in range(4):
            data = bytearray(original)
            mutate(data, rng)
            (tmp_path / "m.dcm").write_bytes(data)
            said = outcome(lambda: read_structures(tmp_path / "m.dcm", volume))
            assert not any(secret in said for secret in PATIENT)
    assert peak_memory() - before < MOST_MEMORY


def test_a_deflate_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    original = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    body = 144 + int.from_bytes(original[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"\xe0\x7f\x10\0OB\0\0\0\0\0\x30" + b"\0" * (1 << 20)
    bomb = b"".join([*(packer.compress(zeros) for _ in range(300)), packer.flush()])
    (tmp_path / "bomb.dcm").write_bytes(original[:body] + bomb)
    before = peak_memory()
    assert len(bomb) < 1 << 20
    assert "unpacks to more than 128 MiB" in outcome(lambda: read_volume(tmp_path / "bomb.dcm"))
    assert peak_memory() - before < MOST_MEMORY


@pytest.mark.parametrize("syntax", ["native", "rle"])
def test_a_header_of_65535_by_65535_pixels_is_refused_before_anything_is_allocated(
    tmp_path: Path, syntax: str
) -> None:
    header = dcmread(get_testdata_file("MR_small.dcm" if syntax == "native" else "MR_small_RLE.dcm"))
    header.Rows = header.Columns = 65535
    header.save_as(tmp_path / "huge.dcm")
    said = outcome(lambda: read_volume(tmp_path / "huge.dcm"))
    assert "are too few for the 8,589,672,450 bytes of pixels its header promises" in said


def test_a_codestream_larger_than_its_header_says_never_reaches_a_decoder(tmp_path: Path) -> None:
    data = bytearray(Path(get_testdata_file("MR_small_jp2klossless.dcm")).read_bytes())
    at = data.index(b"\xff\x4f\xff\x51")
    data[at + 8 : at + 16] = struct.pack(">II", 65000, 65000)
    (tmp_path / "bomb.dcm").write_bytes(data)
    said = outcome(lambda: read_volume(tmp_path / "bomb.dcm"))
    assert "compressed frame 1 is 65000 x 65000 x 1, where its header says 64 x 64 x 1" in said


def test_a_jpeg_frame_larger_than_its_header_says_never_reaches_a_decoder(tmp_path: Path) -> None:
    data = bytearray(Path(get_testdata_file("SC_rgb_jpeg_lossy_gdcm.dcm")).read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    (tmp_path / "bomb.dcm").write_bytes(data)
    said = outcome(lambda: read_volume(tmp_path / "bomb.dcm"))
    assert "compressed frame 1 is 65000 x 65000 x 3" in said


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", struct.pack("<I", 8 << 20)])
def test_a_million_empty_items_are_refused_in_time(tmp_path: Path, length: bytes) -> None:
    original = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    start = 144 + int.from_bytes(original[140:144], "little")
    frames = b"\x00\x52\x30\x92SQ\0\0" + length + b"\xfe\xff\0\xe0\0\0\0\0" * (1 << 20)
    (tmp_path / "items.dcm").write_bytes(original[:start] + frames + original[start:])
    assert "absurdly large" in outcome(lambda: read_volume(tmp_path / "items.dcm"))


def test_a_million_frames_are_refused(tmp_path: Path) -> None:
    header = header_of("US", study=generate_uid(), series=generate_uid())
    put_pixels(header, np.ones((1, 4, 4), np.uint8))
    header.NumberOfFrames = 2_000_000_000
    save(header, tmp_path / "frames.dcm")
    assert "claims 2,000,000,000 frames" in outcome(lambda: read_volume(tmp_path / "frames.dcm"))


def test_slices_a_kilometre_apart_do_not_fill_the_memory(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1.0, 0.001, 1.0])
    paths = write_series(tmp_path, np.arange(24, dtype=np.int16).reshape(2, 3, 4), affine)
    header = dcmread(paths[3])
    header.ImagePositionPatient = [0, 0, 10_000]
    save(header, paths[3])
    assert "filled" not in outcome(lambda: read_volume(tmp_path, allow_gaps=True))
    assert outcome(lambda: read_volume(tmp_path, allow_gaps=True))


def test_a_damaged_slice_in_a_good_series_is_named_and_not_left_out(
    scan: tuple[Path, Volume], tmp_path: Path
) -> None:
    for path in scan[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "IM0003").write_bytes((tmp_path / "IM0003").read_bytes()[:-50])
    assert "IM0003" in outcome(lambda: read_volume(tmp_path))


def test_positions_that_are_no_numbers_are_refused(scan: tuple[Path, Volume], tmp_path: Path) -> None:
    for path in scan[0].iterdir():
        data = path.read_bytes()
        at = data.index(b"\x20\0\x32\0DS") + 8
        (tmp_path / path.name).write_bytes(data[:at] + b"nan" + data[at + 3 :])
    assert outcome(lambda: read_volume(tmp_path))


def test_a_structure_set_of_absurd_points_is_refused(scan: tuple[Path, Volume], tmp_path: Path) -> None:
    folder, volume = scan
    mask = np.zeros(volume.shape, bool)
    mask[2:9, 3:8, 1:5] = True
    source = read_source(folder)
    write_structures(tmp_path / "s.dcm", [Structure.of("a", mask)], volume, kind="rtstruct", source=source)
    header = dcmread(tmp_path / "s.dcm")
    contour: Dataset = header.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [*contour.ContourData[:-1], "1E+12"]
    header.save_as(tmp_path / "s.dcm")
    assert "no triples of numbers" in outcome(lambda: read_structures(tmp_path / "s.dcm", volume))


def test_the_command_line_says_it_in_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.dcm").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes()[:3000])
    words = ["segment", str(tmp_path / "bad.dcm"), "-o", str(tmp_path / "m.nii.gz"), "--click", "1,1,0"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("limnet: error: ")
    assert said.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.dcm"]


def test_compressed_data_in_a_file_that_says_it_is_plain_is_refused(tmp_path: Path) -> None:
    header = dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    assert header.file_meta.TransferSyntaxUID == JPEG2000Lossless
    data = Path(get_testdata_file("MR_small_jp2klossless.dcm")).read_bytes()
    (tmp_path / "x.dcm").write_bytes(data.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.1\0\0\0", 1))
    assert "too few for the 8,192 bytes" in outcome(lambda: read_volume(tmp_path / "x.dcm"))


def test_dicom_behind_gzip_is_told_to_be_unpacked(tmp_path: Path) -> None:
    content = bytearray(Path(get_testdata_file("MR_small.dcm")).read_bytes())
    content[:4] = b"II*\0"  # a preamble may look like a TIFF
    (tmp_path / "slice.dcm.gz").write_bytes(gzip.compress(bytes(content)))
    assert "unpack it first" in outcome(lambda: read_volume(tmp_path / "slice.dcm.gz"))


@pytest.mark.parametrize(("regions", "words"), [(3000, "3,000 regions"), (300, "more than 100 times")])
def test_a_structure_set_that_fills_the_volume_over_and_over_is_refused(
    regions: int, words: str, scan: tuple[Path, Volume], tmp_path: Path
) -> None:
    folder, volume = scan
    structure = Structure.of("everything", np.ones(volume.shape, bool))
    write_structures(tmp_path / "s.dcm", [structure], volume, kind="rtstruct", source=read_source(folder))
    header = dcmread(tmp_path / "s.dcm")
    header.ROIContourSequence = list(header.ROIContourSequence) * regions
    header.save_as(tmp_path / "s.dcm")
    assert words in outcome(lambda: read_structures(tmp_path / "s.dcm", volume))


def test_a_label_map_of_very_many_labels_is_read_in_time(tmp_path: Path) -> None:
    side, labels = 256, np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)
    write_series(tmp_path / "big", labels[:, :, None].astype(np.int16), np.diag([-1.0, -1.0, 2.0, 1.0]))
    like = read_volume(tmp_path / "big")
    header = dcmread(tmp_path / "big" / "IM0000")
    header.SOPClassUID, header.Modality = "1.2.840.10008.5.1.4.1.1.66.7", "SEG"
    header.PixelRepresentation, header.PixelData = 0, labels.T.tobytes()
    save(header, tmp_path / "labels.dcm")
    started = time.process_time()
    assert len(read_structures(tmp_path / "labels.dcm", like)) == side * side - 1
    assert time.process_time() - started < MOST_SECONDS
