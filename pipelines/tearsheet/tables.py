"""The tables of a sheet, as every medium shows them: title, columns with their kinds, rows."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from evaluation.tearsheet import TearSheet
from pipelines.tearsheet.figures import GROUPS
from pipelines.tearsheet.formats import Kind

LISTED = 10
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Column:
    """One column: its name in the frame, its heading, and how its values read."""

    name: str
    label: str
    kind: Kind

    @property
    def is_number(self) -> bool:
        """Whether its values are set flush right."""
        return self.kind not in {"text", "instant"}


@dataclass(frozen=True)
class Table:
    """A frame with the columns that are shown of it."""

    title: str
    columns: tuple[Column, ...]
    frame: pl.DataFrame
    note: str = ""

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the values shown, row by row, in the order of `columns`."""
        return self.frame.select(c.name for c in self.columns).rows()


def _columns(*columns: tuple[str, str, Kind]) -> tuple[Column, ...]:
    return tuple(Column(*column) for column in columns)


_GROUP = _columns(
    ("trades", "trades", "count"),
    ("realised", "realised", "money"),
    ("win_rate", "won", "share"),
    ("profit_factor", "profit factor", "ratio"),
    ("payoff_ratio", "payoff", "ratio"),
    ("expectancy", "expectancy", "money"),
    ("expectancy_r", "in R", "ratio"),
    ("mean_trade_return", "mean return", "percent"),
    ("mean_bars_held", "bars held", "ratio"),
    ("fees", "fees", "money"),
    ("funding", "funding", "money"),
)
_TRADE = _columns(
    ("entered_at", "entered", "instant"),
    ("exited_at", "exited", "instant"),
    ("symbol", "symbol", "text"),
    ("side", "side", "text"),
    ("entry_price", "entry", "price"),
    ("exit_price", "exit", "price"),
    ("invested", "invested", "money"),
    ("realised", "realised", "money"),
    ("return", "return", "percent"),
    ("r_multiple", "R", "ratio"),
    ("mae", "worst", "percent"),
    ("mfe", "best", "percent"),
    ("bars_held", "bars", "count"),
    ("exit_kind", "exit", "text"),
    ("exit_cause", "cause", "text"),
)
_SHOWN = tuple(c for c in _TRADE if c.name not in {"exited_at", "invested"})
_COST = _columns(
    ("fills", "fills", "count"),
    ("notional", "notional", "money"),
    *(
        (f"{part}_{middle}", f"{part}, {middle}", "bps")
        for part in ("spread", "impact", "fee", "shortfall")
        for middle in ("mean", "median")
    ),
)
_OUTCOME = _columns(
    ("total_return", "total return", "percent"),
    ("sharpe", "Sharpe", "ratio"),
    ("max_drawdown", "max drawdown", "percent"),
    ("fills", "fills", "count"),
)


def figures(
    sheet: TearSheet, group: str
) -> list[tuple[str, Kind, float | None, float | None, str]]:
    """Return label, kind, value, value of buying and holding, and meaning of each figure of `group`.

    A figure that the sheet does not have (no benchmark, no trials) is left out.
    """
    return [
        (f.label, f.kind, sheet.metrics[f.key], sheet.benchmark.get(f.key), f.meaning)
        for f in GROUPS[group]
        if f.key in sheet.metrics
    ]


def months_table(sheet: TearSheet) -> Table:
    """Return the calendar of returns, a row a year."""
    months = (Column(str(i), name, "percent") for i, name in enumerate(MONTHS, 1))
    years = sheet.months.with_columns(pl.col("year").cast(pl.String))
    columns = (Column("year", "year", "text"), *months, Column("total", "total", "percent"))
    return Table("Returns by month", columns, years)


def breakdown_tables(sheet: TearSheet) -> list[Table]:
    """Return the tables by symbol, by exit and by regime."""
    exits = _columns(("exit_kind", "exit", "text"), ("exit_cause", "cause", "text"))
    regimes = _columns(
        ("kind", "by", "text"),
        ("regime", "regime", "text"),
        ("bars", "bars", "count"),
        ("share", "of all bars", "share"),
        ("total_return", "return", "percent"),
        ("buy_and_hold", "buy and hold", "percent"),
        ("sharpe", "Sharpe", "ratio"),
        ("max_drawdown", "max drawdown", "percent"),
    )
    return [
        Table("By symbol", (Column("symbol", "symbol", "text"), *_GROUP), sheet.by_symbol),
        Table(
            "By exit",
            (*exits, *_GROUP),
            sheet.by_exit,
            "Kind of the last fill, and the rule that asked for it.",
        ),
        Table(
            "By regime",
            regimes,
            sheet.by_regime,
            "Known before the bar. Trend: sign of the 30 days before it of buying and holding. Stress: "
            "short over long volatility.",
        ),
    ]


def trades_table(sheet: TearSheet) -> Table:
    """Return all round trips."""
    return Table("All trades", _TRADE, sheet.trades)


def extreme_trades(sheet: TearSheet) -> list[Table]:
    """Return the most and the least profitable round trips, `LISTED` of each; never one in both."""
    ranked = sheet.trades.sort("realised", descending=True, maintain_order=True)
    best = min(LISTED, (ranked.height + 1) // 2)
    worst = min(LISTED, ranked.height - best)
    return [
        Table("Best trades", _SHOWN, ranked.head(best)),
        Table("Worst trades", _SHOWN, ranked.tail(worst).reverse()),
    ]


def cost_tables(sheet: TearSheet) -> list[Table]:
    """Return the costs in sum, by kind of order, and by symbol."""
    sums = _columns(
        ("part", "part", "text"),
        ("amount", "amount", "money"),
        ("of_capital", "of the capital", "fraction"),
        ("bps", "bps of notional", "bps"),
    )
    note = "Basis points a fill. Shortfall: from the price at the decision to the fill, fees apart; positive is a loss."
    return [
        Table("Costs", sums, sheet.costs),
        Table(
            "Costs by order", (Column("kind", "kind", "text"), *_COST), sheet.costs_by_kind, note
        ),
        Table(
            "Costs by symbol",
            (Column("symbol", "symbol", "text"), *_COST),
            sheet.costs_by_symbol,
            note,
        ),
    ]


def waterfall_table(sheet: TearSheet) -> Table:
    """Return the stages with what was left and what each took; a rule that forces sales can add."""
    stages = sheet.waterfall.with_columns(
        pl.when(pl.col("stage").str.starts_with("after "))
        .then(pl.col("count").shift(1) - pl.col("count"))
        .alias("stopped")
    )
    columns = _columns(
        ("stage", "stage", "text"), ("count", "left", "count"), ("stopped", "stopped here", "count")
    )
    return Table("Why it traded, or did not", columns, stages, sheet.explanation)


def waterfall_bars(sheet: TearSheet) -> list[float]:
    """Return the length of each stage's bar, 1 for the longest: the root of its share, for small ones to show."""
    counts = sheet.waterfall["count"].to_list()
    most = max(counts, default=0) or 1
    return [math.sqrt(count / most) for count in counts]


def stress_table(sheet: TearSheet) -> Table | None:
    """Return the stress windows, or None."""
    columns = _columns(
        ("name", "window", "text"),
        ("start", "from", "instant"),
        ("end", "to", "instant"),
        ("return", "return", "percent"),
        ("buy_and_hold", "buy and hold", "percent"),
        ("max_drawdown", "max drawdown", "percent"),
        ("fills", "fills", "count"),
    )
    return _optional("Stress", columns, sheet.sections.stress)


def sensitivity_tables(sheet: TearSheet) -> list[Table]:
    """Return what moving a parameter or all costs does, where it was measured."""
    parameter = _columns(("parameter", "parameter", "text"), ("value", "value", "number"))
    found = (
        _optional("Sensitivity", (*parameter, *_OUTCOME), sheet.sections.sensitivity),
        _optional(
            "Sensitivity to costs",
            (Column("multiple", "times all costs", "ratio"), *_OUTCOME),
            sheet.sections.cost_sensitivity,
        ),
    )
    return [table for table in found if table is not None]


def capacity_table(sheet: TearSheet) -> Table | None:
    """Return the capacity curve, or None."""
    columns = _columns(
        ("capital", "capital", "money"),
        ("annual_return", "annual return", "percent"),
        ("sharpe", "Sharpe", "ratio"),
        ("impact_bps", "impact, bps", "bps"),
        ("filled_share", "filled", "share"),
    )
    return _optional("Capacity", columns, sheet.sections.capacity)


def monte_carlo_rows(sheet: TearSheet) -> list[tuple[str, Kind, float]]:
    """Return label, kind and value of the Monte Carlo summary."""
    return [
        (_summary_label(key), _summary_kind(key), value)
        for key, value in sheet.sections.monte_carlo_summary.items()
    ]


def _summary_label(key: str) -> str:
    if found := re.fullmatch(r"(return|drawdown)_p(\d+)", key):
        return f"{found[1]}, percentile {int(found[2])}"
    if found := re.fullmatch(r"probability_of_drawdown_(\d+)", key):
        return f"probability of a drawdown beyond {found[1]} %"
    return key.replace("_", " ")


def _summary_kind(key: str) -> Kind:
    if key.startswith("probability"):
        return "share"
    if "return" in key or key.startswith("drawdown"):
        return "percent"
    return "count"


def _optional(title: str, columns: Sequence[Column], frame: pl.DataFrame | None) -> Table | None:
    return None if frame is None else Table(title, tuple(columns), frame)
