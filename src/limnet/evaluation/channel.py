"""One channel of a multi-channel NIfTI, such as the four MR contrasts that BraTS stores in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from limnet.errors import LimNetError, VolumeError
from limnet.volume import Volume, read_volume
from limnet.volume.intensity import usable
from limnet.volume.payload import one_line


def read_channel(path: Path, channel: int) -> Volume:
    """The volume (I, J, K) that is `channel` (from 0) along the fourth axis of a NIfTI file.

    A file of three axes is read as it is. VolumeError when the file cannot be read or has no such channel,
    GeometryError when its affine cannot be used.
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)
        shape = tuple(int(length) for length in image.shape)
        if len(shape) == 3:
            return read_volume(path)
        if len(shape) != 4 or not 0 <= channel < shape[3]:
            raise VolumeError(f"{path}: shape {shape}, must be (I, J, K, channels) with channel {channel}")
        array = np.asarray(image.dataobj[..., channel])  # (I, J, K)
    except LimNetError:
        raise
    except MemoryError:
        raise VolumeError(f"{path}: does not fit into memory; crop it first") from None
    except Exception as error:  # nibabel lets many exception types escape from a damaged file
        raise VolumeError(f"{path}: cannot be read ({one_line(error)}); copy or download it again") from None
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return Volume(usable(array, str(path)), image.affine, source=str(path))
