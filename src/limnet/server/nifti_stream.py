"""Arrays on a volume's grid as an uncompressed NIfTI file, piece by piece: what the page gives to NiiVue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limnet.volume import Volume

LONGEST_SIDE = 32767  # of NIfTI-1
NARROWED = {
    "float64": np.float32,
    "float16": np.float32,
    "int64": np.int32,
    "uint64": np.uint32,
    "bool": np.uint8,
}
RGB24 = 128  # NIfTI data type


def nifti_pieces(array: NDArray[Any], like: Volume) -> tuple[int, Iterator[bytes]]:
    """(length in bytes, pieces) of an array (I, J, K) or (I, J, K, 3) uint8 that lies where `like` does.

    Types that browsers cannot show are narrowed, 64-bit ones to 32 bits, saturating. The affine becomes the
    sform.
    """
    header = _header(array, like)
    start = header.binaryblock.ljust(int(header["vox_offset"]), b"\0")
    itemsize = 3 if array.ndim == 4 else _shown_type(array.dtype).itemsize
    i, j, k = array.shape[:3]
    return len(start) + i * j * k * itemsize, _pieces(start, array)


def _pieces(start: bytes, array: NDArray[Any]) -> Iterator[bytes]:
    yield start
    for k in range(array.shape[2]):
        slab = array[:, :, k]  # (I, J) or (I, J, 3)
        if slab.ndim == 3:
            yield np.moveaxis(slab, -1, 0).tobytes(order="F")
        else:
            yield _narrowed(slab).tobytes(order="F")


def _shown_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(NARROWED.get(dtype.name, dtype))


def _narrowed(slab: NDArray[Any]) -> NDArray[Any]:
    target = _shown_type(slab.dtype)
    if target.kind in "iu" and slab.dtype.itemsize > target.itemsize:
        info = np.iinfo(target)
        slab = slab.clip(info.min, info.max)
    return slab.astype(target.newbyteorder("<"), copy=False)


def _header(array: NDArray[Any], like: Volume) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind: Any = Nifti2Header if max(array.shape[:3]) > LONGEST_SIDE else Nifti1Header
    header = kind(endianness="<")
    if array.ndim == 4:
        header["datatype"], header["bitpix"] = RGB24, 24
    else:
        header.set_data_dtype(_shown_type(array.dtype))
    header.set_data_shape(array.shape[:3])
    header["vox_offset"] = (int(header["sizeof_hdr"]) + 4 + 15) // 16 * 16
    header["scl_slope"], header["scl_inter"] = 1, 0
    header.set_xyzt_units("mm")
    header.set_sform(like.affine, code=1)
    header["pixdim"][1:4] = like.spacing
    return header
