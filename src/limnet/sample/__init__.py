"""The sample: a T1-weighted brain MR with a tumour, and its truth; SOURCE.md holds origin and licence."""

from importlib.resources import files
from pathlib import Path


def sample_volume_path() -> Path:
    """The volume: 256 x 256 x 25 voxels of 0.78 x 0.78 x 6.5 mm."""
    return _path("brain1_image.nrrd")


def sample_truth_path() -> Path:
    """The truth on the same grid: 1 inside the tumour, 0 outside."""
    return _path("brain1_label.nrrd")


def _path(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))
