"""DICOMweb with a real Orthanc: what it lists, series from it, results onto it and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom
import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless, generate_uid

import orthanc
from dicom_files import PATIENT, random_affine, save, write_series
from doubles import FakeLimNet
from limnet import read_volume, write_mask
from limnet.cli import main
from limnet.volume.dicom.segmentation import read_segmentation
from limnet.volume.dicomweb import Address, Connection, Server, find_series, list_series
from limnet.volume.exchange import read_structures

pytestmark = pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing() or "installed")

SHAPE = (24, 20, 9)


@dataclass(frozen=True)
class Pacs:
    """An Orthanc that holds one study: two CT series, of which one is compressed, and an MR series."""

    root: str
    folder: Path  # with the files as they were stored, a folder each
    study: str
    series: dict[str, str]  # UID by name

    def address(self, name: str) -> str:
        return f"{self.root}/studies/{self.study}/series/{self.series[name]}"


def voxels(seed: int) -> NDArray[np.int16]:
    """A bright ball in noise."""
    grid = np.indices(SHAPE) - np.array([12, 10, 4]).reshape(3, 1, 1, 1)
    noise = np.random.default_rng(seed).integers(-200, 200, SHAPE)
    return (noise + 900 * ((grid**2).sum(0) <= 16)).astype(np.int16)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of Orthanc, and no proxy."""
    monkeypatch.setenv("LIMNET_DICOMWEB_USER", orthanc.USER)
    monkeypatch.setenv("LIMNET_DICOMWEB_PASSWORD", orthanc.PASSWORD)
    monkeypatch.setenv("NO_PROXY", "localhost")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    folder = tmp_path_factory.mktemp("dicomweb")
    study, series = generate_uid(), {name: generate_uid() for name in ("oblique", "compressed", "MR")}
    rng = np.random.default_rng(3)
    for number, (name, uid) in enumerate(series.items(), start=1):
        paths = write_series(
            folder / name,
            voxels(number),
            random_affine(rng),
            modality="MR" if name == "MR" else "CT",
            study=study,
            series=uid,
            SeriesNumber=number,
            SeriesDescription=f"thorax of {PATIENT[0]}",
            SeriesDate="20240102",
        )
        if name == "compressed":
            for path in paths:
                header = dcmread(path)
                header.compress(JPEGLSLossless, generate_instance_uid=False)
                save(header, path, JPEGLSLossless)
    with orthanc.orthanc(folder / "orthanc") as root, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNET_DICOMWEB_USER", orthanc.USER)
        patch.setenv("LIMNET_DICOMWEB_PASSWORD", orthanc.PASSWORD)
        patch.setenv("NO_PROXY", "localhost")
        files = [str(path) for name in series for path in sorted((folder / name).iterdir())]
        assert main(["dicomweb", "store", root, *files]) == 0
        yield Pacs(root, folder, study, series)


def judge(pacs: Pacs) -> DICOMwebClient:
    """The client of others."""
    session = create_session_from_user_pass(orthanc.USER, orthanc.PASSWORD)
    return DICOMwebClient(pacs.root, session=session)


def test_a_series_from_the_server_is_that_of_the_folder_voxel_by_voxel(pacs: Pacs, tmp_path: Path) -> None:
    for name in pacs.series:
        assert main(["dicomweb", "get", pacs.address(name), "-o", str(tmp_path / name)]) == 0
        here, there = read_volume(pacs.folder / name), read_volume(tmp_path / name)
        np.testing.assert_array_equal(here.array, there.array)
        np.testing.assert_array_equal(here.affine, there.affine)
        assert here.frame_of_reference == there.frame_of_reference


def test_a_compressed_series_comes_as_it_is_stored(pacs: Pacs, tmp_path: Path) -> None:
    main(["dicomweb", "get", pacs.address("compressed"), "-o", str(tmp_path / "scan")])
    syntaxes = {dcmread(path).file_meta.TransferSyntaxUID for path in (tmp_path / "scan").iterdir()}
    assert syntaxes == {JPEGLSLossless}


def test_another_client_reads_what_we_stored(pacs: Pacs) -> None:
    found = judge(pacs).retrieve_series(pacs.study, pacs.series["oblique"])
    found.sort(key=lambda header: int(header.InstanceNumber))
    array = np.stack([header.pixel_array.T for header in found], axis=2)
    np.testing.assert_array_equal(array, voxels(1))


def test_the_list_shows_each_series_with_its_address_and_nobodys_name(
    pacs: Pacs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dicomweb", "list", pacs.root]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[-1]: line.split()[:-1] for line in out.splitlines()[1:]}
    assert rows[pacs.address("oblique")] == ["CT", "1", str(SHAPE[2])]
    assert rows[pacs.address("MR")] == ["MR", "3", str(SHAPE[2])]
    assert not any(word in out for word in (*PATIENT, "thorax", "20240102"))


def test_the_list_describes_series_when_asked(pacs: Pacs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dicomweb", "list", pacs.root, "--modality", "mr", "--describe"]) == 0
    assert "20240102  thorax of SURNAME^GIVEN" in capsys.readouterr().out


def test_the_list_can_be_narrowed(pacs: Pacs) -> None:
    with Server(Address.of(pacs.root), Connection.of()) as server:
        assert len(list_series(server, modality="MR", study=pacs.study).series) == 1
        assert len(list_series(server, patient=PATIENT[1], modality="CT").series) == 2
        assert len(list_series(server, patient="PATIENT-47*", modality="CT").series) == 2
        assert not list_series(server, patient="SOMEBODY-ELSE").series
        cut = list_series(server, study=pacs.study, limit=2)
        assert (len(cut.series), cut.is_cut) == (2, True)


def test_a_series_is_found_by_its_uid_alone(pacs: Pacs) -> None:
    with Server(Address.of(pacs.root), Connection.of()) as server:
        found = find_series(server, f"{pacs.series['MR']}/2")
    assert str(found.address) == pacs.address("MR")
    assert found.count == SHAPE[2]


@pytest.mark.parametrize("by_uid", [False, True])
def test_info_tells_of_a_series_on_the_server(
    by_uid: bool, pacs: Pacs, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = pacs.series["oblique"]
    words = [pacs.root, "--series", uid] if by_uid else [pacs.address("oblique")]
    assert main(["info", *words]) == 0
    out = capsys.readouterr().out
    assert "24 x 20 x 9 voxels" in out
    kept = Path(out.split()[1])
    assert kept.name == uid
    assert not kept.exists()


def test_round_trip_of_results(
    pacs: Pacs, tmp_path: Path, fake_networks: FakeLimNet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Segment, export both kinds, store, fetch again: the same mask, tied to its scan."""
    address = pacs.address("oblique")
    mask = tmp_path / "mask.nii.gz"
    assert main(["segment", address, "-o", str(mask), "--click", "12,10,4"]) == 0
    scan = read_volume(pacs.folder / "oblique")
    expected = np.asarray(read_structures(mask, scan)[0].mask)
    assert expected.any()
    results = [tmp_path / "seg.dcm", tmp_path / "rtstruct.dcm"]
    for path in results:
        words = ["export", address, "--mask", str(mask), "-o", str(path), "--anatomy", "liver"]
        assert main([*words, *(["--kind", "rtstruct"] if path.stem == "rtstruct" else [])]) == 0
    capsys.readouterr()
    assert main(["dicomweb", "store", pacs.root, *map(str, results)]) == 0
    assert capsys.readouterr().out.count("stored  ") == 2
    sources = {dcmread(path).SOPInstanceUID for path in (pacs.folder / "oblique").iterdir()}
    for path in results:
        sent = dcmread(path)
        back = tmp_path / f"back-{path.stem}"
        words = ["--series", sent.SeriesInstanceUID, "-o", str(back)]
        assert main(["dicomweb", "get", pacs.root, *words]) == 0
        (file,) = back.iterdir()
        (structure,) = read_structures(file, scan)
        np.testing.assert_array_equal(structure.mask, expected)
        (theirs,) = judge(pacs).retrieve_series(pacs.study, sent.SeriesInstanceUID)
        assert theirs == sent
        assert any(uid in str(theirs) for uid in sources)
    seen_by_highdicom(tmp_path / "back-seg" / "000001.dcm", expected, scan.affine, sources)


def seen_by_highdicom(
    path: Path, expected: NDArray[np.bool_], affine: NDArray[np.float64], sources: set[str]
) -> None:
    """The same voxels at the same millimetres, and every slice drawn refers to one of the scan."""
    seg = highdicom.seg.segread(path)
    found = seg.get_volume(combine_segments=False, segment_numbers=[1])
    drawn = np.argwhere(np.squeeze(found.array, -1))
    mm = drawn @ found.affine[:3, :3].T + found.affine[:3, 3]
    wanted = np.argwhere(expected) @ affine[:3, :3].T + affine[:3, 3]
    lps = wanted * (-1, -1, 1)
    assert len(drawn) == len(wanted)
    np.testing.assert_allclose(mm.mean(0), lps.mean(0), atol=1e-3)
    nearest = np.abs(mm[:, None] - lps[None]).sum(2).min(1)
    assert nearest.max() < 1e-3
    assert {uid for _, _, uid in seg.get_source_image_uids()} == sources


def test_objects_of_the_server_can_start_a_segmentation(
    pacs: Pacs, tmp_path: Path, fake_networks: FakeLimNet
) -> None:
    scan = read_volume(pacs.folder / "MR")
    mask = np.zeros(SHAPE, np.uint8)
    mask[8:15, 7:12, 3:6] = 1
    write_mask(tmp_path / "mask.nii.gz", mask, scan)
    seg = tmp_path / "seg.dcm"
    assert main(["export", pacs.address("MR"), "--mask", str(tmp_path / "mask.nii.gz"), "-o", str(seg)]) == 0
    assert main(["dicomweb", "store", pacs.root, str(seg)]) == 0
    uid = dcmread(seg).SeriesInstanceUID
    assert main(["dicomweb", "get", pacs.root, "--series", uid, "-o", str(tmp_path / "start")]) == 0
    (structure,) = read_segmentation(tmp_path / "start" / "000001.dcm", scan)
    np.testing.assert_array_equal(structure.mask, mask != 0)


def test_a_series_that_is_no_image_is_refused_as_a_volume(
    pacs: Pacs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = read_volume(pacs.folder / "MR")
    write_mask(tmp_path / "mask.nii.gz", (scan.array > 500).astype(np.uint8), scan)
    words = ["--mask", str(tmp_path / "mask.nii.gz"), "-o", str(tmp_path / "rt.dcm"), "--kind", "rtstruct"]
    assert main(["export", str(pacs.folder / "MR"), *words]) == 0
    assert main(["dicomweb", "store", pacs.root, str(tmp_path / "rt.dcm")]) == 0
    uid = dcmread(tmp_path / "rt.dcm").SeriesInstanceUID
    capsys.readouterr()
    assert main(["info", pacs.root, "--series", uid]) == 2
    error = capsys.readouterr().err
    assert "no DICOM images (there is RT Structure Set Storage)" in error
    assert f"{pacs.root}/studies/" in error
    assert error.count("\n") == 1


def test_what_does_not_exist_is_said_in_one_line(
    pacs: Pacs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dicomweb", "get", pacs.root, "--series", "1.2.3", "-o", str(tmp_path / "scan")]) == 2
    assert "no series 1.2.3" in capsys.readouterr().err
    assert main(["dicomweb", "list", pacs.root.replace("dicom-web", "elsewhere")]) == 2
    assert "404, it has no studies there; check the UIDs and the root" in capsys.readouterr().err
    assert main(["dicomweb", "list", pacs.root.removesuffix("/dicom-web")]) == 2
    assert "400, it does not take that; is this the root of its DICOMweb services" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_orthanc_refuses_the_wrong_user(
    pacs: Pacs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMNET_DICOMWEB_PASSWORD", "wrong-word")
    assert main(["dicomweb", "list", pacs.root]) == 2
    error = capsys.readouterr().err
    assert "401, it does not know you" in error
    assert "wrong-word" not in error


def test_netrc_names_the_user(pacs: Pacs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text(f"machine localhost login {orthanc.USER} password {orthanc.PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.delenv("LIMNET_DICOMWEB_USER")
    monkeypatch.delenv("LIMNET_DICOMWEB_PASSWORD")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert main(["dicomweb", "list", pacs.root]) == 2
    monkeypatch.setenv("NETRC", str(file))
    assert main(["dicomweb", "list", pacs.root]) == 0
