"""Arrays out of .npz files that strangers made.

The challenge keeps its prompts as Python objects, which NumPy stores as a pickle, and a pickle can run any
code when it is read. Here only what arrays, numbers, text, lists and dictionaries are made of is let through.
"""

from __future__ import annotations

import importlib
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from limnet.errors import CaseError, LimNetError
from limnet.volume.payload import DEFLATE_RATIO, one_line

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


def read_array(path: Path, key: str) -> NDArray[Any] | None:
    """The array `key` of an .npz file, None when there is none of that name.

    CaseError when the file is no .npz, is damaged, promises more than it can hold, or holds objects other
    than arrays, numbers, text, lists and dictionaries.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                return None
            info = archive.getinfo(f"{key}.npy")
            if info.file_size > 1024 + info.compress_size * DEFLATE_RATIO:
                raise CaseError(f"{path}: {key!r} promises {info.file_size:,} bytes, more than it can hold")
            with archive.open(info) as stream:
                dtype, num_bytes = _promised(stream)
                if dtype.hasobject:
                    return np.asarray(_Unpickler(stream).load())
            if num_bytes > info.file_size:
                raise CaseError(f"{path}: {key!r} is cut short; copy or download the file again")
            with archive.open(info) as stream:
                return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except LimNetError as error:
        raise CaseError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
    except MemoryError:
        raise CaseError(f"{path}: {key!r} does not fit into memory; crop the volume first") from None
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise CaseError(f"{path}: cannot be read: {reason}; check the path") from None
    except Exception as error:  # any: a damaged pickle raises whatever it likes
        raise CaseError(f"{path}: {key!r} cannot be read ({one_line(error)}); make the file again") from None


def needed_array(path: Path, key: str) -> NDArray[Any]:
    """As `read_array`; CaseError when there is no array of that name."""
    array = read_array(path, key)
    if array is None:
        raise CaseError(f"{path}: no {key!r} in it; expected an .npz of the CVPR 2025 challenge")
    return array


def _promised(stream: IO[bytes]) -> tuple[np.dtype[Any], int]:
    """Type and bytes of the array that follows a .npy header."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise CaseError(f"array in format {version}, must be (1, 0) or (2, 0); save it with numpy.savez")
    shape, _, dtype = read[version](stream)
    count = 1
    for length in shape:  # Python's integers: a lying header cannot make them wrap
        count *= int(length)
    return dtype, count * dtype.itemsize


class _Unpickler(pickle.Unpickler):
    """Reads nothing but what arrays, numbers, lists and dictionaries consist of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise CaseError(f"holds a Python object {module}.{name}, which is not read: it could run code")
        place = module.split(".")[2:]  # NumPy 2 calls core _core: either version reads what the other wrote
        for core in ("_core", "core") if place else ():
            with suppress(ImportError):
                return getattr(importlib.import_module(".".join(("numpy", core, *place))), name)
        return getattr(np, name)
