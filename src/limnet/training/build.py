"""Networks from recipes: made, started from other weights, and joined with the step that trains them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from limnet.config import from_table
from limnet.errors import ConfigError, WeightsError
from limnet.model import MANIFEST
from limnet.networks.backbone import imagenet_tensors
from limnet.networks.blend import blend
from limnet.networks.export import export_networks, graphs
from limnet.networks.fusion import FusionNetwork
from limnet.networks.interaction import InteractionNetwork
from limnet.networks.memory import MemoryNetwork, MemoryNetworkConfig
from limnet.networks.overview import OverviewNetwork
from limnet.networks.restore import Networks, restore_networks
from limnet.training.checkpoint import load_checkpoint
from limnet.training.fusion import FusionStep
from limnet.training.interaction import InteractionStep
from limnet.training.memory import MemoryStep
from limnet.training.overview import OverviewStep
from limnet.training.recipe import NETWORKS, Recipe

IMAGENET = "imagenet"
GRAPHS_OF = {  # that hold a network's layers, each once
    "interaction": ("interaction",),
    "memory": ("query", "value", "carry"),
    "fusion": ("fusion",),
    "overview": ("overview",),
}
SHIPPED = "shipped"  # the weights that are installed with the package


class Step(Protocol):
    """What the loop needs of a network's training."""

    def loss(self, image: Tensor, truth: Tensor, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Loss of a batch of a stream and figures to log; progress in [0, 1]."""
        ...

    def validate(self, image: Tensor, truth: Tensor, number: int = 0) -> dict[str, float]:
        """Figures on a batch of held-out patients, the `number`-th."""
        ...


def build_network(kind: str, memory: MemoryNetworkConfig, width: float = 1.0) -> nn.Module:
    """A fresh network of one kind; `width` is of the interaction network."""
    if kind == "interaction":
        return InteractionNetwork(width)
    if kind == "memory":
        return MemoryNetwork(memory)
    return FusionNetwork() if kind == "fusion" else OverviewNetwork()


def load_network(folder: Path) -> tuple[str, nn.Module]:
    """The network in a checkpoint folder and its kind."""
    tensors, state = load_checkpoint(folder)
    kind, sizes = state["network"], from_table(MemoryNetworkConfig, state["memory"], str(folder))
    network = build_network(kind, sizes, state.get("width", 1.0))
    load_tensors(network, network_tensors(tensors), folder)
    return kind, network


def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill a network with the tensors of the checkpoint in `folder`; WeightsError when they do not fit."""
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{folder}: weights do not fit {type(network).__name__}: {reason} ...") from None


def network_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's own tensors of a checkpoint, without the optimiser's."""
    return {name[8:]: tensor for name, tensor in tensors.items() if name.startswith("network.")}


def build(recipe: Recipe, folder: Path, shards: int = 1) -> tuple[nn.Module, list[Step]]:
    """The network of a recipe, started as it says, and its training step, once per shard of a batch.

    `folder` is where relative paths of `recipe.start` begin.
    """
    if recipe.network == "interaction" and shards > 1:
        raise ConfigError("the interaction network trains on whole batches; leave out --shards")
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network, recipe.memory, recipe.width)
    clicker: InteractionNetwork | None = None
    for source in recipe.start:
        if source == IMAGENET:
            _start_from_imagenet(network)
            continue
        if is_exported(source, folder):
            clicker = _start_from_exported(network, recipe, source, folder)
            continue
        kind, other = load_network(folder / source)
        if kind == recipe.network:
            load_tensors(network, other.state_dict(), folder / source)
        elif isinstance(other, InteractionNetwork) and isinstance(network, MemoryNetwork):
            network.carry.start_from(other)
            clicker = other
        elif not isinstance(network, FusionNetwork):  # fusion starts fresh; its rounds are made by the others
            raise ConfigError(
                f"start: {source!r} holds a {kind} network; {recipe.network} cannot start from it"
            )
    return network, [_step(network, recipe, recipe.seed + shard, clicker) for shard in range(shards)]


def export_checkpoints(
    folders: Mapping[str, Path], out: Path, *, version: str, size: int, threshold: float
) -> dict[str, int]:
    """Export checkpoints by kind into the folder `out`, with or without the overview; parameters of each.

    ConfigError when a folder holds a network of another kind than it is named for.
    """
    networks: dict[str, Any] = {}
    for name, folder in folders.items():
        kind, networks[name] = load_network(folder)
        if kind != name:
            raise ConfigError(f"{folder}: holds a {kind} network, expected the {name} network")
    export_networks(**networks, folder=out, version=version, size=size, threshold=threshold)
    return {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}


def is_exported(source: str, folder: Path) -> bool:
    """Whether `source` of a recipe's `start` means exported weights: the shipped ones or a folder."""
    return source == SHIPPED or (folder / source / MANIFEST).exists()


def exported_networks(source: str, folder: Path) -> Networks:
    """The networks of the exported weights that `source` means; its path begins at `folder`."""
    with as_file(files("limnet") / "weights") as shipped:
        return restore_networks(shipped if source == SHIPPED else folder / source)


def export_tuned(
    folders: Mapping[str, Path],
    source: str,
    start_folder: Path,
    out: Path,
    shares: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Exported weights once more, into `out`, the networks of the checkpoints in `folders` instead of theirs.

    Of a network that `shares` names, it is that share of the way from the exported weights to the tuned ones.
    View size and threshold stay; the version says that they are tuned.
    """
    former = exported_networks(source, start_folder)
    every: dict[str, Any] = {kind: getattr(former, kind) for kind in NETWORKS}
    before = {kind: network for kind, network in every.items() if network is not None}
    networks = before | {kind: load_network(place)[1].eval() for kind, place in folders.items()}
    for kind, share in shares.items():
        if share < 1:
            new, old = (graphs(**chosen, size=64) for chosen in (networks, before))
            for name in GRAPHS_OF[kind]:
                blend(new[name], old[name], share)
    export_networks(
        **networks,
        folder=out,
        version=former.manifest.version.removesuffix("-tuned") + "-tuned",
        size=former.manifest.size,
        threshold=former.manifest.threshold,
    )


def network_state(recipe: Recipe) -> dict[str, Any]:
    """What a checkpoint must know to build its network again."""
    return {"network": recipe.network, "memory": asdict(recipe.memory), "width": recipe.width}


def _start_from_imagenet(network: nn.Module) -> None:
    tensors = imagenet_tensors()
    if isinstance(network, InteractionNetwork):
        network.backbone.start_from(tensors)
    elif isinstance(network, MemoryNetwork):
        network.query.backbone.start_from(tensors)
        network.carry.backbone.start_from(tensors)
    elif isinstance(network, OverviewNetwork):
        raise ConfigError(f"start: {IMAGENET!r} is of pictures; the overview network cannot start from it")


def _start_from_exported(
    network: nn.Module, recipe: Recipe, source: str, folder: Path
) -> InteractionNetwork | None:
    """Fill a network from exported weights; the interaction network that goes with it."""
    former = exported_networks(source, folder)
    chosen: nn.Module | None = getattr(former, recipe.network)
    if chosen is None:
        raise ConfigError(f"start: {source!r} holds no {recipe.network} network; leave it out")
    tensors = dict(chosen.state_dict())
    if isinstance(network, MemoryNetwork):  # `glimpse` is not exported: it keeps its random start
        tensors |= {name: t for name, t in network.state_dict().items() if name.startswith("glimpse.")}
    load_tensors(network, tensors, folder / source)
    return former.interaction


def _step(network: nn.Module, recipe: Recipe, seed: int, clicker: InteractionNetwork | None) -> Step:
    if isinstance(network, InteractionNetwork):
        return InteractionStep(network, recipe.clicks, seed)
    if isinstance(network, MemoryNetwork):
        return MemoryStep(network, recipe.rollout, seed, clicker)
    if isinstance(network, FusionNetwork):
        return FusionStep(network)
    assert isinstance(network, OverviewNetwork)  # the recipe allows no other kind
    return OverviewStep(network, recipe.rounds, seed, recipe.bfloat16)
