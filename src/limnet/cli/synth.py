"""limnet synth: a picture of what networks are trained on. Only running it imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limnet.cli.options import Count
from limnet.cli.train import Folders
from limnet.errors import ConfigError

MaybeRecipe = Annotated[Positional[Path | None], arg(metavar="[RECIPE]", help_behavior_hint="")]


@dataclass(frozen=True)
class Synth:
    """Draw training data of every source; needs the extra `train`: pip install 'limnet[train]'."""

    png: Annotated[Path, arg(metavar="FILE")]  # the picture: a row each, the target outlined
    recipe: MaybeRecipe = None  # whose shapes and clips, or cubes of the overview; default: those of none
    data: Folders = ()  # as for train; default: the sample volume and its label
    unlabelled: Folders = ()  # as for train
    clips: Count = 4  # or cubes, of each source
    seed: int = 0  # the same seed draws the same picture

    def run(self) -> int:
        """Draw and say what was drawn."""
        try:
            from limnet.training.cases import case_of, read_cases, read_images
            from limnet.training.gallery import gallery, write_gallery
            from limnet.training.recipe import Recipe, read_recipes
        except ModuleNotFoundError as error:
            raise ConfigError(f"synth needs {error.name}: pip install 'limnet[train]'") from None
        recipe = Recipe(network="interaction") if self.recipe is None else read_recipes(self.recipe)[0]
        exclude, split = recipe.data.exclude, recipe.data.split_components
        labelled, bare = (
            [place for paths in given for place in paths] for given in (self.data, self.unlabelled)
        )
        cases = [case for place in labelled for case in read_cases(place, exclude, split)]
        cases += [case for place in bare for case in read_images(place, exclude)]
        if not cases:
            from limnet import read_mask, read_volume
            from limnet.sample import sample_truth_path, sample_volume_path

            volume = read_volume(sample_volume_path())
            truth = read_mask(sample_truth_path(), like=volume)
            cases = [case_of("sample volume", "sample", volume, truth, volume.spacing)]
        rows = list(gallery(recipe, cases, self.seed, self.clips))
        write_gallery(self.png, rows)
        for row in rows:
            print(row.words)
        print(f"picture {self.png}")
        return 0
