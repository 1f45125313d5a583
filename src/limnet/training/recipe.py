"""The recipe: frozen settings of one training run, read from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limnet.config import from_table, read_toml
from limnet.errors import ConfigError
from limnet.model import FUSION_SIZE
from limnet.networks.memory import MemoryNetworkConfig
from limnet.training.clips import ClipConfig
from limnet.training.cubes import CubeConfig
from limnet.training.shapes import ShapeConfig

NETWORKS = ("interaction", "memory", "fusion", "overview")
WIDTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # of a backbone, whose channels are then multiples of eight


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What samples are made of. Weights say how often a set is drawn, whatever its number of cases."""

    shapes: float = 1.0  # weight of random-shape volumes
    supervoxels: float = 0.0  # weight of supervoxels of all images, those without labels among them
    weights: dict[str, float] = field(default_factory=dict)  # by set name
    default_weight: float = 1.0  # of a set that `weights` does not name
    exclude: tuple[str, ...] = ()  # regular expressions of case names never trained on
    split_components: tuple[str, ...] = ()  # sets whose every component is an object of its own
    bank: int = 160  # random-shape volumes kept; the oldest are replaced while training
    supervoxel_bank: int = 80  # crops with supervoxels kept, replaced likewise
    validate_every: int = 12  # one patient in so many is held out


@dataclass(frozen=True, kw_only=True)
class ClicksConfig:
    """Iterative clicks of the interaction network."""

    first: float = 0.0  # share of batches that are learned from at their first click, from nothing
    centred: float = 0.0  # share of first clicks in the middle of the view, where a session's first click is
    max_rounds: int = 4  # clicks before the one that is learned from, in all other batches
    refine: float = 0.6  # share of samples that start from an existing, imperfect mask ...
    carried: float = 0.7  # ... share of these masks that come from another slice of the clip ...
    leak: float = 0.25  # ... and share of them that run over into a neighbour of the same grey
    shown: float = 0.7  # share of them that see the object on another slice; from nothing, half as many
    recorded: float = 0.0  # share of samples that a recorded round of the real Session left wrong
    central: float = 0.5  # share of clicks in the middle of the error, others anywhere in it
    boxes: float = 0.0  # share of samples whose first prompt is a box ...
    scribbles: float = 0.0  # ... a scribble ...
    lassos: float = 0.0  # ... a lasso instead of a click

    def __post_init__(self) -> None:
        if self.boxes + self.scribbles + self.lassos > 1:
            raise ConfigError("the shares boxes, scribbles and lassos must not exceed 1 together")


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How the memory model rolls out over a clip."""

    teacher_start: float = 1.0  # share of true neighbour masks at first ...
    teacher_end: float = 0.1  # ... and once it has faded
    teacher_fade: float = 0.4  # progress of the run at which it has faded
    perturbed: float = 0.3  # share of first masks that are perturbed truth
    predicted: float = 0.3  # share of first masks that the interaction network made of two clicks
    freeze: float = 0.1  # progress from which batch norm keeps its statistics, as XMem does all along
    far_anchor: float = 0.35  # share of batches in which the roll-out's far end is an anchor too
    learned: int = 4  # slices at the end of a roll-out that are learned from; those before only lead there
    spoiled: float = 0.1  # share of carried masks that are perturbed or leak before the next slice
    glimpse: float = 0.3  # weight of the loss on what the memory alone says of the mask, at stride 16

    def __post_init__(self) -> None:
        if self.learned < 2:  # one of them may be an anchor, which nothing is learned from
            raise ConfigError(f"learned must be at least 2, got {self.learned}")


@dataclass(frozen=True, kw_only=True)
class PairsConfig:
    """Pairs of rounds: the fusion network learns to choose, the interaction network to mend them."""

    rounds: int = 5  # of each recorded session
    slices: int = 12  # recorded per round at most
    minutes: float = 8.0  # spent on recording before training
    contrary: float = 0.15  # share of slices on which a recorded round keeps the mask from the farther prompt
    made_up: float = 0.25  # share of a batch that is two perturbed masks instead of two rounds


@dataclass(frozen=True, kw_only=True)
class RoundsConfig:
    """What the overview network is told of a cube, and the rounds before the one that it learns from."""

    before: tuple[float, ...] = (0.45, 0.25, 0.18, 0.12)  # shares of batches with 0, 1, 2, ... rounds before
    given: float = 0.55  # share of cubes that start from an imperfect mask
    alone: float = 0.25  # share of clicks that tell nothing of the slice they are on
    exact: float = 0.35  # share of prompted slices with their true mask; others are perturbed, some leak
    across: float = 0.4  # share of prompted slices with a positive click that tell of the planes across too

    def __post_init__(self) -> None:
        if not self.before or min(self.before) < 0 or sum(self.before) <= 0:
            raise ConfigError(f"before must hold shares of which one is above 0, got {list(self.before)}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run of one network."""

    network: str  # interaction, memory, fusion or overview
    start: tuple[str, ...] = ()  # "imagenet", "shipped" (weights), paths of others, relative to the recipe
    minutes: float = 60.0  # the budget where the command gives none
    steps: int = 0  # the budget in steps instead, so that runs can be compared whatever machine makes them
    frozen: bool = False  # batch norms keep their statistics
    seed: int = 0
    batch: int = 16
    learning_rate: float = 1e-3  # peak; falls as a cosine to 1 % at the end of the budget
    weight_decay: float = 0.01
    warmup_steps: int = 200
    averaged: float = 0.0  # decay per step of a running mean of the weights, which is what is kept; 0: none
    blend: float = 1.0  # share of the way from exported weights to the trained ones that is exported
    clip_norm: float = 3.0  # gradients are scaled down to this norm
    validate_minutes: float = 5.0  # between two validations
    validation_clips: int = 96  # or cubes
    bfloat16: bool = False  # the overview network computes in half precision, its loss and optimiser do not
    clip: ClipConfig = field(default_factory=ClipConfig)
    cube: CubeConfig = field(default_factory=CubeConfig)
    shapes: ShapeConfig = field(default_factory=ShapeConfig)
    data: DataConfig = field(default_factory=DataConfig)
    clicks: ClicksConfig = field(default_factory=ClicksConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    memory: MemoryNetworkConfig = field(default_factory=MemoryNetworkConfig)
    width: float = 1.0  # of the interaction network's backbone; only at 1 do ImageNet's weights fit

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ConfigError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        if self.width not in WIDTHS:
            raise ConfigError(f"width must be one of {', '.join(map(str, WIDTHS))}, got {self.width:g}")
        if self.steps < 0:
            raise ConfigError(f"steps must be 0 or more, got {self.steps}")
        if not 0 < self.blend <= 1:
            raise ConfigError(f"blend must be above 0 and at most 1, got {self.blend:g}")
        if not 0 <= self.averaged < 1:
            raise ConfigError(f"averaged must be at least 0 and below 1, got {self.averaged:g}")
        if self.batch < 2:
            raise ConfigError(f"batch must be at least 2 (batch norm), got {self.batch}")
        if self.clicks.recorded > 0 and self.clip.size != FUSION_SIZE:
            raise ConfigError(
                f"clicks.recorded: rounds are kept at {FUSION_SIZE} pixels, clip.size is {self.clip.size}"
            )
        if self.bfloat16 and self.network != "overview":
            raise ConfigError(f"bfloat16 is for the overview network, got network {self.network!r}")
        if self.network in ("memory", "fusion") and self.clip.slices < 2:
            raise ConfigError(
                f"the {self.network} network takes clips of 2 slices or more, got {self.clip.slices}"
            )

    @property
    def needs_rounds(self) -> bool:
        """Whether rounds of sessions are recorded before the training."""
        return self.network == "fusion" or (self.network == "interaction" and self.clicks.recorded > 0)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; an unknown key, a wrong type or a missing file is a ConfigError naming the place."""
    return from_table(Recipe, read_toml(path), str(path))


def read_recipes(path: Path) -> tuple[Recipe, ...]:
    """The recipes of a file in the order in which they run: one, or one for each of its [[stages]].

    What stands outside the stages holds for all of them; where a stage says otherwise, it has the last word.
    """
    table = read_toml(path)
    if "stages" not in table:
        return (from_table(Recipe, table, str(path)),)
    stages, shared = table["stages"], {key: value for key, value in table.items() if key != "stages"}
    if not isinstance(stages, list) or not all(isinstance(stage, Mapping) for stage in stages) or not stages:
        raise ConfigError(f"{path}: stages: expected one or more tables [[stages]], got {stages!r}")
    recipes = tuple(
        from_table(Recipe, _laid_over(shared, stage), f"{path} stage {number}")
        for number, stage in enumerate(stages, start=1)
    )
    networks = [recipe.network for recipe in recipes]
    if len(set(networks)) < len(networks):
        raise ConfigError(f"{path}: two stages train the same network; expected one each, got {networks}")
    return recipes


def _laid_over(table: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables in one; `other` has the last word, table by table."""
    merged = dict(table)
    for key, value in other.items():
        below = merged.get(key)
        is_table = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _laid_over(below, value) if is_table else value  # type: ignore[arg-type]  # is_table
    return merged
