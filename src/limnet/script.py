"""A script: the prompts of one object in a JSON file, one round each.

```json
{"clicks": [{"index": [120, 88, 14]}, {"index": [131, 90, 17], "positive": false, "axis": 2}],
 "prompts": [{"box": [[90, 70, 14], [140, 110, 14]]}, {"scribble": [[100, 80, 14], [120, 88, 14]]}]}
```
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from limnet.config import from_table
from limnet.errors import ConfigError, PromptError
from limnet.prompt import Voxel
from limnet.session import Session


@dataclass(frozen=True)
class ScriptedClick:
    """One round of a script: a click, and the axis across which its slice is cut (None: the session's)."""

    index: Voxel
    positive: bool = True
    axis: int | None = None

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        return (self.index,)

    def give(self, session: Session) -> None:
        """Click."""
        session.click(self.index, positive=self.positive, axis=self.axis)


@dataclass(frozen=True)
class ScriptedPrompt:
    """One round of a script: a click, box, scribble or lasso, and the axis across which its slice is cut."""

    click: tuple[int, ...] = ()  # i, j, k
    box: tuple[Voxel, ...] = ()  # two corners, inclusive
    scribble: tuple[Voxel, ...] = ()  # points of a line, in order
    lasso: tuple[Voxel, ...] = ()  # corners of an outline, in order
    positive: bool = True
    axis: int | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("click", "box", "scribble", "lasso") if getattr(self, name)]
        if len(given) != 1:
            raise ConfigError(
                f"expected one of click, box, scribble and lasso, got {' and '.join(given) or 'none'}"
            )
        if self.click and len(self.click) != 3:
            raise ConfigError(f"click: expected 3 numbers i, j, k, got {len(self.click)}")
        if self.box and len(self.box) != 2:
            raise ConfigError(f"box: expected its two corners, got {len(self.box)}")

    @property
    def corners(self) -> tuple[Voxel, ...]:
        """The voxels that say where it is."""
        if self.click:
            i, j, k = self.click
            return ((i, j, k),)
        return self.box or self.scribble or self.lasso

    def give(self, session: Session) -> None:
        """Click or draw."""
        if self.click:
            session.click(self.corners[0], positive=self.positive, axis=self.axis)
        elif self.box:
            low, high = self.box
            session.box(low, high, positive=self.positive, axis=self.axis)
        elif self.scribble:
            session.scribble(self.scribble, positive=self.positive, axis=self.axis)
        else:
            session.lasso(self.lasso, positive=self.positive, axis=self.axis)


Scripted = ScriptedClick | ScriptedPrompt


@dataclass(frozen=True)
class Script:
    """A file of --prompts: one round per click, then one per prompt of any kind, in order."""

    clicks: tuple[ScriptedClick, ...] = ()
    prompts: tuple[ScriptedPrompt, ...] = ()

    def __post_init__(self) -> None:
        if not (self.clicks or self.prompts):
            raise ConfigError("holds no prompt; expected a list 'clicks' or 'prompts'")


def read_script(path: Path) -> Script:
    """The prompts of a file; a file that is not one is a PromptError that shows what is expected."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, dict):
            raise ValueError(f"it holds a {type(table).__name__}")
        return from_table(Script, table, str(path))
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except ValueError as error:  # JSON and UTF-8 errors are ValueErrors
        raise PromptError(f'{path}: not a prompts file: {error}; expected {{"clicks": [...]}}') from None
