"""Drawings that lie in a page: matplotlib figures as SVG without fonts, dates, links or colours of their own.

matplotlib (extra `benchmark`) draws in stand-in colours, which become the page's (`var(--ink)`, `var(--s0)`):
one drawing serves light, dark and print. The same figures give the same bytes.
"""

from __future__ import annotations

import importlib.util
import io
import math
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

NUM_SERIES = 8  # colours of the page, --s0 to --s7; further series begin again, with another marker and dash

INK, GRID = "#010203", "#040506"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(NUM_SERIES))
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", "-.", ":")


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


@contextmanager
def house_style() -> Iterator[None]:
    """Figures made and saved within look alike, and like themselves at the next run."""
    import matplotlib

    settings: Any = {
        "svg.fonttype": "none",  # words stay words: small, and found by a search of the page
        "svg.hashsalt": "limnet",
        "font.family": ["sans-serif"],
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        **dict.fromkeys(
            ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK
        ),
    }
    with matplotlib.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches; no window, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def colour(number: int) -> str:
    """The stand-in colour of a series."""
    return SERIES[number % NUM_SERIES]


def line_style(number: int) -> dict[str, Any]:
    """Colour, marker and dash of a series: told apart without colour too."""
    return {
        "color": colour(number),
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def legend(figure: Any, panel: Any) -> None:
    """The series of `panel` named above the whole figure, when there are several."""
    handles, words = panel.get_legend_handles_labels()
    if len(words) > 1:
        columns = legend_columns(words, figure.get_figwidth())
        figure.legend(handles, words, loc="outside upper center", ncols=columns)


def legend_height(words: Collection[str], width: float) -> float:
    """How high a legend is above a figure so wide, in inches."""
    return 0.2 * math.ceil(len(words) / legend_columns(words, width)) if len(words) > 1 else 0.0


def legend_columns(words: Collection[str], width: float) -> int:
    """As many as fit: a letter of the legend is about 0.075 in wide, its sign 0.5 in."""
    longest = max(map(len, words), default=1)
    return max(1, min(len(words), int(width / (0.5 + 0.075 * longest))))


def svg_of(figure: Any, name: str) -> str:
    """The figure as an <svg> element for a page; `name` keeps its ids apart from those of others."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _for_a_page(file.getvalue(), name)


def _for_a_page(text: str, name: str) -> str:
    """Strip what belongs to a file of its own, and hand the colours over to the page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"| version="1.1"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"font-family: [^;\"]*;? ?|(font: [^;\"]*?px) [^;\"]*", r"\1", text)
    text = re.sub(r' transform="rotate\(-0 [\d. -]+\)"', "", text)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text
    )
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for stand_in, variable in ((INK, "ink"), (GRID, "grid"), *((c, f"s{n}") for n, c in enumerate(SERIES))):
        text = text.replace(stand_in, f"var(--{variable})")
    return re.sub(r"\s*\n\s*", "\n", text).strip()
