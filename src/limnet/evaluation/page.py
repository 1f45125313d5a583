"""One HTML page that needs no other file: tables, plots as SVG, pictures as data; light, dark or printed."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from limnet.evaluation.plots import Plot
from limnet.evaluation.table import Table

_NO_PLOTS = (
    "No plots: matplotlib is not installed."
    ' Run <code>pip install "limnet[benchmark]"</code> and the command below again.'
)


@dataclass(frozen=True)
class Picture:
    """A picture for the page."""

    title: str  # its caption
    png: bytes
    alt: str  # what it shows, in words


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page around `parts`, which are HTML."""
    style = resources.files("limnet.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def report_page(
    *,
    sections: Sequence[tuple[str, Sequence[Table]]],
    plots: Sequence[Plot],
    pictures: Sequence[Picture],
    listed: Sequence[Table],
    left_out: Mapping[str, Sequence[str]],
    legend: str,
    command: str | None,
    facts: Mapping[str, str],
) -> str:
    """The page of an evaluation; `listed` tables are folded, since they are long."""
    blocks = {title: [table.html() for table in tables] for title, tables in sections[:1]}
    if sections:
        blocks["Plots"] = [_plots(plots) if plots else f"<p>{_NO_PLOTS}</p>"]
    blocks |= {title: [table.html() for table in tables] for title, tables in sections[1:]}
    if pictures:
        blocks["Cases"] = [_picture(picture) for picture in pictures]
    if listed:
        blocks["Every object"] = [
            f"<details><summary>{escape(table.title)}</summary>\n{table.html()}</details>" for table in listed
        ]
    for title, lines in left_out.items():
        blocks[title] = ["<ul>" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"]
    blocks["How it was made"] = made_by(command, facts)
    contents = "\n".join(
        f'<li><a href="#part-{number}">{escape(title)}</a></li>' for number, title in enumerate(blocks)
    )
    parts = [
        f'<p class="lead">{escape(legend)}</p>',
        f'<nav aria-label="Contents"><ul>\n{contents}\n</ul></nav>',
    ]
    for number, (title, found) in enumerate(blocks.items()):
        inner = "\n".join(found)
        parts.append(
            f'<section aria-labelledby="part-{number}">\n<h2 id="part-{number}">{escape(title)}</h2>\n'
            f"{inner}\n</section>"
        )
    return document("Evaluation", parts)


def made_by(command: str | None, facts: Mapping[str, str]) -> list[str]:
    """The command that remakes a page, and the machine."""
    parts = []
    if command:
        parts.append(f"<p>This page is remade by</p>\n<pre><code>{escape(command)}</code></pre>")
    if facts:
        rows = tuple((name, value) for name, value in facts.items())
        parts.append(
            Table("Machine and versions", ("what", "value"), rows)
            .html()
            .replace("<table>", '<table class="words">')
        )
    return parts


def _plots(plots: Sequence[Plot]) -> str:
    figures = "\n".join(
        f"<figure{' class=full' if plot.wide else ''}>"
        f"{plot.svg.replace('<svg', _svg_start(plot), 1)}"
        f"<figcaption>{escape(plot.title)}</figcaption></figure>"
        for plot in plots
    )
    return f'<div class="plots">\n{figures}\n</div>'


def _svg_start(plot: Plot) -> str:
    return f'<svg role="img" aria-label="{escape(plot.alt, quote=True)}"'


def _picture(picture: Picture) -> str:
    data, alt = base64.b64encode(picture.png).decode("ascii"), escape(picture.alt, quote=True)
    return (
        f'<figure class="full"><img src="data:image/png;base64,{data}" alt="{alt}">'
        f"<figcaption>{escape(picture.title)}</figcaption></figure>"
    )
