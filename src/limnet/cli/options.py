"""Options that several commands share: their types, and the words that stand for their values in --help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg
from tyro.constructors import PrimitiveConstructorSpec


def parse_count(text: str) -> int:
    """A whole number from 1 on; ValueError for anything else.

    >>> parse_count("2")
    2
    """
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


_COUNT: PrimitiveConstructorSpec[Any] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N",
    instance_from_str=lambda texts: parse_count(texts[0]),
    is_instance=lambda value: value is None or isinstance(value, int),
    str_from_instance=lambda value: [str(value)],
)

# What may be left out says itself what happens then: the hint "(default: None)" is turned off.
VolumePath = Annotated[Positional[Path], arg(metavar="VOLUME")]
MaybeVolumePath = Annotated[Positional[Path | None], arg(metavar="[VOLUME]", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Folder = Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")]
SeriesName = Annotated[str | None, arg(metavar="UID", help_behavior_hint="")]
Count = Annotated[int, _COUNT]
MaybeCount = Annotated[int | None, _COUNT, arg(help_behavior_hint="")]
