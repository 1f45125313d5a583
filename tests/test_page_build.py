"""The build hook: when the page is built anew, and what happens when it cannot be."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def hook_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """hatch_build.py, which is no part of the package."""
    monkeypatch.delenv("LIMNET_PAGE", raising=False)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "hatch_build", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with a page of one source."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "main.ts").write_text("1")
    return tmp_path


class App:
    """Where hatchling's warnings go."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        self.warnings.append(text)


def hook_of(module: ModuleType, root: Path) -> tuple[Any, App]:
    """The hook as hatchling makes it, without a builder."""
    app = App()
    return module.PageHook(str(root), {}, None, None, str(root / "dist"), "wheel", app), app


def stamp(module: ModuleType, tree: Path) -> Path:
    """Pretend that the page was built from the present sources."""
    page = tree / "src" / "limnet" / "server" / "page"
    page.mkdir(parents=True)
    (page / module.STAMP).write_text(module.digest_of(tree / "web"))
    return page


def never(*_: Any) -> None:
    raise AssertionError("built again")


def broken(*_: Any) -> None:
    raise LookupError("npm 10 or newer is not installed")


def test_a_page_of_the_same_sources_is_not_built_again(
    hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp(hook_module, tree)
    monkeypatch.setattr(hook_module, "build_page", never)
    hook_of(hook_module, tree)[0].initialize("standard", {})


def test_a_changed_source_makes_the_page_old(hook_module: ModuleType, tree: Path) -> None:
    page = stamp(hook_module, tree)
    assert hook_module.is_current(tree / "web", page)
    (tree / "web" / "main.ts").write_text("2")
    assert not hook_module.is_current(tree / "web", page)


def test_installed_npm_packages_are_no_sources(hook_module: ModuleType, tree: Path) -> None:
    before = hook_module.digest_of(tree / "web")
    (tree / "web" / "node_modules").mkdir()
    (tree / "web" / "node_modules" / "other.js").write_text("3")
    assert hook_module.digest_of(tree / "web") == before


def test_a_page_that_cannot_be_built_is_a_warning(
    hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_module, "build_page", broken)
    hook, app = hook_of(hook_module, tree)
    hook.initialize("editable", {})
    (warning,) = app.warnings
    assert "npm 10 or newer is not installed" in warning and "docs/page.md" in warning


def test_a_release_without_a_page_is_an_error(
    hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNET_PAGE", "require")
    monkeypatch.setattr(hook_module, "build_page", broken)
    with pytest.raises(RuntimeError, match="LIMNET_PAGE=require"):
        hook_of(hook_module, tree)[0].initialize("standard", {})


def test_node_is_asked_for_only_where_npm_is_missing_and_a_page_is_due(
    hook_module: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, _ = hook_of(hook_module, tree)
    monkeypatch.setattr(hook_module, "npm_of_path", lambda: "/usr/bin/npm")
    assert hook.dependencies() == []
    monkeypatch.setattr(hook_module, "npm_of_path", lambda: None)
    assert hook.dependencies() == [hook_module.NODE_PACKAGE]
    stamp(hook_module, tree)
    assert hook.dependencies() == []


def test_no_package_of_the_page_names_where_it_was_fetched() -> None:
    lock = (ROOT / "web" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock and "registry" not in lock
