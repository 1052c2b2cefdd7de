"""The one matrix builder: bars in, one float32 column a feature out.

It serves the full history, the hourly increment and the backtest, so the three cannot differ.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from features.grid import Grid
from features.kernels import Array, gather_finite
from features.pieces import CHUNK_CELLS, KEY, Panel, Piece, pieces, venues
from features.registry import Feature, failure, select

# Pieces worked on at once; the kernels run outside Python's lock.
THREADS = min(numba.config.NUMBA_NUM_THREADS, 8)  # type: ignore[attr-defined]


def build_matrix(
    bars: pl.DataFrame,
    *,
    timeframe: timedelta,
    names: Sequence[str] | None = None,
    since: datetime | None = None,
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
    since : datetime, optional
        Give rows known after it only. Every feature then sees its lookback of bars before them and
        hardly more, which costs an hour a fraction of its longest lookback.

    Returns
    -------
    polars.DataFrame
        venue, symbol, known_at and one float32 column a feature; rows exactly those of `bars` (after
        `since`), in their order. Null where the window is not valid by the gap policy (see `grid`),
        where an input is missing, or where the formula is undefined; never NaN, never infinite.

    Raises
    ------
    ValueError
        If a name is not registered, a key repeats or is off the grid.
    FeatureFailed
        If a feature raises, or returns another shape or a type that is not numeric; a ValueError too.
    """
    return compute(bars, select(names), timeframe=timeframe, since=since)


def compute(
    bars: pl.DataFrame,
    features: Sequence[Feature],
    *,
    timeframe: timedelta,
    since: datetime | None = None,
) -> pl.DataFrame:
    """Compute `features`, registered or not, as `build_matrix` does."""
    keys = bars.select(KEY)
    # The row of the result that each bar becomes.
    rows = np.arange(bars.height)
    if since is not None:
        fresh = keys["known_at"] > since
        rows, keys = fresh.cast(pl.Int64).cum_sum().to_numpy() - 1, keys.filter(fresh)
    table = np.empty((len(features), keys.height), np.float32)
    work = [
        piece
        for chosen, venue in venues(bars)
        for piece in pieces(features, rows[chosen], Panel.of(venue, timeframe), since)
    ]
    # On an hour's few bars two threads would only wait for each other.
    if bars.height <= CHUNK_CELLS or THREADS == 1:
        for piece in work:
            _fill(table, piece)
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(lambda piece: _fill(table, piece), work):
                pass
    columns = [pl.Series(one.name, table[i], nan_to_null=True) for i, one in enumerate(features)]
    return pl.concat([keys, pl.DataFrame(columns)], how="horizontal")


def _fill(table: npt.NDArray[np.float32], piece: Piece) -> None:
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
        raise failure(one, error) from error
    shape = (len(grid.symbols), grid.length)
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != np.float64:
        given = f"{getattr(values, 'dtype', type(values).__name__)} {getattr(values, 'shape', '')}"
        raise failure(one, f"it returned {given}, not float64 {shape}")
    return values


def _expression_values(expressions: dict[int, Feature], grid: Grid) -> Iterator[tuple[int, Array]]:
    built = {one: _expression(one, grid) for one in expressions.values()}
    roots = {name for expression in built.values() for name in expression.meta.root_names()}
    frame = grid.frame(sorted(roots | {"known_at"}))
    symbols = [frame.slice(row * grid.length, grid.length) for row in range(len(grid.symbols))]
    found = [_selected(symbol, built) for symbol in symbols]
    for i, one in expressions.items():
        dtype = found[0].schema[one.name]
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise failure(one, f"it returned {dtype}, which is not numeric")
        yield i, np.stack([part[one.name].cast(pl.Float64).to_numpy() for part in found])


def _selected(frame: pl.DataFrame, built: dict[Feature, pl.Expr]) -> pl.DataFrame:
    # Beside a column of full length a wrong length is refused and a scalar is repeated.
    try:
        return frame.select("known_at", **{one.name: said for one, said in built.items()})
    except pl.exceptions.PolarsError as error:
        if len(built) == 1:
            raise failure(next(iter(built)), error) from error
        for one, expression in built.items():
            _selected(frame, {one: expression})
        raise


def _expression(one: Feature, grid: Grid) -> pl.Expr:
    try:
        expression: Any = one.function(*one.windows)
    except Exception as error:
        raise failure(one, error) from error
    if not isinstance(expression, pl.Expr):
        given = type(expression).__name__
        raise failure(one, f"without a `grid` parameter it must return a pl.Expr, not {given}")
    if unknown := sorted(set(expression.meta.root_names()) - grid.columns):
        raise failure(one, f"bars have no column {', '.join(unknown)}")
    return expression
