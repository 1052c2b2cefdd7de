"""The sheet on A4 paper: type and lines as vectors, a section a heading, tables whole."""

import math
from io import BytesIO
from typing import Any

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages

from evaluation.tearsheet import ROLLING_DAYS, TearSheet, thinned
from pipelines.tearsheet.charts import HOLD, STRATEGY
from pipelines.tearsheet.figures import BY_KEY, GROUPS, TILES
from pipelines.tearsheet.formats import Kind, say
from pipelines.tearsheet.paper import BAD, BLUE, GOOD, INNER, LEFT, ORANGE, SOFT, Paper
from pipelines.tearsheet.paper_tables import set_table
from pipelines.tearsheet.scales import Scale, share_of, time_ticks, value_scale
from pipelines.tearsheet.tables import (
    Column,
    Table,
    breakdown_tables,
    capacity_table,
    cost_tables,
    extreme_trades,
    figures,
    monte_carlo_rows,
    months_table,
    sensitivity_tables,
    stress_table,
    waterfall_bars,
    waterfall_table,
)

# Whatever a matplotlibrc of this machine says, the document is the same.
_STYLE: Any = {"pdf.fonttype": 3, "font.family": "DejaVu Sans", "axes.unicode_minus": True}
_STRONGEST = 0.20


def render_pdf(sheet: TearSheet) -> bytes:
    """Return the document; a function of the sheet alone, to the byte."""
    content = BytesIO()
    about = {
        "Title": f"{sheet.title}: tear sheet",
        "Creator": "Hourglass",
        "CreationDate": sheet.end,
    }
    with mpl.rc_context(_STYLE), PdfPages(content, metadata=about) as pages:
        paper = Paper(pages, f"{sheet.title}, to {say(sheet.end, 'instant')} UTC", sheet.stamp)
        _first_page(paper, sheet)
        _figures(paper, sheet)
        _sources(paper, sheet)
        _trust(paper, sheet)
        paper.close()
    return content.getvalue()


def _first_page(paper: Paper, sheet: TearSheet) -> None:
    paper.text(LEFT, sheet.title, 16, weight="bold")
    paper.at += 0.34
    paper.paragraph(
        f"{say(sheet.start, 'instant')} to {say(sheet.end, 'instant')} UTC, {sheet.bars:,} bars, from "
        f"{say(sheet.initial_cash, 'money')} quote. After fees, spread, impact and funding; a year has 365 "
        "days of 24 hours."
    )
    _tiles(paper, sheet)
    paper.paragraph(sheet.explanation)
    curve = thinned(sheet.curve)
    hold = "buy_and_hold" if sheet.benchmark else None
    _curve(paper, "Equity", curve, "equity", hold, "money", height=1.75)
    fall = "buy_and_hold_drawdown" if sheet.benchmark else None
    _curve(paper, "Under water", curve, "drawdown", fall, "percent")
    months = months_table(sheet)
    set_table(
        paper, months, shades=[[None, *(_shade(v) for v in row[1:])] for row in months.rows()]
    )
    if curve["rolling_sharpe"].null_count() < curve.height:
        title = f"Sharpe ratio of the last {ROLLING_DAYS} days"
        _curve(paper, title, curve, "rolling_sharpe", None, "ratio")
    if (curve["exposure"] != 0).any():
        _curve(paper, "Share of equity in positions", curve, "exposure", None, "share", height=0.85)
    _distribution(paper, sheet)


def _tiles(paper: Paper, sheet: TearSheet) -> None:
    width = INNER / len(TILES)
    top = paper.at + 0.06
    for i, key in enumerate(TILES):
        figure, value = BY_KEY[key], sheet.metrics[key]
        x = LEFT + i * width
        paper.at = top
        paper.text(x, figure.label, 6.0, color=SOFT)
        paper.at = top + 0.14
        signed = figure.kind == "percent" and value != 0
        colour = {"color": GOOD if value > 0 else BAD} if signed else {}
        paper.text(x, say(value, figure.kind), 10.2, weight="bold", **colour)
        if sheet.benchmark:
            paper.at = top + 0.36
            paper.text(x, f"hold {say(sheet.benchmark.get(key), figure.kind)}", 6.0, color=SOFT)
    paper.at = top + 0.58


def _figures(paper: Paper, sheet: TearSheet) -> None:
    paper.heading("Figures")
    own = (Column("label", "figure", "text"), Column("own", "strategy", "said"))
    hold = (Column("hold", "buy and hold", "said"),) if sheet.benchmark else ()
    for group in GROUPS:
        rows = [
            {"label": label, "own": say(mine, kind), "hold": say(other, kind), "meaning": meaning}
            for label, kind, mine, other, meaning in figures(sheet, group)
        ]
        columns = (*own, *hold, Column("meaning", "meaning", "text"))
        set_table(paper, Table(group, columns, pl.DataFrame(rows)))


def _sources(paper: Paper, sheet: TearSheet) -> None:
    paper.heading("Where it came from")
    for table in breakdown_tables(sheet):
        set_table(paper, table)
    paper.heading("Trades")
    for table in extreme_trades(sheet):
        set_table(paper, table)
    paper.heading("What trading cost")
    for table in cost_tables(sheet):
        set_table(paper, table)
    set_table(paper, waterfall_table(sheet), bars=waterfall_bars(sheet))


def _trust(paper: Paper, sheet: TearSheet) -> None:
    stress, capacity = stress_table(sheet), capacity_table(sheet)
    tables = [t for t in (stress, *sensitivity_tables(sheet), capacity) if t is not None]
    if sheet.sections.monte_carlo is None and not tables:
        return
    paper.heading("How far to trust it", needed=2.5)
    if sheet.sections.monte_carlo is not None:
        _fan(paper, sheet.sections.monte_carlo)
        told = [{"name": n, "value": say(v, kind)} for n, kind, v in monte_carlo_rows(sheet)]
        columns = (Column("name", "Monte Carlo", "text"), Column("value", "value", "said"))
        set_table(paper, Table("Over all paths", columns, pl.DataFrame(told)))
    for table in tables:
        set_table(paper, table)


def _curve(
    paper: Paper,
    title: str,
    curve: pl.DataFrame,
    own: str,
    hold: str | None,
    kind: Kind,
    height: float = 1.05,
) -> None:
    start, end = curve["known_at"][0], curve["known_at"][-1]
    columns = {STRATEGY: own} if hold is None else {STRATEGY: own, HOLD: hold}
    values = {name: _floats(curve[column]) for name, column in columns.items()}
    scale = value_scale(
        [v for each in values.values() for v in each], zero=kind != "money", log=kind == "money"
    )
    paper.caption(title + (", log scale" if scale.logarithmic else ""), needed=height + 0.3)
    axes = paper.axes(height, time_ticks(start, end), scale.ticks(kind))
    x = [share_of(t, start, end) for t in curve["known_at"]]
    places = {name: [scale.place(v) for v in each] for name, each in values.items()}
    if hold is not None:
        axes.plot(x, places[HOLD], color=ORANGE, linewidth=0.8, label=HOLD)
    axes.plot(x, places[STRATEGY], color=BLUE, linewidth=0.9, label=STRATEGY)
    if kind in {"percent", "share"}:
        axes.fill_between(x, places[STRATEGY], scale.place(0.0), color=BLUE, alpha=0.2, linewidth=0)
    _legend(axes, shown=hold is not None)


def _distribution(paper: Paper, sheet: TearSheet) -> None:
    bins = sheet.distribution
    x = Scale(float(bins["low"][0]), float(bins["high"][-1]))
    y = value_scale([*bins["days"], *bins["buy_and_hold_days"]], zero=True)
    edges = [x.place(v) for v in [*bins["low"], bins["high"][-1]]]
    paper.caption("Daily returns", needed=1.6)
    axes = paper.axes(1.3, x.ticks("percent"), y.ticks("count"))
    days = [y.place(n) for n in bins["days"]]
    axes.stairs(days, edges, fill=True, color=BLUE, alpha=0.4, label=STRATEGY)
    if sheet.benchmark:
        held = [y.place(n) for n in bins["buy_and_hold_days"]]
        axes.stairs(held, edges, color=ORANGE, label=HOLD)
    _legend(axes, shown=bool(sheet.benchmark))


def _fan(paper: Paper, fan: pl.DataFrame) -> None:
    x = Scale(float(fan["step"][0]), float(fan["step"][-1]))
    y = value_scale([*fan["p05"], *fan["p95"]], log=True)
    paper.caption("Monte Carlo: equity as a multiple of the capital, by bars", needed=2.2)
    axes = paper.axes(1.9, x.ticks("count"), y.ticks("ratio"))
    steps = [x.place(v) for v in fan["step"]]
    levels = {name: [y.place(v) for v in fan[name]] for name in fan.columns[1:]}
    for low, high, alpha in (("p05", "p95", 0.17), ("p25", "p75", 0.3)):
        axes.fill_between(steps, levels[low], levels[high], color=BLUE, alpha=alpha, linewidth=0)
    axes.plot(steps, levels["p50"], color=BLUE, linewidth=1.1)


def _legend(axes: Axes, *, shown: bool) -> None:
    if shown:
        axes.legend(
            fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2
        )


def _floats(values: pl.Series) -> list[float]:
    return values.cast(pl.Float64).fill_null(math.nan).to_list()


def _shade(value: float | None) -> str | None:
    """Return the colour behind a month's return on white paper, full at 20 %."""
    if value is None or not math.isfinite(value) or value == 0.0:
        return None
    share = (6 + 34 * min(abs(value) / _STRONGEST, 1.0) ** 0.6) / 100
    full = GOOD if value > 0 else BAD
    mixed = (round(255 - share * (255 - int(full[i : i + 2], 16))) for i in (1, 3, 5))
    return "#" + "".join(f"{c:02x}" for c in mixed)
