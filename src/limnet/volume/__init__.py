"""Volumes: where things are, and files in and out.

Arrays are (I, J, K), indexed `array[i, j, k]` as NIfTI and ITK count; affines lead to world, mm, RAS+.
"""

from limnet.volume.files import read_mask, read_volume, write_mask
from limnet.volume.geometry import to_index, to_world
from limnet.volume.volume import Volume

__all__ = ["Volume", "read_mask", "read_volume", "to_index", "to_world", "write_mask"]
