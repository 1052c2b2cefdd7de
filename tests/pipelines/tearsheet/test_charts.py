import dataclasses
import re
from collections.abc import Callable

import polars as pl
import pytest

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.charts import (
    Chart,
    capacity_chart,
    curve_charts,
    distribution_chart,
    fan_chart,
)

Build = Callable[..., TearSheet]
POINT = re.compile(r"[ML](-?[\d.]+) (-?[\d.]+)")


def charts(sheet: TearSheet) -> list[Chart]:
    found = [
        *curve_charts(sheet),
        distribution_chart(sheet),
        fan_chart(sheet),
        capacity_chart(sheet),
    ]
    return [chart for chart in found if chart is not None]


def test_everything_is_drawn_inside_the_square(build_sheet: Build) -> None:
    for chart in charts(build_sheet()):
        points = [tuple(map(float, p)) for s in chart.shapes for p in POINT.findall(s.path)]
        assert points
        assert all(0 <= x <= 1000 and 0 <= y <= 1000 for x, y in points), chart.title


def test_the_last_point_stands_where_the_last_value_does(build_sheet: Build) -> None:
    sheet = build_sheet()
    fall = curve_charts(sheet)[1]
    line = next(s for s in fall.shapes if s.style == "line a")
    x, y = map(float, POINT.findall(line.path)[-1])
    low = min(sheet.curve["drawdown"].min(), sheet.curve["buy_and_hold_drawdown"].min())
    assert x == 1000
    # 4 % of the span is left free below
    assert y == pytest.approx(1000 * sheet.curve["drawdown"][-1] / (low * 1.04), abs=0.1)


def test_a_chart_says_what_it_shows(build_sheet: Build) -> None:
    equity = curve_charts(build_sheet())[0]
    assert equity.title == "Equity"
    assert equity.summary.startswith("Strategy: lowest ")
    assert "buy and hold: lowest" in equity.summary
    readings = equity.readings
    assert len(readings["at"]) == len(readings["place"]) == len(readings["series"]["strategy"])
    assert readings["place"][-1] == 1


def test_without_a_benchmark_there_is_one_line_and_no_empty_chart(build_sheet: Build) -> None:
    found = curve_charts(build_sheet(300, 0, plain=True))
    assert [c.title for c in found] == ["Equity", "Under water", "Share of equity in positions"]
    assert [s.style for s in found[0].shapes] == ["line a"]
    assert fan_chart(build_sheet(300, 0, plain=True)) is None


def test_a_record_that_never_held_anything_has_no_chart_of_what_it_held(build_sheet: Build) -> None:
    sheet = build_sheet(300, 0, plain=True)
    idle = dataclasses.replace(sheet, curve=sheet.curve.with_columns(exposure=pl.lit(0.0)))
    assert [c.title for c in curve_charts(idle)] == ["Equity", "Under water"]


def test_a_wide_curve_is_drawn_on_a_log_scale(build_sheet: Build) -> None:
    sheet = build_sheet(300, 0, plain=True)
    grown = sheet.curve.with_columns(pl.col("equity") * pl.int_range(pl.len()).add(1))
    chart = curve_charts(dataclasses.replace(sheet, curve=grown))[0]
    assert chart.title == "Equity, log scale"
