import dataclasses
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import polars as pl

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.html import heat, render_html

Build = Callable[..., TearSheet]
VOID = {"meta", "br", "path", "link"}


class Outline(HTMLParser):
    """Which elements a page has, with their attributes, and whether all are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_the_page_needs_nothing_from_anywhere(build_sheet: Build) -> None:
    page = render_html(build_sheet())
    outline = Outline(page)
    assert outline.open == []
    assert not [a for _, a in outline.seen if "src" in a or "href" in a]
    assert not re.search(r"url\(|@import|https?://", page)


def test_every_section_is_there(build_sheet: Build) -> None:
    text = Outline(render_html(build_sheet())).text
    for heading in (
        "Equity", "Under water", "Figures", "Returns by month", "Daily returns", "By symbol", "By exit",
        "By regime", "Best trades", "Worst trades", "Costs by order", "Why it traded, or did not",
        "How far to trust it", "Stress", "Sensitivity", "Sensitivity to costs", "Capacity",
    ):  # fmt: skip
        assert heading in text, heading


def test_the_stamp_stands_above_everything(build_sheet: Build) -> None:
    page = render_html(build_sheet(300, 0, plain=True, stamp="IN-SAMPLE: <b>fitted</b> here"))
    assert 'role="alert">IN-SAMPLE: &lt;b&gt;fitted&lt;/b&gt; here</div>' in page
    assert page.index("IN-SAMPLE") < page.index("<h1>")
    assert 'role="alert"' not in render_html(build_sheet(300, 0, plain=True))


def test_tables_have_heads_and_can_be_scrolled_by_keyboard(build_sheet: Build) -> None:
    seen = Outline(render_html(build_sheet())).seen
    tables = sum(tag == "table" for tag, _ in seen)
    frames = [a for tag, a in seen if tag == "div" and a.get("class") == "frame"]
    assert tables == len(frames) > 15
    assert all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in frames)
    assert all(a.get("scope") in {"col", "row"} for tag, a in seen if tag == "th")
    drawings = [a for tag, a in seen if tag == "svg"]
    assert drawings
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)


def test_a_record_without_trades_explains_itself(build_sheet: Build) -> None:
    sheet = build_sheet(300, 0, plain=True)
    quiet = dataclasses.replace(
        sheet,
        explanation="Nothing was traded: of 9 changes asked for, the rule cooldown cut the last 9.",
        waterfall=sheet.waterfall.with_columns(
            pl.when(pl.col("stage") == "bars").then("count").otherwise(0).alias("count")
        ),
    )
    page = render_html(quiet)
    assert "Nothing was traded: of 9 changes asked for" in page
    assert "How far to trust it" not in page
    assert 'class="none"' in page


def test_what_is_read_off_a_chart_names_the_strategy_first(build_sheet: Build) -> None:
    page = render_html(build_sheet(800, 3))
    readings = [json.loads(text) for text in re.findall(r'application/json">(.*?)</script>', page)]
    assert list(readings[0]["series"]) == ["strategy", "buy and hold"]
    assert len(readings[0]["series"]["strategy"]) == len(readings[0]["at"]) == 800


def test_a_name_from_outside_is_text_and_not_markup(build_sheet: Build) -> None:
    sheet = dataclasses.replace(build_sheet(300, 0, plain=True), title="<script>alert(1)</script>")
    assert "<script>alert(1)" not in render_html(sheet)


def test_the_heat_of_a_month_grows_with_its_return() -> None:
    assert heat(None) == heat(0.0) == heat(float("nan")) == ""
    assert heat(0.2) == heat(0.9) == "background: color-mix(in srgb, var(--good) 40%, transparent)"
    assert "var(--bad) 21%" in heat(-0.05)
