"""Networks trained without one part: short trainings that differ in that part alone, ready for the panel.

    python benchmarks/ablations.py --data SETS --data LABEL_MAPS --unlabelled IMAGES --out runs/ablations
    limnet evaluate panel --data DIR --weights runs/ablations/NAME/weights --out tables/NAME

Every NAME of VARIANTS gets a folder with a checkpoint and the installed weights in which its network takes
the place of theirs. Budgets are steps, not minutes, so what else a machine does changes nothing. What needs
no training (crossing, the choice of the view, thresholds ...) are methods of `limnet evaluate`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from limnet.networks.export import export_networks
from limnet.training.build import SHIPPED, export_tuned, exported_networks
from limnet.training.cases import TrainingCase, read_cases, read_images
from limnet.training.fit import fit
from limnet.training.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
INTERACTION_STEPS = 700
MEMORY_STEPS = 150
VALIDATE_MINUTES = 600.0  # at the end alone

Change = Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Variant:
    """A training, told by what it changes in the one it is compared with."""

    network: str = "interaction"
    change: Change = lambda recipe: recipe
    label_maps: bool = True  # cases without images are trained on


def _data(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, data=replace(recipe.data, **changes))


def _clip(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, clip=replace(recipe.clip, **changes))


def _memory(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, memory=replace(recipe.memory, **changes))


VARIANTS = {
    "all": Variant(),
    "without-shapes": Variant(change=partial(_data, shapes=0.0)),
    "without-label-maps": Variant(change=partial(_clip, synthetic=0.0), label_maps=False),
    # labels of real images stay, under made-up intensities; so do supervoxels of those images
    "without-real-images": Variant(change=partial(_clip, synthetic=1.0)),
    "without-supervoxels": Variant(change=partial(_data, supervoxels=0.0)),
    "without-imagenet": Variant(change=lambda recipe: replace(recipe, start=())),
    "width-0.5": Variant(change=lambda recipe: replace(recipe, start=(), width=0.5)),
    "memory": Variant("memory"),
    "memory-without-early-fusion": Variant("memory", change=partial(_memory, early=False)),
}
TOP_K = {"top-5": 5, "top-100": 100}  # memory elements that a position reads from; installed: 30


def recipe_of(variant: Variant, out: Path) -> Recipe:
    """The recipe of a variant; the memory model starts from the interaction network of `all` in `out`."""
    recipe = replace(read_recipe(RECIPES / f"{variant.network}.toml"), validate_minutes=VALIDATE_MINUTES)
    if variant.network == "memory":
        recipe = replace(recipe, steps=MEMORY_STEPS, start=("imagenet", str(out.resolve() / "all")))
    else:
        recipe = replace(
            recipe, steps=INTERACTION_STEPS, clicks=replace(recipe.clicks, first=0.4, centred=0.6)
        )
        recipe = _clip(_data(recipe, supervoxels=0.6), any_zoom=0.4)
    return variant.change(recipe)


def train(name: str, cases: Sequence[TrainingCase], out: Path) -> None:
    """Train a variant in `out`/`name`; its weights for `--weights` are in the folder's `weights`."""
    variant, folder = VARIANTS[name], out / name
    recipe = recipe_of(variant, out)
    chosen = [case for case in cases if variant.label_maps or case.image is not None]
    for progress in fit(recipe, chosen, folder, minutes=0.0):
        if progress.validation:
            print(f"{name}: step {progress.step}, {progress.minutes:.1f} min, {progress.figures}", flush=True)
    export_tuned({variant.network: folder}, SHIPPED, Path(), folder / "weights")


def read_top(name: str, out: Path) -> None:
    """The installed weights, reading another number of memory elements."""
    networks = exported_networks(SHIPPED, Path())
    networks.memory.config = replace(networks.memory.config, top_k=TOP_K[name])
    manifest = networks.manifest
    export_networks(
        *networks[:3],
        overview=networks.overview,
        folder=out / name / "weights",
        version=f"{manifest.version}-{name}",
        size=manifest.size,
        threshold=manifest.threshold,
    )


def main() -> None:
    """Train the variants that are named, one after the other; all of them by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*VARIANTS, *TOP_K, []], metavar="NAME")
    parser.add_argument("--data", type=Path, action="append", default=[])
    parser.add_argument("--unlabelled", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    names = arguments.names or [*VARIANTS, *TOP_K]
    torch.set_num_threads(arguments.threads)
    cases: list[TrainingCase] = []
    if set(names) & set(VARIANTS):
        settings = read_recipe(RECIPES / "interaction.toml").data
        for folder in arguments.data:
            cases += read_cases(folder, settings.exclude, settings.split_components)
        for folder in arguments.unlabelled:
            cases += read_images(folder, settings.exclude)
    for name in names:
        if name in TOP_K:
            read_top(name, arguments.out)
        else:
            train(name, cases, arguments.out)


if __name__ == "__main__":
    main()
