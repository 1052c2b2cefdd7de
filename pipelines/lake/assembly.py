"""Years of a wide table, put in order while they are read.

Read whole and then sorted, hundreds of float columns stand in memory twice, and most of the time goes
into asking the system for that memory. Here the keys are read first, so that the place of every row
is known, and a few files at a time are decoded and moved there.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.lake.order import by_key, runs_in_order

Scan: TypeAlias = Callable[[Sequence[str], pl.Expr | None, list[str] | None], pl.DataFrame]
_Floats: TypeAlias = npt.NDArray[np.float32]
_Integers: TypeAlias = npt.NDArray[np.int64]

# Half a year of ten symbols: fewer are read in more pieces, and hundreds of columns are planned for each.
_ROWS_AT_ONCE = 40_000
_THREADS = 2
# Columns share an allocation, which lives as long as any of them: not all share the same one.
_BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class _Batch:
    """Files that are read together, the chosen rows in them, and whether all are chosen."""

    paths: list[str]
    begin: int
    end: int
    whole: bool


def assemble(
    scan: Scan,
    files: Sequence[tuple[str, int]],
    chosen: pl.Expr,
    *,
    narrow: Sequence[str],
    wide: Sequence[str],
    key: Sequence[str],
) -> pl.DataFrame | None:
    """Return the chosen rows of `files`, sorted by `key`.

    Parameters
    ----------
    scan : callable
        Reads data files: their paths, which rows, which columns.
    files : sequence of (str, int)
        Path of each and how many rows the log says it has.
    chosen : polars.Expr
        Of `narrow` columns.
    narrow, wide : sequence of str
        The columns to return; `key` is among the first, and the others are all float32.

    Returns
    -------
    polars.DataFrame or None
        None where this is not the way: rows that do not come in runs, a file of another length than
        the log says, a NaN next to nulls.
    """
    few = scan([path for path, _ in files], None, list(narrow))
    if few.height != sum(rows for _, rows in files):
        return None
    mask = few.select(chosen).to_series()
    few = few.filter(mask)
    batches = list(_batches(files, mask))
    runs = runs_in_order(few, key, [batch.begin for batch in batches])
    if runs is None:
        return None
    floats = _gather(scan, batches, chosen, runs, list(wide))
    return None if floats is None else by_key(few, key).hstack(floats)


def _batches(files: Sequence[tuple[str, int]], mask: pl.Series) -> Iterator[_Batch]:
    before = np.append(0, np.cumsum(mask.to_numpy()))
    paths, first, row = list[str](), 0, 0
    for path, rows in files:
        paths.append(path)
        row += rows
        if row - first >= _ROWS_AT_ONCE or row == mask.len():
            begin, end = int(before[first]), int(before[row])
            if begin < end:
                yield _Batch(paths, begin, end, end - begin == row - first)
            paths, first = [], row


def _gather(
    scan: Scan, batches: Sequence[_Batch], chosen: pl.Expr, runs: pl.DataFrame, names: list[str]
) -> pl.DataFrame | None:
    """Read the float columns `names` of `batches` and move each of the `runs` to its place."""
    at = pl.col("length").cum_sum() - pl.col("length")
    moves = runs.select("begin", "length", at=at).cast(pl.Int64).sort("begin").to_numpy()
    blocks = _allocate(len(names), int(moves[:, 1].sum()))

    def place(batch: _Batch) -> _Integers:
        read = scan(batch.paths, None if batch.whole else chosen, names)
        here = slice(*np.searchsorted(moves[:, 0], [batch.begin, batch.end]))
        _move(read, blocks, (moves[here] - [batch.begin, 0, 0]).tolist())
        return np.array(read.null_count().row(0))

    with ThreadPoolExecutor(_THREADS) as pool:
        nulls = np.sum(list(pool.map(place, batches)), axis=0).tolist()
        rows = [row for block in blocks for row in block]
        columns = list(pool.map(_column, names, rows, nulls))
    found = [column for column in columns if column is not None]
    return pl.DataFrame(found) if len(found) == len(names) else None


def _allocate(columns: int, rows: int) -> list[_Floats]:
    width = max(1, _BLOCK_BYTES // (4 * rows))
    widths = [min(width, columns - first) for first in range(0, columns, width)]
    # Not by numpy, which asks for large pages: where these were given back to a host of virtual
    # machines, touching them anew costs more than reading the files.
    private = MAP_PRIVATE | MAP_ANONYMOUS
    memory = [mmap(-1, 4 * n * rows, flags=private) for n in widths]
    return [np.frombuffer(of, np.float32).reshape(-1, rows) for of in memory]


def _move(read: pl.DataFrame, blocks: Sequence[_Floats], moves: list[list[int]]) -> None:
    first = 0
    for block in blocks:
        last = first + len(block)
        # A block's columns at a time are few enough to be moved out of the processor's cache.
        rows = read[:, first:last].to_numpy(order="fortran").T
        for begin, length, at in moves:
            block[:, at : at + length] = rows[:, begin : begin + length]
        first = last


def _column(name: str, values: _Floats, nulls: int) -> pl.Series | None:
    """Return a column over `values`, null where they are NaN; None if there are more of these."""
    column = pl.Series(name, _array(values))
    if not nulls:
        return column
    present = column.is_not_nan()
    if len(values) - int(present.sum()) != nulls:
        return None
    return pl.Series(name, _array(values, present.to_arrow().buffers()[1], nulls))


def _array(values: _Floats, present: Any = None, nulls: int = 0) -> Any:
    # Here, for the hourly process reads no years and is quicker without it.
    import pyarrow as pa

    return pa.Array.from_buffers(pa.float32(), len(values), [present, pa.py_buffer(values)], nulls)
