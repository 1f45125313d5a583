"""limnet train: one network, one recipe, so many minutes. Only running it imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from limnet.cli.options import Count, Folder, MaybeCount
from limnet.cli.terminal import progress_bar
from limnet.errors import ConfigError, OutputError

Folders = Annotated[UseAppendAction[tuple[tuple[Path, ...], ...]], arg(metavar="DIR")]


@dataclass(frozen=True)
class Train:
    """Train one network by a recipe; needs the extra of that name: pip install 'limnet[train]'."""

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE")]  # a TOML file such as recipes/interaction.toml
    minutes: float  # with --resume, on top of those already spent
    resume: bool = False  # go on from the checkpoint in --out
    data: Folders = ()  # hold SET/images and SET/labels, or label maps alone; default: random shapes only
    out: Folder = None  # gets checkpoint and curves; default: runs/RECIPE-NAME
    workers: Count = 1  # processes that make clips
    shards: Count = 1  # parts of a batch computed side by side, one core each; 2 suits the memory model
    threads: MaybeCount = None  # default: all cores

    def run(self) -> int:
        """Train until the minutes are spent."""
        if self.minutes <= 0:
            raise ConfigError(f"--minutes must be above 0, got {self.minutes:g}")
        try:
            import torch

            from limnet.training.cases import read_cases
            from limnet.training.checkpoint import INDEX
            from limnet.training.fit import fit
            from limnet.training.pairs import PAIRS, record_pairs
            from limnet.training.recipe import read_recipe
        except ModuleNotFoundError as error:
            raise ConfigError(f"training needs {error.name}: pip install 'limnet[train]'") from None
        recipe = read_recipe(self.recipe)
        folder = Path("runs") / self.recipe.stem if self.out is None else self.out
        if not self.resume and (folder / INDEX).exists():
            raise OutputError(
                f"{folder}: already holds a checkpoint; add --resume or give another --out folder"
            )
        torch.set_num_threads(max(1, (self.threads or torch.get_num_threads()) // self.shards))
        cases = [
            case
            for place in (path for paths in self.data for path in paths)
            for case in read_cases(place, recipe.data.exclude, recipe.data.split_components)
        ]
        print(f"{len(cases)} cases; checkpoint and curves go to {folder}", flush=True)
        start = self.recipe.parent
        if recipe.network == "fusion" and not (folder / PAIRS).exists():
            with progress_bar("recording rounds", total=recipe.pairs.minutes) as (bar, task):
                for minutes in record_pairs(recipe, cases, folder, start):
                    bar.update(task, completed=minutes)
        run = fit(recipe, cases, folder, self.minutes, self.resume, start, self.workers, self.shards)
        with progress_bar(self.recipe.stem, total=1.0) as (bar, task):
            for progress in run:
                figures = "  ".join(f"{name} {value:.4g}" for name, value in progress.figures.items())
                words = f"step {progress.step}  {progress.minutes:.1f} min  {figures}"
                if progress.validation:
                    print(words, flush=True)
                bar.update(task, completed=progress.share, description=f"step {progress.step}")
        return 0
