"""TOML becomes frozen settings; whatever does not fit is an error that names the place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from limnet.config import from_table, read_toml
from limnet.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    write_every: int = 5
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    sizes: tuple[int, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    weights: dict[str, float] = field(default_factory=dict)
    bold: bool = False
    inner: Inner = field(default_factory=Inner)


def test_nested_tables_build_nested_dataclasses() -> None:
    table = {"name": "a", "sizes": [1, 2], "pair": [3, 4], "weights": {"x": 1}, "inner": {"write_every": 7}}
    assert from_table(Outer, table, "r") == Outer(
        name="a", sizes=(1, 2), pair=(3, 4.0), weights={"x": 1.0}, inner=Inner(write_every=7)
    )


def test_integers_are_accepted_as_floats_and_become_floats() -> None:
    assert isinstance(from_table(Inner, {"share": 1}, "r").share, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"name": "a", "inner": {"write_evry": 1}},
            "r inner: 'write_evry' is not a setting; did you mean 'write_every'?",
        ),
        (
            {"name": "a", "zzz": 1},
            "r: 'zzz' is not a setting; known: bold, inner, name, pair, sizes, weights",
        ),
        ({}, "r: 'name' is missing; it has no default"),
        ({"name": 3}, "r name: expected str, got 3"),
        ({"name": "a", "inner": {"write_every": True}}, "r inner write_every: expected int, got True"),
        ({"name": "a", "inner": {"write_every": 1.5}}, "r inner write_every: expected int, got 1.5"),
        ({"name": "a", "inner": {"share": True}}, "r inner share: expected float, got True"),
        ({"name": "a", "inner": 3}, "r inner: expected a table, got 3"),
        ({"name": "a", "sizes": 3}, "r sizes: expected a list, got 3"),
        ({"name": "a", "sizes": [1, "b"]}, "r sizes: expected int, got 'b'"),
        ({"name": "a", "pair": [1]}, "r pair: expected 2 values, got 1"),
        ({"name": "a", "weights": [1]}, "r weights: expected a table, got [1]"),
        ({"name": "a", "weights": {"x": "y"}}, "r weights.x: expected float, got 'y'"),
        ({"name": "a", "bold": 1}, "r bold: expected bool, got 1"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error_naming_the_place(
    table: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        from_table(Outer, table, "r")
    assert str(error.value) == message


def test_toml_is_read_into_tables(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('name = "é"\n[inner]\nshare = 0.25\n', encoding="utf-8")
    assert read_toml(path) == {"name": "é", "inner": {"share": 0.25}}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such recipe"), (b"a = = 1", "not valid TOML"), (b'a = "\xff"', "cannot be read")],
)
def test_a_file_that_is_no_recipe_is_an_error_naming_it(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "r.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        read_toml(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path)
