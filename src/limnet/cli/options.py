"""Options that several commands share: their types, and the words that stand for their values in --help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

VolumePath = Annotated[Positional[Path], arg(metavar="VOLUME")]
File = Annotated[Path | None, arg(metavar="FILE")]
Folder = Annotated[Path | None, arg(metavar="DIR")]
Count = Annotated[int | None, arg(metavar="N")]
