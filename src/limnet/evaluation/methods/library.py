"""Packages that only baselines need, and what to do when one is not there."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from limnet.errors import ConfigError


@dataclass(frozen=True)
class Library:
    """A module of a package that limnet does not bring."""

    module: str  # as it is imported
    package: str  # as it is installed

    def load(self) -> ModuleType:
        """The module; ConfigError that says how to get it."""
        try:
            return import_module(self.module)
        except ImportError:
            raise ConfigError(
                f"this baseline needs {self.package}, which is not installed;"
                " run: pip install 'limnet[benchmark]'"
            ) from None
