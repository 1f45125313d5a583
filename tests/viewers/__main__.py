"""Serve the sample and let the real napari plugin, in an environment of its own, work on it.

python tests/viewers PYTHON     the Python of that environment
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from limnet import load_model, read_mask, read_volume
from limnet.sample import sample_truth_path, sample_volume_path
from nni_server import serving

MINUTES = 10


def main(python: str) -> int:
    volume, truth = read_volume(sample_volume_path()), read_mask(sample_truth_path())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "image.npy", volume.array.transpose(2, 1, 0))
        np.save(folder / "truth.npy", truth.transpose(2, 1, 0))
        np.save(folder / "spacing.npy", volume.spacing[::-1])
        with serving(folder / "work", load_model()) as (address, _):
            driver = Path(__file__).with_name("drive_napari.py")
            environment = {
                **os.environ,
                "QT_QPA_PLATFORM": "offscreen",
                "NO_PROXY": "127.0.0.1",
                "HOME": name,
            }
            words = [python, str(driver), address, name]
            return subprocess.run(words, env=environment, timeout=60 * MINUTES, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
