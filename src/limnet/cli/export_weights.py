"""limnet export-weights: trained networks as a folder of weights that `--weights` and `load_model()` take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

import limnet
from limnet.cli.options import Folder
from limnet.errors import ConfigError

Checkpoint = Annotated[Path, arg(metavar="DIR")]


@dataclass(frozen=True)
class ExportWeights:
    """Turn checkpoints of `limnet train` into weights; needs pip install 'limnet[train]'."""

    out: Annotated[Path, arg(metavar="DIR")]  # gets one .onnx file per graph and manifest.json
    interaction: Checkpoint = Path("runs/interaction")  # checkpoint of the interaction network
    memory: Checkpoint = Path("runs/memory")  # checkpoint of the memory model
    fusion: Checkpoint = Path("runs/fusion")  # checkpoint of the fusion network
    overview: Folder = None  # checkpoint of the overview network; default: weights without one
    version: str = limnet.__version__  # written into the manifest
    size: int = 128  # pixels of the view through which slices are seen
    threshold: float = 0.5  # preference above which a slice keeps its previous mask

    def run(self) -> int:
        """Export and print what was written."""
        try:
            from limnet.training.build import export_checkpoints
        except ModuleNotFoundError as error:
            raise ConfigError(f"export-weights needs {error.name}: pip install 'limnet[train]'") from None
        folders = {"interaction": self.interaction, "memory": self.memory, "fusion": self.fusion}
        if self.overview is not None:
            folders["overview"] = self.overview
        counts = export_checkpoints(
            folders, self.out, version=self.version, size=self.size, threshold=self.threshold
        )
        for name, count in counts.items():
            print(f"{name:<12} {count / 1e6:5.2f} M parameters")
        files = sum(path.stat().st_size for path in self.out.iterdir())
        print(f"weights      {files / 1e6:5.2f} MB in {self.out}; {limnet.load_model(self.out).identity}")
        return 0
