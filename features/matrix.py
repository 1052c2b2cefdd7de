"""The one matrix builder: bars in, one float32 column a feature out.

It serves the full history, the hourly increment and the backtest, so the three cannot differ.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from features.grid import Grid
from features.kernels import Array, gather_finite
from features.registry import Feature, select

KEY = ("venue", "symbol", "known_at")
# Cells of one column worked on at once: half a megabyte stays in the processor's cache, and memory
# is bounded by it and the number of threads, not by the table.
CHUNK_CELLS = 1 << 16
# The same for features that see all symbols, whose pieces are spans of time.
PANEL_CELLS = 1 << 18
# Pieces shorter than a few lookbacks would spend their time on the bars before.
PANEL_LOOKBACKS = 4
# Pieces worked on at once; the kernels run outside Python's lock.
THREADS = min(numba.config.NUMBA_NUM_THREADS, 8)  # type: ignore[attr-defined]


def build_matrix(
    bars: pl.DataFrame, *, timeframe: timedelta, names: Sequence[str] | None = None
) -> pl.DataFrame:
    """Compute features of bars.

    Parameters
    ----------
    bars : polars.DataFrame
        In the contract of `bars`, in any order, of any number of venues and symbols. A row's value
        is exact where the frame holds the feature's `lookback` bars up to it.
    timeframe : timedelta
        Length of one bar; `known_at` lies on its grid.
    names : sequence of str, optional
        Features to compute, in column order; all registered ones by default.

    Returns
    -------
    polars.DataFrame
        venue, symbol, known_at and one float32 column a feature; rows exactly those of `bars`, in
        their order. Null where the window is not valid by the gap policy (see `grid`), where an
        input is missing, or where the formula is undefined; never NaN, never infinite.

    Raises
    ------
    ValueError
        If a name is not registered, a key repeats or is off the grid, or a feature fails, returns
        another shape or a type that is not numeric.
    """
    return compute(bars, select(names), timeframe=timeframe)


def compute(
    bars: pl.DataFrame, features: Sequence[Feature], *, timeframe: timedelta
) -> pl.DataFrame:
    """Compute `features`, registered or not, as `build_matrix` does."""
    keys = bars.select(KEY)
    table = np.empty((len(features), bars.height), np.float32)
    pieces = [piece for venue in _venues(bars) for piece in _pieces(features, *venue, timeframe)]
    # On an hour's few bars two threads would only wait for each other.
    if bars.height <= CHUNK_CELLS or THREADS == 1:
        for piece in pieces:
            _fill(table, piece)
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda piece: _fill(table, piece), pieces):
                pass
    columns = [pl.Series(one.name, table[i], nan_to_null=True) for i, one in enumerate(features)]
    return pl.concat([keys, pl.DataFrame(columns)], how="horizontal")


@dataclass(frozen=True)
class _Piece:
    """A part of the panel and the features to compute on it.

    `bars` are rows of the panel, of which those numbered `kept` among them are written to the rows
    `chosen` of the table.
    """

    columns: dict[int, Feature]
    panel: "_Panel"
    kept: npt.NDArray[np.int64] | slice
    chosen: npt.NDArray[np.int64]


def _pieces(
    features: Sequence[Feature],
    chosen: npt.NDArray[np.int64],
    bars: pl.DataFrame,
    timeframe: timedelta,
) -> Iterator[_Piece]:
    """Iterate over the work of one venue: panel features by time, the others by symbols."""
    panel = _Panel.of(bars, timeframe)
    panel.refuse_repeats()
    for scope, parts in (("panel", panel.by_time), ("symbol", panel.by_symbol)):
        columns = {i: one for i, one in enumerate(features) if one.scope == scope}
        lookback = max((one.lookback for one in columns.values()), default=1)
        for part, kept, rows in parts(lookback) if columns else ():
            yield _Piece(columns, part, kept, chosen[rows])


def _venues(bars: pl.DataFrame) -> Iterator[tuple[npt.NDArray[np.int64], pl.DataFrame]]:
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
class _Panel:
    """Bars of one venue sorted by symbol, with the symbol's and the bar's number of each row."""

    bars: pl.DataFrame
    symbols: tuple[str, ...]
    ends: npt.NDArray[np.int64]
    codes: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    timeframe: timedelta

    @classmethod
    def of(cls, bars: pl.DataFrame, timeframe: timedelta) -> "_Panel":
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
    def span(self) -> int:
        return int(np.ptp(self.numbers)) + 1 if self.numbers.size else 0

    def grid(self) -> Grid:
        return Grid(self.bars, self.symbols, self.codes, self.numbers, self.timeframe)

    def by_symbol(self, _: int) -> Iterator[tuple["_Panel", slice, slice]]:
        """Iterate over groups of symbols: (part, rows of the part to keep, their rows here)."""
        size = max(1, CHUNK_CELLS // max(self.span, 1))
        for first in range(0, len(self.symbols), size):
            last = min(first + size, len(self.symbols))
            rows = slice(int(self.ends[first - 1]) if first else 0, int(self.ends[last - 1]))
            part = _Panel(
                self.bars[rows], self.symbols[first:last], self.ends[first:last] - rows.start,
                self.codes[rows] - first, self.numbers[rows], self.timeframe,
            )  # fmt: skip
            yield part, slice(None), rows

    def by_time(
        self, lookback: int
    ) -> Iterator[tuple["_Panel", npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Iterate over spans of time with `lookback` bars before: (part, kept there, rows here)."""
        size = max(PANEL_CELLS // max(len(self.symbols), 1), PANEL_LOOKBACKS * lookback, 1)
        first = int(self.numbers.min()) if self.numbers.size else 0
        for begin in range(first, first + self.span, size):
            held = np.flatnonzero(
                (self.numbers >= begin - lookback) & (self.numbers < begin + size)
            )
            if held.size:
                kept = np.flatnonzero(self.numbers[held] >= begin)
                yield self._taken(held), kept, held[kept]

    def _taken(self, rows: npt.NDArray[np.int64]) -> "_Panel":
        if rows.size == self.numbers.size:
            return self
        # Every symbol keeps its row, present or not: a panel feature may not depend on the cut.
        return _Panel(
            self.bars[rows], self.symbols, self.ends, self.codes[rows], self.numbers[rows],
            self.timeframe,
        )  # fmt: skip

    def refuse_repeats(self) -> None:
        if not self.numbers.size:
            return
        filled = np.zeros(len(self.symbols) * self.span, np.bool_)
        filled[self.codes * self.span + self.numbers - self.numbers.min()] = True
        if int(filled.sum()) == self.bars.height:
            return
        repeated = self.bars.filter(self.bars.select(KEY).is_duplicated()).row(0, named=True)
        raise ValueError(
            f"bars repeat a key (first {repeated['symbol']} at {repeated['known_at']}); "
            "there is one bar a symbol and instant"
        )


def _fill(table: npt.NDArray[np.float32], piece: _Piece) -> None:
    """Write the features of one piece into their columns of `table`."""
    grid = piece.panel.grid()
    position = grid.position[piece.kept]
    cell = np.empty(position.size, np.float32)
    with np.errstate(all="ignore"):
        for i, values in _evaluate(piece.columns, grid):
            gather_finite(np.ascontiguousarray(values).reshape(-1), position, cell)
            table[i, piece.chosen] = cell


def _evaluate(columns: dict[int, Feature], grid: Grid) -> Iterator[tuple[int, Array]]:
    expressions = {i: one for i, one in columns.items() if one.is_expression}
    for i, one in columns.items():
        if i not in expressions:
            yield i, _kernel_values(one, grid)
    if expressions:
        yield from _expression_values(expressions, grid)


def _kernel_values(one: Feature, grid: Grid) -> Array:
    try:
        values = one.function(grid, *one.windows)
    except Exception as error:
        raise _failure(one, error) from error
    shape = (len(grid.symbols), grid.length)
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != np.float64:
        given = f"{getattr(values, 'dtype', type(values).__name__)} {getattr(values, 'shape', '')}"
        raise _failure(one, f"it returned {given}, not float64 {shape}")
    return values


def _expression_values(expressions: dict[int, Feature], grid: Grid) -> Iterator[tuple[int, Array]]:
    built = {one.name: _expression(one, grid) for one in expressions.values()}
    roots = {name for expression in built.values() for name in expression.meta.root_names()}
    frame = grid.frame(sorted(roots | {"known_at"}))
    symbols = [frame.slice(row * grid.length, grid.length) for row in range(len(grid.symbols))]
    found = [_selected(symbol, built) for symbol in symbols]
    for i, one in expressions.items():
        dtype = found[0].schema[one.name]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise _failure(one, f"it returned {dtype}, which is not numeric")
        yield i, np.stack([part[one.name].cast(pl.Float64).to_numpy() for part in found])


def _selected(frame: pl.DataFrame, built: dict[str, pl.Expr]) -> pl.DataFrame:
    # Beside a column of full length a wrong length is refused and a scalar is repeated.
    try:
        return frame.select("known_at", **built)
    except pl.exceptions.PolarsError as error:
        if len(built) == 1:
            raise ValueError(f"feature {next(iter(built))!r} failed: {error}") from error
        for name, expression in built.items():
            _selected(frame, {name: expression})
        raise


def _expression(one: Feature, grid: Grid) -> pl.Expr:
    expression: Any = one.function(*one.windows)
    if not isinstance(expression, pl.Expr):
        given = type(expression).__name__
        raise _failure(one, f"without a `grid` parameter it must return a pl.Expr, not {given}")
    if unknown := sorted(set(expression.meta.root_names()) - grid.columns):
        raise _failure(one, f"bars have no column {', '.join(unknown)}")
    return expression


def _failure(one: Feature, problem: object) -> ValueError:
    return ValueError(f"feature {one.name!r} of {one.family} failed: {problem}")
