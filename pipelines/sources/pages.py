"""From a venue's page of candles to rows of the bars contract: parsed exactly, nothing guessed.

A page is answered for a span of bar opens. What lies outside it, off the grid, conflicts with
itself or is not a number is a `BadPage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from pipelines.clock import format_instant
from pipelines.tables import BARS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Positions of Binance's twelve kline columns.
KLINE_COLUMNS: dict[str, int] = {
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "quote_volume": 7,
    "trades": 8,
    "taker_buy_volume": 9,
}
# Positions of ccxt's unified candle; what it does not hold is null.
CANDLE_COLUMNS: dict[str, int] = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}

_VALUES = tuple(name for name in BARS.schema if name in KLINE_COLUMNS)


class BadPage(Exception):
    """A page that cannot be what was asked for."""


@dataclass(frozen=True)
class Page:
    """What is asked in one request: bars that open in `first_open .. last_open`, both included."""

    symbol: str
    first_open: datetime
    last_open: datetime

    @property
    def what(self) -> str:
        """Name the page in a message."""
        return (
            f"{self.symbol} bars that open {format_instant(self.first_open)} to "
            f"{format_instant(self.last_open)}"
        )


def split_pages(
    symbol: str, start: datetime, end: datetime, step: timedelta, limit: int
) -> list[Page]:
    """Split the bars with `start < known_at <= end` into pages of at most `limit` bars.

    A bar known at `t` opens at `t - step`, so the first open is the last grid instant at or before
    `start`, and no open is later than `end - step`.
    """
    first = start - (start - _EPOCH) % step
    last = end - step
    pages = []
    while first <= last:
        stop = min(last, first + (limit - 1) * step)
        pages.append(Page(symbol, first, stop - (stop - _EPOCH) % step))
        first += limit * step
    return pages


def to_milliseconds(instant: datetime) -> int:
    """Return milliseconds since the epoch."""
    return (instant - _EPOCH) // _MILLISECOND


def parse_page(
    answer: Any,
    page: Page,
    *,
    columns: dict[str, int],
    step: timedelta,
    clip: bool,
) -> tuple[pl.DataFrame, int]:
    """Parse one answer.

    Parameters
    ----------
    answer : list of lists
        Rows whose first value is the bar's open in milliseconds; numbers or decimal text.
    columns : dict
        Which position holds which column; the others are null.
    step : timedelta
        Length of a bar.
    clip : bool
        Drop rows outside the page instead of refusing them: for venues that take a start and a
        count and therefore answer past a gap.

    Returns
    -------
    polars.DataFrame, int
        Columns open_time and the values, sorted, one row an open; and how many identical
        duplicates were dropped. "" and null become null; NaN and infinity stay, for the contract
        to refuse and quarantine to show.

    Raises
    ------
    BadPage
        On anything that is not rows of numbers on the grid inside the page, or on rows of one open
        that disagree.
    """
    width = max(columns.values()) + 1
    if not isinstance(answer, list):
        raise BadPage(f"an answer of {type(answer).__name__}, not a list of bars")
    rows: dict[int, tuple[Any, ...]] = {}
    duplicates = 0
    first, last = to_milliseconds(page.first_open), to_milliseconds(page.last_open)
    for row in answer:
        if not isinstance(row, list) or len(row) < width:
            raise BadPage(f"a bar of {row!r:.80}, not {width} values")
        opened = _milliseconds(row[0], step)
        if not first <= opened <= last:
            if clip:
                continue
            raise BadPage(f"a bar that opens {shown(opened)}, outside the span that was asked")
        values = tuple(_value(name, row[at]) for name, at in columns.items())
        if rows.setdefault(opened, values) != values:
            raise BadPage(f"two bars that open {shown(opened)} and disagree")
        duplicates += 1
    return _frame(rows, list(columns)), duplicates - len(rows)


def _milliseconds(value: Any, step: timedelta) -> int:
    try:
        opened = int(value)
    except (TypeError, ValueError):
        raise BadPage(f"an open time of {value!r:.40}") from None
    if opened % (step // _MILLISECOND):
        raise BadPage(f"a bar that opens {shown(opened)}, off the grid of {step}")
    return opened


def _value(name: str, value: Any) -> float | int | None:
    if value is None or value == "":
        return None
    try:
        number = int(value) if name == "trades" else float(value)
    except (TypeError, ValueError):
        raise BadPage(f"{name} = {value!r:.40}, not a number") from None
    return number


def shown(opened: int) -> str:
    """Write milliseconds since the epoch as an instant, or as they are where there is none."""
    try:
        return format_instant(_EPOCH + opened * _MILLISECOND)
    except OverflowError:
        return str(opened)


def _frame(rows: dict[int, tuple[Any, ...]], names: Sequence[str]) -> pl.DataFrame:
    opens = sorted(rows)
    taken = list(zip(*(rows[o] for o in opens), strict=True)) if opens else [()] * len(names)
    held = dict(zip(names, taken, strict=True))
    opened = pl.Series("open_time", opens, pl.Int64()).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame(
        [
            opened.cast(BARS.schema["open_time"]),
            *(
                pl.Series(name, held.get(name, [None] * len(opens)), BARS.schema[name])
                for name in _VALUES
            ),
        ]
    )
