"""limnet train: the networks of a recipe, one after another. Only running it imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from limnet.cli.options import Count, Folder, MaybeCount
from limnet.cli.terminal import progress_bar
from limnet.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from limnet.training.cases import TrainingCase
    from limnet.training.recipe import Recipe

Folders = Annotated[UseAppendAction[tuple[tuple[Path, ...], ...]], arg(metavar="DIR")]
Minutes = Annotated[float | None, arg(metavar="N", help_behavior_hint="")]
Device = Annotated[str, arg(metavar="auto|cpu|cuda|cuda:N|mps")]


@dataclass(frozen=True)
class Train:
    """Train or fine-tune networks by a recipe; needs the extra of that name: pip install 'limnet[train]'."""

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE")]  # a TOML file such as recipes/interaction.toml
    minutes: Minutes = None  # default: the recipe's minutes or steps; with --resume, on top of those spent
    resume: bool = False  # go on from the checkpoint in --out
    data: Folders = ()  # hold SET/images and SET/labels, or label maps alone; default: random shapes only
    unlabelled: Folders = ()  # hold images without labels, from which supervoxels are learned
    out: Folder = None  # gets checkpoints, curves and tuned weights; default: runs/RECIPE-NAME
    device: Device = "cpu"  # where the networks are trained
    workers: Count = 1  # processes that make clips
    shards: Count = 1  # parts of a batch computed side by side, one core each; 2 suits the memory model
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Train until the minutes are spent; tuned weights are exported."""
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"--minutes must be above 0, got {self.minutes:g}")
        try:
            import torch

            from limnet.training.build import export_tuned, is_exported
            from limnet.training.checkpoint import INDEX
            from limnet.training.device import choose_device
            from limnet.training.recipe import read_recipes
        except ModuleNotFoundError as error:
            raise ConfigError(f"training needs {error.name}: pip install 'limnet[train]'") from None
        recipes = read_recipes(self.recipe)
        device = str(choose_device(self.device))
        folder = Path("runs") / self.recipe.stem if self.out is None else self.out
        places = [folder if len(recipes) == 1 else folder / recipe.network for recipe in recipes]
        self._check(recipes, places)
        torch.set_num_threads(max(1, (self.threads or torch.get_num_threads()) // self.shards))
        cases = self._cases(recipes[0])
        print(f"{len(cases)} cases; checkpoints and curves go to {folder}", flush=True)
        planned = sum(recipe.minutes for recipe in recipes)
        scale = 1.0 if self.minutes is None else self.minutes / planned
        for recipe, place in zip(recipes, places, strict=True):
            resume = self.resume and (len(recipes) == 1 or (place / INDEX).exists())
            whole = len(recipes) > 1 and recipe.network == "interaction"  # which takes whole batches only
            shards = 1 if whole else self.shards
            self._train(recipe, place, cases, recipe.minutes * scale, resume, shards, device)
        sources = [s for recipe in recipes for s in recipe.start if is_exported(s, self.recipe.parent)]
        if sources:
            tuned = {recipe.network: place for recipe, place in zip(recipes, places, strict=True)}
            shares = {recipe.network: recipe.blend for recipe in recipes}
            export_tuned(tuned, sources[0], self.recipe.parent, folder / "weights", shares)
            print(
                f"tuned weights: limnet segment VOLUME -o MASK --click I,J,K --weights {folder / 'weights'}"
            )
        return 0

    def _check(self, recipes: tuple[Recipe, ...], places: list[Path]) -> None:
        """What can be known to be wrong before anything is read."""
        from limnet.training.build import is_exported
        from limnet.training.checkpoint import INDEX

        for place in places:
            if not self.resume and (place / INDEX).exists():
                raise OutputError(
                    f"{place}: already holds a checkpoint; add --resume or give another --out folder"
                )
        for recipe in recipes:
            if recipe.steps and self.minutes is not None:
                raise ConfigError(
                    f"{self.recipe}: its budget is steps = {recipe.steps}; leave out --minutes, or its steps"
                )
            if recipe.blend < 1 and not any(is_exported(s, self.recipe.parent) for s in recipe.start):
                raise ConfigError(
                    f"{self.recipe}: blend = {recipe.blend:g} needs exported weights to start from; add"
                    f' "shipped" to start, or leave blend out'
                )
        wanted = any(recipe.data.supervoxels > 0 for recipe in recipes)
        if wanted and find_spec("skimage") is None:
            raise ConfigError("supervoxels need scikit-image: pip install 'limnet[train]'")
        if self.unlabelled and not wanted:
            raise ConfigError(
                f"{self.recipe}: its [data] has no weight for supervoxels, for which --unlabelled is;"
                f" add supervoxels = 1.0"
            )

    def _cases(self, recipe: Recipe) -> list[TrainingCase]:
        """Everything in the folders, by the settings of one recipe."""
        from limnet.training.cases import read_cases, read_images

        data = recipe.data
        cases = [
            case
            for place in (path for paths in self.data for path in paths)
            for case in read_cases(place, data.exclude, data.split_components)
        ]
        for place in (path for paths in self.unlabelled for path in paths):
            cases += read_images(place, data.exclude)
        return cases

    def _train(
        self,
        recipe: Recipe,
        place: Path,
        cases: list[TrainingCase],
        minutes: float,
        resume: bool,
        shards: int,
        device: str,
    ) -> None:
        """One network, with a bar and a line per validation."""
        from limnet.training.fit import fit
        from limnet.training.pair import PAIRS
        from limnet.training.recording import record_pairs

        start = self.recipe.parent
        if recipe.needs_rounds and not (place / PAIRS).exists():
            labelled = [case for case in cases if case.objects]
            with progress_bar("recording rounds", total=recipe.pairs.minutes) as (bar, task):
                for spent in record_pairs(recipe, labelled, place, start):
                    bar.update(task, completed=spent)
        run = fit(recipe, cases, place, minutes, resume, start, self.workers, shards, device)
        pace = ""
        with progress_bar(recipe.network, total=1.0) as (bar, task):
            for progress in run:
                figures = progress.figures
                if progress.validation:
                    words = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
                    print(f"step {progress.step}  {progress.minutes:.1f} min  {words}{pace}", flush=True)
                elif "samples_per_second" in figures:
                    pace = f"  {figures['samples_per_second']:.1f} samples/s"
                    pace += f", {figures['waiting']:.0%} of the time waiting for clips"
                bar.update(task, completed=progress.share, description=f"step {progress.step}{pace}")
