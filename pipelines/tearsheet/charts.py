"""The charts of the page as SVG paths in a unit square, stretched by the page to any width.

Text is not part of the drawing: the page sets the marks of both axes beside it, so that they stay
readable on a phone. y grows downwards, as SVG has it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from evaluation.tearsheet import ROLLING_DAYS, TearSheet, thinned
from pipelines.tearsheet.formats import Kind, say
from pipelines.tearsheet.scales import Scale, Tick, share_of, short, time_ticks, value_scale

SIDE = 1000
STRATEGY, HOLD = "strategy", "buy and hold"


@dataclass(frozen=True)
class Shape:
    """One path and the class that colours it."""

    path: str
    style: str


@dataclass(frozen=True)
class Chart:
    """A drawing with its axes, its legend and the values to be read off it.

    Attributes
    ----------
    title, summary : str
        The summary says in words what the drawing shows, for those who do not see it.
    legend : sequence of (name, style)
    readings : mapping
        ``{"kind", "at": [labels], "place": [0..1], "series": {name: [text]}}``.
    zero : float, optional
        Place of the zero line.
    """

    title: str
    summary: str
    shapes: list[Shape]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    legend: list[tuple[str, str]] = field(default_factory=list)
    readings: Mapping[str, Any] = field(default_factory=dict)
    zero: float | None = None


def curve_charts(sheet: TearSheet) -> list[Chart]:
    """Return equity and drawdown, and rolling Sharpe ratio and exposure where there is any."""
    curve = thinned(sheet.curve)
    both = bool(sheet.benchmark)
    fall = _pair(both, "drawdown", "buy_and_hold_drawdown")
    charts = [
        _over_time("Equity", curve, _pair(both, "equity", "buy_and_hold"), "money", log=True),
        _over_time("Under water", curve, fall, "percent", zero=True, filled=True),
    ]
    if curve["rolling_sharpe"].null_count() < curve.height:
        title = f"Sharpe ratio of the last {ROLLING_DAYS} days"
        charts.append(_over_time(title, curve, {STRATEGY: "rolling_sharpe"}, "ratio", zero=True))
    if (curve["exposure"] != 0).any():
        title = "Share of equity in positions"
        held = {STRATEGY: "exposure"}
        charts.append(_over_time(title, curve, held, "share", zero=True, filled=True))
    return charts


def distribution_chart(sheet: TearSheet) -> Chart:
    """Return how often which daily return came, with buying and holding as an outline."""
    bins = sheet.distribution
    low, high = float(bins["low"][0]), float(bins["high"][-1])
    x, y = Scale(low, high), value_scale([*bins["days"], *bins["buy_and_hold_days"]], zero=True)
    edges = [(x.place(a), x.place(b)) for a, b in bins.select("low", "high").iter_rows()]
    shapes = [Shape(_steps(edges, [y.place(n) for n in bins["days"]]), "area a")]
    legend = [(STRATEGY, "a")]
    if sheet.benchmark:
        outline = _steps(edges, [y.place(n) for n in bins["buy_and_hold_days"]])
        shapes.append(Shape(outline, "line b"))
        legend.append((HOLD, "b"))
    days = int(bins["days"].sum())
    return Chart(
        "Daily returns",
        f"{days} days between {say(low, 'percent')} and {say(high, 'percent')}.",
        shapes,
        x.ticks("percent"),
        y.ticks("count"),
        legend,
        zero=None,
    )


def fan_chart(sheet: TearSheet) -> Chart | None:
    """Return the percentiles of the resampled equity, or None."""
    fan = sheet.sections.monte_carlo
    if fan is None or fan.height < 2:
        return None
    x = Scale(float(fan["step"][0]), float(fan["step"][-1]))
    y = value_scale([*fan["p05"], *fan["p95"]], log=True)
    along = [x.place(s) for s in fan["step"]]

    def up(name: str) -> list[float]:
        return [y.place(v) for v in fan[name]]

    return Chart(
        "Monte Carlo: equity as a multiple of the capital, by bars",
        f"After {int(x.high):,} bars the middle path stands at {fan['p50'][-1]:.3g} times the capital; nine "
        f"in ten end between {fan['p05'][-1]:.3g} and {fan['p95'][-1]:.3g}.",
        [
            Shape(_band(along, up("p05"), up("p95")), "area a faint"),
            Shape(_band(along, up("p25"), up("p75")), "area a"),
            Shape(_line(along, up("p50")), "line a"),
        ],
        x.ticks("count"),
        y.ticks("ratio"),
        [("middle path", "a"), ("half of the paths", "a half"), ("nine in ten", "a faint")],
        _read(
            along,
            [f"{s:,} bars" for s in fan["step"]],
            {p: fan[p] for p in ("p05", "p50", "p95")},
            "ratio",
        ),
    )


def capacity_chart(sheet: TearSheet) -> Chart | None:
    """Return the annual return by capital, or None."""
    grid = sheet.sections.capacity
    if grid is None or grid.height < 2:
        return None
    grid = grid.sort("capital")
    x = Scale(float(grid["capital"][0]), float(grid["capital"][-1]), logarithmic=True)
    y = value_scale(_floats(grid["annual_return"]), zero=True)
    along = [x.place(c) for c in grid["capital"]]
    places = [y.place(v) for v in _floats(grid["annual_return"])]
    return Chart(
        "Annual return by capital",
        "Annual return falls or holds as the capital grows: "
        + ", ".join(
            f"{short(c, 'money')}: {say(r, 'percent')}"
            for c, r in grid.select("capital", "annual_return").iter_rows()
        ),
        [Shape(_line(along, places), "line a"), Shape(_dots(along, places), "dots a")],
        [Tick(p, short(c, "money")) for p, c in zip(along, grid["capital"], strict=True)],
        y.ticks("percent"),
        zero=y.place(0.0),
    )


def _pair(both: bool, own: str, other: str) -> dict[str, str]:
    return {STRATEGY: own, HOLD: other} if both else {STRATEGY: own}


def _over_time(
    title: str,
    curve: pl.DataFrame,
    series: Mapping[str, str],
    kind: Kind,
    *,
    zero: bool = False,
    log: bool = False,
    filled: bool = False,
) -> Chart:
    start, end = curve["known_at"][0], curve["known_at"][-1]
    values = {name: _floats(curve[column]) for name, column in series.items()}
    y = value_scale([v for each in values.values() for v in each], zero=zero, log=log)
    along = [share_of(t, start, end) for t in curve["known_at"]]
    places = [
        [y.place(v) if math.isfinite(v) else math.nan for v in each] for each in values.values()
    ]
    lines = [
        Shape(_line(along, p), f"line {style}") for style, p in zip("ab", places, strict=False)
    ]
    area = [Shape(_band(along, [y.place(0.0)] * len(along), places[0]), "area a")] if filled else []
    labels = [say(t, "instant") for t in curve["known_at"]]
    return Chart(
        title + (", log scale" if y.logarithmic else ""),
        _summary(values, kind),
        area + lines[::-1],
        time_ticks(start, end),
        y.ticks(kind),
        list(zip(values, "ab", strict=False)),
        _read(along, labels, values, kind),
        zero=y.place(0.0) if zero else None,
    )


def _summary(values: Mapping[str, Sequence[float]], kind: Kind) -> str:
    told = []
    for name, each in values.items():
        known = [v for v in each if math.isfinite(v)]
        if known:
            low, high, last = (say(v, kind) for v in (min(known), max(known), known[-1]))
            told.append(f"{name}: lowest {low}, highest {high}, last {last}")
    return "; ".join(told).capitalize() + "."


def _read(
    along: Sequence[float], labels: Sequence[str], values: Mapping[str, Iterable[float]], kind: Kind
) -> dict[str, Any]:
    return {
        "at": list(labels),
        "place": [round(p, 4) for p in along],
        "series": {name: [say(v, kind) for v in each] for name, each in values.items()},
    }


def _floats(values: pl.Series) -> list[float]:
    return values.cast(pl.Float64).fill_null(math.nan).to_list()


def _point(x: float, y: float) -> str:
    return f"{x * SIDE:.1f} {(1 - y) * SIDE:.1f}"


def _line(along: Sequence[float], places: Sequence[float]) -> str:
    """Return a path that is broken where a place is NaN."""
    path, drawing = [], False
    for x, y in zip(along, places, strict=True):
        if math.isfinite(y):
            path.append(("L" if drawing else "M") + _point(x, y))
        drawing = math.isfinite(y)
    return "".join(path)


def _band(along: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    points = [p for p in zip(along, low, high, strict=True) if math.isfinite(p[1] + p[2])]
    if not points:
        return ""
    up = [_point(x, y) for x, _, y in points]
    down = [_point(x, y) for x, y, _ in reversed(points)]
    return "M" + "L".join(up + down) + "Z"


def _steps(edges: Sequence[tuple[float, float]], heights: Sequence[float]) -> str:
    path = "M" + _point(edges[0][0], 0.0)
    for (left, right), height in zip(edges, heights, strict=True):
        path += "L" + _point(left, height) + "L" + _point(right, height)
    return path + "L" + _point(edges[-1][1], 0.0)


def _dots(along: Sequence[float], places: Sequence[float]) -> str:
    return "".join(
        f"M{_point(x, y)}h0" for x, y in zip(along, places, strict=True) if math.isfinite(y)
    )
