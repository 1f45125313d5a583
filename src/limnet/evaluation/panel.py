"""A panel: every set below one folder (ROOT/SET/images, ROOT/SET/labels), evaluated under one recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limnet.config import from_table, read_toml
from limnet.errors import CaseError, ConfigError
from limnet.evaluation.cases import EvaluationSet, Skipped, find_set
from limnet.evaluation.evaluate import EvaluationSettings, NewSession, evaluate
from limnet.evaluation.results import Event


@dataclass(frozen=True, kw_only=True)
class SetRecipe:
    """What is evaluated of one set; sets that a recipe does not name are evaluated whole."""

    name: str  # the folder's
    ids: tuple[int, ...] = ()  # label ids; none named: all but 0
    min_ml: float = 0.0  # smaller objects are left out

    def __post_init__(self) -> None:
        if any(label < 1 for label in self.ids):
            raise ConfigError(f"set {self.name!r}: ids must be 1 or more (0 is background), got {self.ids}")
        if self.min_ml < 0:
            raise ConfigError(f"set {self.name!r}: min_ml must not be negative, got {self.min_ml}")


@dataclass(frozen=True, kw_only=True)
class PanelRecipe:
    """A protocol and its sets; `recipes/panel.toml` is the project's own."""

    rounds: int = 6  # one click each
    cap: int = 15  # where NoC gives up; see EvaluationSettings
    sets: tuple[SetRecipe, ...] = ()

    def __post_init__(self) -> None:
        EvaluationSettings(rounds=self.rounds, cap=self.cap)  # checks both
        names = [item.name for item in self.sets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"set {twice!r} is named twice; keep one")

    def settings(self, *, method: str = "limnet", fusion: bool = True) -> EvaluationSettings:
        """The recipe's protocol, for one method."""
        return EvaluationSettings(rounds=self.rounds, cap=self.cap, method=method, fusion=fusion)


def read_panel(path: Path) -> PanelRecipe:
    """Read a recipe from TOML; ConfigError when it is malformed or knows a key that we do not."""
    return from_table(PanelRecipe, read_toml(path), str(path))


def panel_sets(root: Path, recipe: PanelRecipe, *, limit_per_set: int | None = None) -> list[EvaluationSet]:
    """The sets below `root` in order of their names; with `limit_per_set`, the first few cases of each.

    CaseError when there is none.
    """
    if not root.is_dir():
        raise CaseError(f"{root}: no such folder; expected one with SET/images and SET/labels in it")
    by_name = {item.name: item for item in recipe.sets}
    sets = []
    for folder in sorted(path for path in root.iterdir() if (path / "images").is_dir()):
        chosen = by_name.get(folder.name, SetRecipe(name=folder.name))
        sets.append(
            find_set(
                folder / "images",
                folder / "labels",
                name=folder.name,
                ids=chosen.ids,
                min_ml=chosen.min_ml,
                limit=limit_per_set,
            )
        )
    if not sets:
        raise CaseError(f"{root}: no set in it; expected SET/images and SET/labels")
    return sets


def evaluate_panel(
    root: Path,
    recipe: PanelRecipe,
    new_session: NewSession,
    settings: EvaluationSettings | None = None,
    *,
    out: Path | None = None,
    limit_per_set: int | None = None,
) -> Iterator[Event]:
    """Evaluate every set below `root`; `settings` overrides the recipe's protocol.

    A set that the recipe names and `root` lacks is reported as left out.
    """
    sets = panel_sets(root, recipe, limit_per_set=limit_per_set)
    present = {item.name for item in sets}
    for item in recipe.sets:
        if item.name not in present:
            yield Skipped(
                item.name, "", None, f"named in the recipe, but there is no {root / item.name}/images"
            )
    yield from evaluate(sets, new_session, settings or recipe.settings(), out=out)
