"""LimNet: the exported networks and their settings; numpy in, numpy out. `limnet.runtime` runs them.

Letters as in the paper's family: k key, s shrinkage, e selection, v value; f16 features at stride 16.
H W the view's size, h w at stride 16, N memory elements, P prototypes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limnet.config import from_table
from limnet.errors import ConfigError, WeightsError
from limnet.runtime import MOST_LANES, Graph, Lanes, provider_names, usable_cores

Array = NDArray[np.float32]

MANIFEST = "manifest.json"
GRAPHS = ("interaction", "query", "value", "carry", "potentiate", "fusion")
OVERVIEW = "overview"  # one more; weights exported before 0.6.0 have none
FUSION_SIZE = 128  # pixels of the view that the fusion network sees


@dataclass(frozen=True)
class Manifest:
    """What the weights were made for; stored beside them."""

    version: str
    size: int  # pixels of the view
    threshold: float  # preference above which a slice keeps its previous mask (the paper's tau)
    key_dim: int
    value_dim: int
    sensory_dim: int
    sha256: dict[str, str]  # of each graph's file

    @property
    def graphs(self) -> tuple[str, ...]:
        """The names of the graphs that belong to these weights."""
        return (*GRAPHS, OVERVIEW) if OVERVIEW in self.sha256 else GRAPHS


class SliceFeatures(NamedTuple):
    """What the query encoder says of one slice; of the slice alone, so it can be kept."""

    key: Array  # (Ck, h, w)
    shrinkage: Array  # (1, h, w), at least 1
    selection: Array  # (Ck, h, w), in (0, 1)
    f16: Array  # (112, h, w)


class Elements(NamedTuple):
    """Memory elements, flattened over slices and positions."""

    key: Array  # (Ck, N)
    shrinkage: Array  # (1, N)
    selection: Array  # (Ck, N); asked for when an element becomes a prototype
    value: Array  # (Cv, N)


class Carried(NamedTuple):
    """One step of a sweep."""

    probability: Array  # (H, W)
    sensory: Array  # (Ch, h, w)
    usage: Array  # (N,), affinity received by each memory element


class Reference(NamedTuple):
    """A prompted slice: what the object looks like, to compare others with."""

    image: Array  # (3, 128, 128), in [0, 1]
    mask: Array  # (128, 128), in [0, 1]


class Judgement(NamedTuple):
    """What the fusion network says of two masks of a slice."""

    preference: float  # P(the previous mask is better), in [0, 1]
    previous_quality: float  # predicted Dice
    quality: float


class LimNet:
    """The networks of the method and the overview network, loaded once, shared by any number of sessions."""

    lanes = Lanes(1)  # on which callers run independent steps at once

    def __init__(
        self, folder: Path, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        """As `load_model`, which most callers want."""
        self.manifest = read_manifest(folder)
        threads = usable_cores() if threads is None else threads
        lanes, names = Lanes(min(threads, MOST_LANES)), provider_names(providers)
        chosen = self.manifest.graphs
        data = [_read_graph(folder, name, self.manifest) for name in chosen]

        def load(name: str, data: bytes) -> Graph:
            return Graph(f"{folder / name}.onnx", data, names, max(1, threads // MOST_LANES))

        graphs = lanes.together([partial(load, *pair) for pair in zip(chosen, data, strict=True)])
        self._graphs = dict(zip(chosen, graphs, strict=True))
        self._takes_reference = "reference" in self._graphs["interaction"].inputs
        # Graphics cards take one job at a time; DirectML forbids more.
        self.lanes = lanes if set(self.providers.values()) == {"cpu"} else Lanes(1)

    @property
    def providers(self) -> dict[str, str]:
        """Where each graph runs: a name of `limnet.runtime.PROVIDERS` for every graph."""
        return {name: graph.provider for name, graph in self._graphs.items()}

    @property
    def identity(self) -> str:
        """Version and a short checksum over all graphs, e.g. 0.1.0-1a2b3c4d."""
        whole = "".join(self.manifest.sha256[name] for name in self.manifest.graphs)
        return f"{self.manifest.version}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"

    def interaction(
        self, image: Array, previous: Array, clicks: Array, hints: Array, reference: Array
    ) -> Array:
        """Image (3, H, W), maps (H, W), (2, H, W), (3, H, W) twice, in [0, 1] -> probability (H, W).

        Weights exported before there were references are not told any.
        """
        told = {"reference": reference[None]} if self._takes_reference else {}
        (logits,) = self._run(
            "interaction",
            image=image[None],
            previous=previous[None, None],
            clicks=clicks[None],
            hints=hints[None],
            **told,
        )
        return _sigmoid(logits[0, 0])

    def query(self, image: Array) -> SliceFeatures:
        """Image (3, H, W) in [0, 1] -> features at stride 16."""
        return SliceFeatures(*(out[0] for out in self._run("query", image=image[None])))

    def value(self, image: Array, probability: Array, f16: Array) -> Array:
        """Image (3, H, W), its mask's probability (H, W), (112, h, w) -> value (Cv, h, w)."""
        (values,) = self._run("value", image=image[None], mask=probability[None, None], f16=f16[None])
        value: Array = values[0]
        return value

    def carry(
        self,
        image: Array,
        features: SliceFeatures,
        neighbour: Array,
        probability: Array,
        hints: Array,
        memory: Elements,
        sensory: Array,
    ) -> Carried:
        """Carry the mask `probability` (H, W) of the slice `neighbour` (3, H, W) to the slice `image`."""
        logits, new_sensory, usage = self._run(
            "carry",
            image=image[None],
            mask=probability[None, None],
            neighbour=neighbour[None],
            hints=hints[None],
            key=features.key[None],
            selection=features.selection[None],
            memory_key=memory.key[None],
            memory_shrinkage=memory.shrinkage[None],
            memory_value=memory.value[None],
            sensory=sensory[None],
        )
        return Carried(_sigmoid(logits[0, 0]), new_sensory[0], usage[0])

    def potentiate(self, candidates: Elements, prototypes: NDArray[np.intp]) -> Elements:
        """The candidates at the indices `prototypes` (P,), valued by affinity over all candidates."""
        key, shrinkage = candidates.key[:, prototypes], candidates.shrinkage[:, prototypes]
        selection = candidates.selection[:, prototypes]
        (value,) = self._run(
            "potentiate",
            key=candidates.key[None],
            shrinkage=candidates.shrinkage[None],
            value=candidates.value[None],
            prototype_key=key[None],
            selection=selection[None],
        )
        return Elements(key, shrinkage, selection, value[0])

    def judge(
        self, image: Array, previous: Array, current: Array, nearness: Array, reference: Reference
    ) -> Judgement:
        """Compare two masks (128, 128) of a slice (3, 128, 128); `nearness` (2,) is their prompts'."""
        preference, quality = self._run(
            "fusion",
            image=image[None],
            previous=previous[None, None],
            current=current[None, None],
            nearness=nearness[None],
            reference=reference.image[None],
            reference_mask=reference.mask[None, None],
        )
        before, now = _sigmoid(quality[0])
        return Judgement(float(_sigmoid(preference)[0]), float(before), float(now))

    @property
    def has_overview(self) -> bool:
        """Whether `overview` may be asked."""
        return OVERVIEW in self.manifest.sha256

    def overview(self, maps: Array) -> Array:
        """What is known of a cube (10, N, N, N), see `cube_maps` -> probability of the object (N, N, N)."""
        (logits,) = self._run(OVERVIEW, maps=maps[None])
        return _sigmoid(logits[0, 0])

    def _run(self, name: str, **inputs: Array) -> list[Array]:
        return self._graphs[name].run(inputs)


def load_model(
    path: str | Path | None = None, threads: int | None = None, providers: Sequence[str] | None = None
) -> LimNet:
    """The networks in the folder `path`; by default the shipped ones, loaded once per set of arguments.

    `threads` is how many CPU threads a session keeps busy, by default one per core; masks do not depend on
    it. `providers` names what the networks shall run on, best first: cpu, cuda, directml, coreml, openvino;
    by default the environment's LIMNET_PROVIDERS, else a graphics card that the installed ONNX Runtime is
    built for, else the processor. A provider that fails is left with a LimNetWarning. WeightsError when a
    file is missing, damaged or was made for another version, ConfigError when a provider is unknown.
    """
    names = provider_names(providers)
    return LimNet(Path(path), threads, names) if path is not None else _shipped(threads, names)


@lru_cache(maxsize=4)
def _shipped(threads: int | None, providers: tuple[str, ...]) -> LimNet:
    with as_file(files("limnet") / "weights") as folder:
        return LimNet(folder, threads, providers)


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`; WeightsError when it is missing or not of this version."""
    path = folder / MANIFEST
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{path}: no such file; expected a folder of exported networks (see `limnet export-weights`)"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not readable as JSON ({error}); export or install the weights again"
        ) from None
    if not isinstance(table, dict):
        raise WeightsError(f"{path}: expected a JSON object; export the weights again")
    try:
        return from_table(Manifest, table, str(path))
    except ConfigError as error:
        raise WeightsError(f"{error}; export the weights again") from None


def verify(folder: Path, names: Sequence[str] | None = None) -> None:
    """Check the graphs' files, or those of `names`, against their SHA-256; WeightsError names the first
    that differs.
    """
    manifest = read_manifest(folder)
    for name in manifest.graphs if names is None else names:
        _read_graph(folder, name, manifest)


def _read_graph(folder: Path, name: str, manifest: Manifest) -> bytes:
    path = folder / f"{name}.onnx"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); install the weights again") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != manifest.sha256.get(name):
        raise WeightsError(
            f"{path}: SHA-256 {digest[:12]}... differs from the manifest's; the file is damaged or of"
            f" another export, install the weights again"
        )
    return data


def _sigmoid(logits: Array) -> Array:
    probability: Array = np.reciprocal(1 + np.exp(-np.clip(logits, -30, 30)))
    return probability
