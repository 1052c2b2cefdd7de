"""What a bar says in the light of the bars before it: gaps, freshness, jumps, silence.

All functions are pure. Markets do odd things, so nearly every check is soft: an hour with an 86 %
range, a wick to a thirty-thousandth of the price (LINK/USDT on Binance) and an outage of 33 hours
are facts. The hard bound lies where no market has been.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log

import polars as pl

from pipelines.clock import format_instant
from pipelines.quality.gate import ALL, CheckResult

# A close this many times the one an hour before: a misplaced decimal.
HARD_RATIO = 20.0
WIDE_RATIO = 3.0
JUMP_DEVIATIONS = 12.0
VOLATILITY_BARS = 72
SILENT_BARS = 6
CONSTANT_BARS = 12
PRICE_TOLERANCE = 0.005

SERIES_CHECKS = (
    "freshness",
    "completeness",
    "sane_ratio",
    "wide_range",
    "jump",
    "zero_volume",
    "constant_price",
    "quote_volume_agrees",
    "trades_agree",
)


@dataclass(frozen=True)
class Hour:
    """One market at one instant, with the bars before it.

    Parameters
    ----------
    window : polars.DataFrame
        Bars of one venue and table with `start < known_at <= as_of`, sorted by key.
    symbols : sequence of str
        The symbols that ought to be there.
    step : timedelta
        Length of a bar.
    """

    table: str
    venue: str
    symbols: Sequence[str]
    window: pl.DataFrame
    start: datetime
    as_of: datetime
    step: timedelta

    @property
    def newest(self) -> pl.DataFrame:
        """The bars known at `as_of`."""
        return self.window.filter(pl.col("known_at") == self.as_of)


def gaps(
    bars: pl.DataFrame,
    step: timedelta,
    *,
    end: datetime,
    start: datetime | None = None,
) -> pl.DataFrame:
    """Find missing bars.

    Parameters
    ----------
    bars : polars.DataFrame
        symbol, known_at; one venue.
    end : datetime
        The bar known at `end` is the last one expected.
    start : datetime, optional
        The bar known one step after `start` is the first one expected; without it, each symbol's
        own first bar is.

    Returns
    -------
    polars.DataFrame
        symbol, first, last (`known_at` of the first and last missing bar), bars (how many);
        sorted. A symbol without any bar has no row: what was never there is not a gap.
    """
    known = bars.select("symbol", "known_at").sort("symbol", "known_at")
    edges = [known]
    symbols = known.select("symbol").unique()
    ends = [end + step] if start is None else [start, end + step]
    edges += [symbols.with_columns(known_at=pl.lit(e, known.schema["known_at"])) for e in ends]
    return (
        pl.concat(edges)
        .sort("symbol", "known_at")
        .with_columns(before=pl.col("known_at").shift(1).over("symbol"))
        .filter(pl.col("known_at") - pl.col("before") > step)
        .select(
            "symbol",
            first=pl.col("before") + step,
            last=pl.col("known_at") - step,
            bars=(pl.col("known_at") - pl.col("before")).dt.total_microseconds()
            // (step // timedelta(microseconds=1))
            - 1,
        )
    )


def check_series(hour: Hour) -> list[CheckResult]:
    """Run every series check on one hour: one summary row a check, one row a failing symbol."""
    found: list[CheckResult] = []
    checks: dict[str, Callable[[Hour], Iterator[tuple[str, str, int]]]] = {
        "freshness": _stale,
        "completeness": _incomplete,
        "sane_ratio": _insane_ratios,
        "wide_range": _wide_ranges,
        "jump": _jumps,
        "zero_volume": _silent,
        "constant_price": _constant,
        "quote_volume_agrees": _quote_volume_disagrees,
        "trades_agree": _trades_disagree,
    }
    for name, check in checks.items():
        failing = list(check(hour))
        found.append(_row(hour, name, ALL, _summary(hour, failing), len(failing)))
        found.extend(_row(hour, name, symbol, told, rows) for symbol, told, rows in failing)
    return found


_BOUNDS = {
    "freshness": "every symbol has a bar known at as_of",
    "completeness": "no bar missing since the symbol's first in the window",
    "sane_ratio": f"close within a factor of {HARD_RATIO:g} of the close of the bar before",
    "wide_range": f"high / low <= {WIDE_RATIO:g}",
    "jump": f"|log return| <= {JUMP_DEVIATIONS:g} standard deviations of {VOLATILITY_BARS} bars",
    "zero_volume": f"fewer than {SILENT_BARS} bars in a row without volume",
    "constant_price": f"fewer than {CONSTANT_BARS} bars in a row with volume and one close",
    "quote_volume_agrees": "quote_volume / volume between low and high",
    "trades_agree": "trades are zero exactly where volume is zero",
}
_HARD = frozenset({"sane_ratio"})


def _row(hour: Hour, check: str, symbol: str, observed: str, failing: int) -> CheckResult:
    return CheckResult(
        table=hour.table,
        check=check,
        venue=hour.venue,
        symbol=symbol,
        known_at=hour.as_of,
        observed=observed,
        bound=_BOUNDS[check],
        passed=failing == 0,
        failing_rows=failing,
        hard=check in _HARD,
    )


def _summary(hour: Hour, failing: Sequence[object]) -> str:
    return f"{len(hour.symbols) - len(failing)} of {len(hour.symbols)} symbols"


def _stale(hour: Hour) -> Iterator[tuple[str, str, int]]:
    newest = dict(hour.window.group_by("symbol").agg(pl.col("known_at").max()).iter_rows())
    for symbol in hour.symbols:
        last = newest.get(symbol)
        if last is None:
            yield symbol, f"no bar since {format_instant(hour.start)}", 1
        elif last < hour.as_of:
            yield symbol, f"newest bar {format_instant(last)}", (hour.as_of - last) // hour.step


def _incomplete(hour: Hour) -> Iterator[tuple[str, str, int]]:
    missing = gaps(hour.window, hour.step, end=hour.as_of)
    for (symbol,), rows in missing.group_by("symbol", maintain_order=True):
        spans = ", ".join(
            format_instant(first)
            if count == 1
            else f"{format_instant(first)}..{format_instant(last)}"
            for first, last, count in rows.select("first", "last", "bars").head(5).iter_rows()
        )
        more = f" and {rows.height - 5} more spans" if rows.height > 5 else ""
        total = int(rows["bars"].sum())
        yield str(symbol), f"{total} bars missing, asked again every hour: {spans}{more}", total


def _returns(hour: Hour) -> pl.DataFrame:
    return hour.window.select(
        "symbol",
        "known_at",
        "close",
        log_return=pl.col("close").log().diff().over("symbol"),
        is_next=(pl.col("known_at").diff().over("symbol") == hour.step),
    )


def _insane_ratios(hour: Hour) -> Iterator[tuple[str, str, int]]:
    now = (pl.col("known_at") == hour.as_of) & pl.col("is_next").fill_null(value=False)
    insane = _returns(hour).filter(now & (pl.col("log_return").abs() > log(HARD_RATIO)))
    for symbol, close, change in insane.select("symbol", "close", "log_return").iter_rows():
        yield symbol, f"close {close:g}, log return {change:+.2f}", 1


def _wide_ranges(hour: Hour) -> Iterator[tuple[str, str, int]]:
    wide = hour.newest.filter(pl.col("high") / pl.col("low") > WIDE_RATIO)
    for symbol, high, low in wide.select("symbol", "high", "low").iter_rows():
        yield symbol, f"high {high:g}, low {low:g}", 1


def _jumps(hour: Hour) -> Iterator[tuple[str, str, int]]:
    before = pl.col("known_at") < hour.as_of
    moved = (
        _returns(hour)
        .filter(pl.col("is_next"))
        .group_by("symbol", maintain_order=True)
        .agg(
            deviation=pl.col("log_return").filter(before).tail(VOLATILITY_BARS).std(),
            held=pl.col("log_return").filter(before).tail(VOLATILITY_BARS).len(),
            last=pl.col("log_return").filter(~before).last(),
        )
        .filter(
            (pl.col("held") >= VOLATILITY_BARS // 2)
            & (pl.col("last").abs() > JUMP_DEVIATIONS * pl.col("deviation"))
        )
    )
    for symbol, deviation, _, last in moved.iter_rows():
        yield symbol, f"log return {last:+.4f}, standard deviation {deviation:.4f}", 1


def _silent(hour: Hour) -> Iterator[tuple[str, str, int]]:
    yield from _runs(hour, pl.col("volume") == 0, SILENT_BARS, "bars in a row without volume")


def _constant(hour: Hour) -> Iterator[tuple[str, str, int]]:
    same = (pl.col("close").diff().over("symbol") == 0) & (pl.col("volume") > 0)
    yield from _runs(hour, same, CONSTANT_BARS, "bars in a row at one close, with volume")


def _runs(hour: Hour, holds: pl.Expr, bound: int, what: str) -> Iterator[tuple[str, str, int]]:
    """Yield the symbols whose run of `holds`, up to their bar at `as_of`, is at least `bound` long."""
    flagged = hour.window.select("symbol", "known_at", flag=holds.fill_null(value=False))
    runs = flagged.group_by("symbol", maintain_order=True).agg(
        run=pl.col("flag").reverse().cast(pl.Int64).cum_prod().sum(), last=pl.col("known_at").last()
    )
    for symbol, run, last in runs.iter_rows():
        if run >= bound and last == hour.as_of:
            yield symbol, f"{run} {what}", int(run)


def _quote_volume_disagrees(hour: Hour) -> Iterator[tuple[str, str, int]]:
    price = pl.col("quote_volume") / pl.col("volume")
    wrong = hour.newest.filter(
        (pl.col("volume") > 0)
        & (pl.col("quote_volume") > 0)
        & ~price.is_between(
            pl.col("low") * (1 - PRICE_TOLERANCE), pl.col("high") * (1 + PRICE_TOLERANCE)
        )
    )
    for symbol, mean, low, high in wrong.select("symbol", price, "low", "high").iter_rows():
        yield symbol, f"mean price {mean:g} outside low {low:g}, high {high:g}", 1


def _trades_disagree(hour: Hour) -> Iterator[tuple[str, str, int]]:
    wrong = hour.newest.filter((pl.col("trades") == 0) != (pl.col("volume") == 0))
    for symbol, trades, volume in wrong.select("symbol", "trades", "volume").iter_rows():
        yield symbol, f"{trades} trades, volume {volume:g}", 1
