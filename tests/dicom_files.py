"""Real DICOM series for tests, written by pydicom: any grid, any modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

from limnet.volume.geometry import spacing_of, swap_lps

PATIENT = ("SURNAME^GIVEN", "PATIENT-4711", "19500102")  # must never be seen in any output
KINDS = {"CT": CTImageStorage, "MR": MRImageStorage, "US": UltrasoundMultiFrameImageStorage}


def header_of(modality: str, *, study: str, series: str, patient: str = PATIENT[1]) -> Dataset:
    """What every file of a series says of itself."""
    header = Dataset()
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT[0], patient, PATIENT[2]
    header.PatientSex = "O"
    header.StudyInstanceUID, header.SeriesInstanceUID = study, series
    header.StudyDate, header.StudyTime, header.StudyID = "20240102", "101112", "7"
    header.AccessionNumber = header.ReferringPhysicianName = ""
    header.SOPClassUID, header.SOPInstanceUID = KINDS[modality], generate_uid()
    header.Modality, header.SeriesNumber = modality, 3
    header.Manufacturer = "test"
    return header


def save(header: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> None:
    """Write one file with its meta header."""
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def put_pixels(header: Dataset, pixels: NDArray[Any]) -> None:
    """Stored pixels, (rows, columns) or (frames, rows, columns), with 3 more for colours."""
    is_rgb = pixels.shape[-1] == 3 and pixels.dtype == np.uint8 and pixels.ndim > 2
    space = pixels.shape[:-1] if is_rgb else pixels.shape
    header.SamplesPerPixel = 3 if is_rgb else 1
    header.PhotometricInterpretation = "RGB" if is_rgb else "MONOCHROME2"
    if is_rgb:
        header.PlanarConfiguration = 0
    if len(space) == 3:
        header.NumberOfFrames = space[0]
    header.Rows, header.Columns = space[-2:]
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()


def write_series(
    folder: Path,
    array: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    modality: str = "MR",
    series: str | None = None,
    study: str | None = None,
    frame_of_reference: str | None = None,
    **values: Any,
) -> list[Path]:
    """One file per slice k of `array` (I, J, K), int16 or uint8, whose voxels lie where `affine` (RAS+) says.

    The first two columns of `affine` must be perpendicular, as DICOM demands of an image. `values` go into
    every header as they are.
    """
    lps, (i_mm, j_mm, k_mm) = swap_lps(affine), spacing_of(affine)
    series, study = series or generate_uid(), study or generate_uid()
    frame_of_reference = frame_of_reference or generate_uid()
    paths = []
    for k in range(array.shape[2]):
        header = header_of(modality, study=study, series=series)
        header.FrameOfReferenceUID = frame_of_reference
        header.PositionReferenceIndicator = ""
        header.InstanceNumber = k + 1
        header.ImageOrientationPatient = [*(lps[:3, 0] / i_mm), *(lps[:3, 1] / j_mm)]
        header.ImagePositionPatient = list(lps[:3, 3] + k * lps[:3, 2])
        header.PixelSpacing = [j_mm, i_mm]
        header.SliceThickness = k_mm
        header.RescaleSlope, header.RescaleIntercept = 1, 0
        put_pixels(header, np.ascontiguousarray(array[:, :, k].T))
        for word, value in values.items():
            setattr(header, word, value)
        paths.append(folder / f"IM{k:04d}")
        save(header, paths[-1])
    return paths


def random_affine(rng: np.random.Generator, *, tilt: bool = False) -> NDArray[np.float64]:
    """An oblique affine (4, 4) with three different spacings; right-handed or not; `tilt` shears it."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * rng.uniform(0.4, 3.0, 3)
    if tilt:
        affine[:3, 2] += affine[:3, 1] * 0.3
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine
