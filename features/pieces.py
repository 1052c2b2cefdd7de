"""How the work of building a matrix is cut, so that it fits the cache and the memory, and no more is done.

Features of one symbol are computed group of symbols by group of symbols, features of the panel span of
time by span of time. Where only the newest rows are asked for, features of similar lookbacks are
computed together on little more than those.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from features.grid import Grid
from features.registry import Feature

KEY = ("venue", "symbol", "known_at")
# Cells of one column worked on at once: half a megabyte stays in the processor's cache, and memory
# is bounded by it and the number of threads, not by the table.
CHUNK_CELLS = 1 << 16
# The same for features that see all symbols, whose pieces are spans of time.
PANEL_CELLS = 1 << 18
# Pieces shorter than a few lookbacks would spend their time on the bars before.
PANEL_LOOKBACKS = 4
# Shorter lookbacks are computed on so many bars: windows that features share are then computed once.
LEAST_REACH = 128
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A part of a panel, the rows of it to keep, and which rows of the panel they are.
_Part = tuple["Panel", npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Piece:
    """Features to compute on a part of the panel.

    Parameters
    ----------
    columns : dict of int to Feature
        By their column in the table.
    panel : Panel
        The bars to compute on.
    kept, chosen : int64 arrays
        Rows of `panel` to keep, and the rows of the table they go to.
    """

    columns: dict[int, Feature]
    panel: "Panel"
    kept: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]


def pieces(
    features: Sequence[Feature],
    chosen: npt.NDArray[np.int64],
    panel: "Panel",
    since: datetime | None,
) -> Iterator[Piece]:
    """Iterate over the work of one venue: panel features by time, the others by symbols."""
    panel.refuse_repeats()
    first = panel.first if since is None else panel.first_after(since)
    for scope, columns in _together(features, whole=since is None):
        lookback = max(one.lookback for one in columns.values())
        parts = panel.by_time if scope == "panel" else panel.by_symbol
        for part, kept, rows in parts(lookback, first):
            yield Piece(columns, part, kept, chosen[rows])


def _together(
    features: Sequence[Feature], *, whole: bool
) -> Iterator[tuple[str, dict[int, Feature]]]:
    """Iterate over (scope, features worked on together by their numbers): of a kind and reach.

    For the whole history all are; for its newest rows those that look back similarly far.
    """
    groups: dict[tuple[str, int], dict[int, Feature]] = {}
    for i, one in enumerate(features):
        reach = 0 if whole else (max(one.lookback, LEAST_REACH) - 1).bit_length()
        groups.setdefault((one.scope, reach), {})[i] = one
    for (scope, _), columns in groups.items():
        yield scope, columns


def venues(bars: pl.DataFrame) -> Iterator[tuple[npt.NDArray[np.int64], pl.DataFrame]]:
    """Iterate over (row numbers in `bars`, bars of one venue sorted by symbol)."""
    order = bars.select(pl.arg_sort_by("venue", "symbol", maintain_order=True)).to_series()
    ordered = bars[order] if not order.is_sorted() else bars
    numbers = order.to_numpy().astype(np.int64)
    lengths = ordered.get_column("venue").rle().struct.field("len").to_list()
    first = 0
    for length in lengths:
        yield numbers[first : first + length], ordered.slice(first, length)
        first += length


@dataclass(frozen=True)
class Panel:
    """Bars of one venue sorted by symbol, with the symbol's and the bar's number of each row."""

    bars: pl.DataFrame
    symbols: tuple[str, ...]
    ends: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    timeframe: timedelta

    @classmethod
    def of(cls, bars: pl.DataFrame, timeframe: timedelta) -> "Panel":
        """Number the symbols and bars; ValueError if one is off the grid."""
        runs = bars.get_column("symbol").rle().struct.unnest()
        lengths = runs["len"].to_numpy().astype(np.int64)
        instants = bars.get_column("known_at").dt.timestamp("us").to_numpy()
        numbers, off_grid = np.divmod(instants, timeframe // timedelta(microseconds=1))
        if off_grid.any():
            raise ValueError(
                f"{int((off_grid != 0).sum())} bars are off the grid of {timeframe} (first "
                f"{bars['known_at'][int(off_grid.argmax())]}); give the bars' own timeframe"
            )
        codes = np.repeat(np.arange(lengths.size), lengths)
        return cls(
            bars, tuple(runs["value"]), np.cumsum(lengths), codes, numbers.astype(np.int64), timeframe
        )  # fmt: skip

    @property
    def first(self) -> int:
        """Number of the earliest bar since 1970."""
        return int(self.numbers.min()) if self.numbers.size else 0

    @property
    def end(self) -> int:
        """Number of the bar after the newest."""
        return int(self.numbers.max()) + 1 if self.numbers.size else 0

    def first_after(self, instant: datetime) -> int:
        """Return the number of the first bar known after `instant`."""
        return int((instant - _EPOCH) // self.timeframe) + 1

    def grid(self) -> Grid:
        """Return the bars on the grid of their time."""
        return Grid(self.bars, self.symbols, self.codes, self.numbers, self.timeframe)

    def by_symbol(self, lookback: int, first: int) -> Iterator[_Part]:
        """Iterate over groups of symbols with `lookback` bars before the bar numbered `first`."""
        begin = max(first - lookback, self.first)
        size = max(1, CHUNK_CELLS // max(self.end - begin, 1))
        for low in range(0, len(self.symbols), size):
            high = min(low + size, len(self.symbols))
            rows = slice(int(self.ends[low - 1]) if low else 0, int(self.ends[high - 1]))
            numbers = self.numbers[rows]
            held = rows.start + np.flatnonzero(numbers >= begin)
            part = self._taken(rows if held.size == numbers.size else held, low, high)
            kept = np.flatnonzero(part.numbers >= first)
            if kept.size:
                yield part, kept, held[kept]

    def by_time(self, lookback: int, first: int) -> Iterator[_Part]:
        """Iterate over spans of time from `first` on, with `lookback` bars before."""
        size = max(PANEL_CELLS // max(len(self.symbols), 1), PANEL_LOOKBACKS * lookback, 1)
        for begin in range(first, self.end, size):
            held = np.flatnonzero(
                (self.numbers >= begin - lookback) & (self.numbers < begin + size)
            )
            kept = np.flatnonzero(self.numbers[held] >= begin)
            if kept.size:
                # Every symbol keeps its row, present or not: a panel feature may not depend on the cut.
                yield self._taken(held, 0, len(self.symbols)), kept, held[kept]

    def _taken(self, rows: npt.NDArray[np.int64] | slice, low: int, high: int) -> "Panel":
        codes = self.codes[rows] - low
        return Panel(
            self.bars[rows], self.symbols[low:high],
            np.searchsorted(codes, np.arange(high - low), side="right"),
            codes, self.numbers[rows], self.timeframe,
        )  # fmt: skip

    def refuse_repeats(self) -> None:
        """Raise ValueError if two bars have the same symbol and instant."""
        if not self.numbers.size:
            return
        span = self.end - self.first
        filled = np.zeros(len(self.symbols) * span, np.bool_)
        filled[self.codes * span + self.numbers - self.first] = True
        if int(filled.sum()) == self.bars.height:
            return
        repeated = self.bars.filter(self.bars.select(KEY).is_duplicated()).row(0, named=True)
        raise ValueError(
            f"bars repeat a key (first {repeated['symbol']} at {repeated['known_at']}); "
            "there is one bar a symbol and instant"
        )
