"""limnet info: what a volume is, or what limnet itself runs on."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

import limnet
from limnet.cli.options import MaybeVolumePath


@dataclass(frozen=True)
class Info:
    """Tell how a volume lies and what it holds; without one, what limnet runs on."""

    volume: MaybeVolumePath = None  # as for segment

    def run(self) -> int:
        """Print words and values, one pair a line."""
        facts = installation() if self.volume is None else facts_of(limnet.read_volume(self.volume))
        width = max(len(word) for word in facts)
        for word, value in facts.items():
            print(f"{word:<{width}}  {value}")
        return 0


def facts_of(volume: limnet.Volume) -> dict[str, str]:
    """What one wants to know of a volume before the first click."""
    lengths = zip(volume.shape, volume.spacing, strict=True)
    axis = volume.sweep_axis
    return {
        "volume": volume.source,
        "shape": f"{volume.shape[0]} x {volume.shape[1]} x {volume.shape[2]} voxels (i, j, k)",
        "spacing": " x ".join(f"{edge:.4g}" for edge in volume.spacing) + " mm",
        "extent": " x ".join(f"{length * edge:.4g}" for length, edge in lengths) + " mm",
        "orientation": "".join(volume.orientation) + " (where i, j and k grow to)",
        "sweep axis": f"{axis}: {volume.shape[axis]} slices across {'ijk'[axis]}",
        "intensities": f"{volume.array.min():g} to {volume.array.max():g}, {volume.array.dtype}",
        "colours": "RGB" if volume.is_rgb else "grey",
        "memory": f"{volume.array.nbytes / 2**20:.1f} MiB",
    }


def installation() -> dict[str, str]:
    """Versions, networks and what they can run on."""
    import onnxruntime

    return {
        "limnet": limnet.__version__,
        "weights": limnet.load_model().identity,
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: version(name) for name in ("numpy", "scipy", "onnxruntime", "nibabel")},
        "providers": ", ".join(onnxruntime.get_available_providers()),
    }
