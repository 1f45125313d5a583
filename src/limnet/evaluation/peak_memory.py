"""The most memory this process has held."""

from __future__ import annotations

import math
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux
_FORGET_PEAK = "5"  # man 5 proc: "reset the peak resident set size"


def peak_memory_mib() -> float:
    """The peak since the process began, or since `forget_peak_memory()`, in MiB; NaN on Windows.

    All that the process holds: Python, libraries, networks, the volume, the method's own arrays.
    """
    if sys.platform == "win32":
        return math.nan
    if sys.platform == "linux":
        try:
            line = next(row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM:"))
            return int(line.split()[1]) / 2**10  # KiB
        except (OSError, StopIteration, ValueError):
            pass  # a Linux without /proc: the same as for the others
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere


def forget_peak_memory() -> bool:
    """Begin a new peak at what is held now; False where the system has no such thing (all but Linux)."""
    try:
        _CLEAR.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True
