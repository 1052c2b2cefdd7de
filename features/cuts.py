"""Instants at which time is cut to prove a column causal, chosen from the bars themselves."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl

# A symbol without a bar for so long has left the venue.
GONE = timedelta(days=7)
_MOST_ENDED = 2
_MOST_OUTAGES = 2
_PLACES = (0.37, 0.71)
# Long bars, refits and recursions begin at bar numbers, since 1970, that one of these divides.
_BLOCKS = (168, 120, 24)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Cut:
    """An instant, and why it was chosen.

    Parameters
    ----------
    instant : datetime
    why : str
    after_gap_of : str or None
        The symbol whose outage ended with the bar of the instant.
    """

    instant: datetime
    why: str
    after_gap_of: str | None = None


def choose_cuts(bars: pl.DataFrame, *, timeframe: timedelta, lookback: int) -> list[Cut]:
    """Choose where to cut: ordinary hours and those at which a careless feature looks ahead.

    Two hours in the middle of a day, the last bar of blocks of time, the turn of a month, the first bar
    after the longest outages, the last bar of symbols that ended, the last bar but one and the newest.

    Parameters
    ----------
    bars : polars.DataFrame
        In the contract of `bars`.
    lookback : int
        Bars that have to lie before a cut.

    Raises
    ------
    ValueError
        If there are fewer than two lookbacks of time.
    """
    known = bars["known_at"].unique().sort()
    needed = 2 * lookback
    span = (known[-1] - known[0]) // timeframe + 1 if len(known) else 0
    if span <= needed + 2:
        raise ValueError(
            f"the bars span {span} instants; columns that look back {lookback} bars need more than "
            f"{needed + 2} to be proved"
        )
    earliest = known[0] + needed * timeframe
    candidates = known.filter((known >= earliest) & (known < known[-1] - timeframe))
    if candidates.is_empty():
        raise ValueError(f"no bar is known between {earliest} and {known[-1] - timeframe}")
    found: dict[datetime, Cut] = {}
    for cut in (
        *_outages(bars, earliest, timeframe),
        *_endings(bars, earliest, known[-1]),
        *_month_turns(candidates),
        *block_ends(bars, candidates, timeframe=timeframe, lookback=lookback),
        *_within_a_day(candidates),
        Cut(known[-2], "the last bar but one"),
        Cut(known[-1], "the newest bar"),
    ):
        found.setdefault(cut.instant, cut)
    return sorted(found.values(), key=lambda cut: cut.instant)


def block_ends(
    bars: pl.DataFrame, candidates: pl.Series, *, timeframe: timedelta, lookback: int
) -> list[Cut]:
    """Return where blocks of time end among `candidates`: what works in blocks looks back furthest there.

    One instant at which blocks of every length end, or else as many as it takes; of several the one
    with the most bars in the `lookback` before it.
    """
    after = candidates.dt.epoch("us").to_numpy() // (timeframe // _MICROSECOND) + 1

    def bars_before(end: int) -> int:
        instant = candidates[end]
        return bars.filter(
            pl.col("known_at").is_between(instant - lookback * timeframe, instant)
        ).height

    found: dict[int, Cut] = {}
    for block in (math.lcm(*_BLOCKS), *_BLOCKS):
        ends = np.flatnonzero(after % block == 0).tolist()
        if ends and not any(after[end] % block == 0 for end in found):
            fullest = max(ends, key=bars_before)
            found[fullest] = Cut(candidates[fullest], f"the last bar of a block of {block}")
    return list(found.values())


def _within_a_day(candidates: pl.Series) -> Iterator[Cut]:
    inner = candidates.filter(candidates.dt.hour().is_between(5, 19))
    chosen = inner if len(inner) else candidates
    for place in _PLACES:
        yield Cut(chosen[int(len(chosen) * place)], "in the middle of a day")


def _month_turns(candidates: pl.Series) -> Iterator[Cut]:
    turns = candidates.filter((candidates.dt.day() == 1) & (candidates.dt.hour() == 0))
    turns = turns.filter(turns.dt.minute() == 0)
    if len(turns):
        yield Cut(turns[len(turns) // 2], "the turn of a month")


def _outages(bars: pl.DataFrame, earliest: datetime, timeframe: timedelta) -> Iterator[Cut]:
    ordered = bars.select("symbol", "known_at").sort("symbol", "known_at")
    gaps = ordered.with_columns(gap=pl.col("known_at").diff().over("symbol"))
    gaps = gaps.filter((pl.col("known_at") >= earliest) & (pl.col("gap") > timeframe))
    longest = gaps.sort("gap", "known_at", "symbol", descending=[True, False, False])
    for row in longest.unique("known_at", maintain_order=True).head(_MOST_OUTAGES).to_dicts():
        missing = row["gap"] // timeframe - 1
        bars_missing = "a missing bar" if missing == 1 else f"{missing} missing bars"
        why = f"right after {bars_missing} of {row['symbol']}"
        yield Cut(row["known_at"], why, row["symbol"])


def _endings(bars: pl.DataFrame, earliest: datetime, newest: datetime) -> Iterator[Cut]:
    last = bars.group_by("symbol").agg(pl.col("known_at").max()).sort("symbol")
    ended = last.filter(pl.col("known_at").is_between(earliest, newest - GONE))
    for symbol, instant in ended.head(_MOST_ENDED).iter_rows():
        yield Cut(instant, f"the last bar of {symbol}, which ended")
