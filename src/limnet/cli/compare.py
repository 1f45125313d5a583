"""limnet compare: two evaluations on the same objects, object by object."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limnet.cli.options import File
from limnet.cli.terminal import aligned
from limnet.errors import ConfigError, OutputError
from limnet.evaluation.comparison import LEGEND, Comparison, choose, sides_of
from limnet.evaluation.page import document
from limnet.evaluation.results import read_folder
from limnet.evaluation.table import bullets, markdown_of
from limnet.text_file import write_whole

FolderA = Annotated[Positional[Path], arg(metavar="A")]
FolderB = Annotated[Positional[Path | None], arg(metavar="[B]", help_behavior_hint="")]
Words = Annotated[str, arg(metavar="WORDS", help_behavior_hint="")]


@dataclass(frozen=True)
class Compare:
    """Tell whether result B is better than result A, and how sure that is: paired, by set and by round."""

    folder_a: FolderA  # what limnet evaluate --out wrote
    folder_b: FolderB = None  # another such folder; default: the same, and --a and --b tell its methods apart
    a: Words = ""  # which result of A, when it holds several: words of its title, such as "limnet,fusion on"
    b: Words = ""  # likewise of B
    metric: Literal["dice", "iou", "nsd_1mm", "nsd_2mm", "nsd_3mm"] = "dice"  # what is compared
    out: File = None  # gets the tables too: .md or .html

    def run(self) -> int:
        """Compare, print and write the tables."""
        if self.out is not None and self.out.suffix not in (".md", ".html"):
            raise ConfigError(f"--out {self.out}: expected a name that ends in .md or .html")
        of_a = sides_of(read_folder(self.folder_a), self.metric)
        of_b = of_a if self.folder_b is None else sides_of(read_folder(self.folder_b), self.metric)
        a, b = choose(of_a, self.a, "--a"), choose(of_b, self.b, "--b")
        if self.folder_b is None and a is b:
            raise ConfigError("--a and --b name the same result; name two, or give a second folder")
        found = Comparison.of(a, b, self.metric)
        print("\n".join(found.notes()), end="\n\n")
        for table in found.tables():
            print(f"{table.title}\n\n{aligned(table)}\n")
        print(LEGEND)
        if self.out is not None:
            _write(self.out, markdown_page(found) if self.out.suffix == ".md" else html_page(found))
            print(f"\ntables  {self.out}")
        return 0


def markdown_page(found: Comparison) -> str:
    """The comparison in Markdown."""
    parts = ["# Comparison", bullets(found.notes()), *markdown_of(found.tables(), level=2), LEGEND]
    return "\n\n".join(parts) + "\n"


def html_page(found: Comparison) -> str:
    """The comparison as a page that needs no other file."""
    notes = "\n".join(f"<li>{escape(line)}</li>" for line in found.notes())
    tables = [table.html() for table in found.tables()]
    return document("Comparison", [f"<ul>\n{notes}\n</ul>", *tables, f'<p class="lead">{escape(LEGEND)}</p>'])


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}; give another --out") from None
