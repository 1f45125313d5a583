"""The page: whole in itself, readable to machines that read aloud, the same bytes for the same results."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from limnet.evaluation import report as report_module
from limnet.evaluation.page import Picture
from limnet.evaluation.report import Report
from limnet.evaluation.svg import legend_columns
from limnet.evaluation.table import Table
from rows import done

PICTURE = Picture("best: s / c, <kidney>", b"\x89PNG", 'three "slices"')
OBJECTS = [
    done(0.2 + number / 10, 0.5, 0.4, case=str(number), fusion=fusion, slices=[[(0.5, 0.4), (0.9, 0.8)]] * 3)
    for number in range(4)
    for fusion in (True, False)
]


class Tags(HTMLParser):
    """Every opening tag with its attributes; what is opened must be closed."""

    EMPTY = ("meta", "img", "path", "use", "rect", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


def html() -> str:
    report = Report(event for item in OBJECTS for event in (*item.rows, *item.slices))
    return report.html("limnet evaluate <x>", {"cores": "2"}, [PICTURE])


@pytest.fixture(scope="module")
def page() -> str:
    pytest.importorskip("matplotlib")
    return html()


def test_the_page_asks_for_nothing_from_elsewhere(page: str) -> None:
    assert not re.search(r"https?:|//\w|@import|<script|<link", page)
    sources = [attrs["src"] for attrs in Tags(page).of("img")]
    assert all(source is not None and source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"url\((?!#)", page)


def test_every_tag_is_closed_and_every_id_is_there_once(page: str) -> None:
    tags = Tags(page)
    assert tags.open == []
    ids = [attrs["id"] for _, attrs in tags.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="|url\()#([^")]+)', page)
    assert set(targets) <= set(ids)


def test_tables_have_captions_and_scopes(page: str) -> None:
    tags = Tags(page)
    assert len(tags.of("caption")) == len(tags.of("table")) > 5
    assert {attrs.get("scope") for attrs in tags.of("th")} == {"col", "row"}


def test_plots_and_pictures_are_told_in_words(page: str) -> None:
    tags = Tags(page)
    assert len(tags.of("svg")) == 5
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in tags.of("svg"))
    assert [attrs["alt"] for attrs in tags.of("img")] == [PICTURE.alt]


def test_curves_of_one_set_are_drawn_once_and_no_wider_than_other_plots() -> None:
    pytest.importorskip("matplotlib")
    one = Report(row for item in OBJECTS for row in item.rows).html()
    more = [*OBJECTS, done(0.5, 0.5, 0.4, set_name="t"), done(0.5, 0.5, 0.4, set_name="t", fusion=False)]
    two = Report(row for item in more for row in item.rows).html()
    assert [text.count(">mean over sets</text>") for text in (one, two)] == [0, 1]
    assert [text.count("<figure class=full>") for text in (one, two)] == [1, 2]  # box plots are always wide


def test_plots_take_their_colours_from_the_page(page: str) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--s0)" in plots
    assert "var(--s1)" in plots
    assert set(re.findall(r"#[0-9a-f]{6}\b", plots)) == set()


def test_words_from_outside_are_escaped(page: str) -> None:
    assert "&lt;kidney&gt;" in page
    assert "limnet evaluate &lt;x&gt;" in page


def test_the_same_results_give_the_same_page(page: str) -> None:
    assert html() == page


def test_without_matplotlib_the_page_says_how_to_get_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "can_draw", lambda: False)
    text = html()
    assert "<svg" not in text
    assert 'pip install "limnet[benchmark]"' in text
    assert "<table" in text


def test_an_interval_stands_beside_its_mean_and_keeps_its_place_where_there_is_none() -> None:
    text = Table("t", ("set", "Dice"), (("a", "0.50 [0.40, 0.60]"), ("b", "0.70"))).html()
    assert '<td>0.50 <span class="ci">[0.40, 0.60]</span></td>' in text
    assert '<td>0.70 <span class="ci"></span></td>' in text


def test_a_legend_of_long_names_takes_more_lines() -> None:
    assert legend_columns(["a" * 10] * 4, 5.0) == 4
    assert legend_columns(["a" * 60] * 4, 5.0) == 1
