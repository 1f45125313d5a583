"""limnet info: what a volume is, or what limnet itself runs on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

import limnet
from limnet.cli.options import MaybeVolumePath, SeriesName
from limnet.errors import WeightsError
from limnet.model import read_manifest, verify
from limnet.runtime import PROVIDERS, VARIABLE, offered_providers
from limnet.volume.dicom import list_series


@dataclass(frozen=True)
class Info:
    """Tell how a volume lies and what it holds; without one, what limnet runs on."""

    volume: MaybeVolumePath = None  # as for segment; of a folder with several DICOM series, all are listed
    series: SeriesName = None  # the DICOM series to tell of
    allow_gaps: bool = False  # take a DICOM series with missing slices
    runtime: bool = False  # tell what each network runs on, too
    weights: bool = False  # tell whether the installed networks are whole, or those in the folder VOLUME

    def run(self) -> int:
        """Print words and values, one pair a line; the exit code is 2 when weights are not whole."""
        if self.weights:
            return self._weights()
        if self.volume is not None and self.series is None:
            found = list_series(self.volume)
            if len(found) > 1:
                print("\n".join([f"{len(found)} DICOM series; choose one with --series", *map(str, found)]))
                return 0
        facts = installation() if self.volume is None else facts_of(self._read(self.volume))
        if self.runtime:
            facts |= runtime_facts(limnet.load_model())
        width = max(len(word) for word in facts)
        for word, value in facts.items():
            print(f"{word:<{width}}  {value}")
        return 0

    def _weights(self) -> int:
        with as_file(files("limnet") / "weights") as installed:
            folder = self.volume or installed
            manifest = read_manifest(folder)
            states = {name: state_of(folder, name) for name in manifest.graphs}
        print(f"{'weights':<12} {folder}\n{'version':<12} {manifest.version}")
        for name, state in states.items():
            print(f"{name:<12} {manifest.sha256.get(name, 'no checksum'):<64}  {state}")
        whole = set(states.values()) == {"intact"}
        print("all intact" if whole else "not intact: install or export the weights again")
        return 0 if whole else 2

    def _read(self, path: Path) -> limnet.Volume:
        return limnet.read_volume(path, series=self.series, allow_gaps=self.allow_gaps)


def state_of(folder: Path, name: str) -> str:
    """Whether the file of one network is what the manifest says: intact, or what is wrong with it."""
    try:
        verify(folder, (name,))
    except WeightsError as error:
        return str(error)
    return "intact"


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


def runtime_facts(model: limnet.LimNet) -> dict[str, str]:
    """What runs the networks: offered, asked for, and used by each of them."""
    offered = offered_providers()
    known = [name for name, provider in PROVIDERS.items() if provider in offered]
    return {
        "offered": f"{', '.join(known)} (by this build of ONNX Runtime)",
        "asked for": os.environ.get(VARIABLE) or f"nothing ({VARIABLE} is not set)",
        "at once": f"{model.lanes.count} networks",
        **{f"{name} runs on": provider for name, provider in model.providers.items()},
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
