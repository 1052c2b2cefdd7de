"""The order of rows: what stands in runs is moved run by run, what does not is sorted row by row."""

from collections.abc import Sequence

import polars as pl

# Shorter runs than this on average are sorted row by row, and so are few rows altogether.
_RUN = 64
_FEW = 1_000
# Up to so many values, 8 MB, the runs are copied into one piece.
_COMPACT = 2_000_000


def by_key(frame: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """Return `frame` sorted by `key`, rows that follow each other moved together.

    A month's file is sorted when it is written, so a table is put in order a block a symbol and month;
    what does not come in such runs is sorted row by row. Of a large frame no value is moved: its columns
    are chunks of those it had, for years of hundreds of columns take longer to copy than to read.
    """
    runs = None if frame.height < _FEW else _runs(frame, key)
    if runs is None:
        return frame.sort(key)
    pieces = runs.select("begin", "length").iter_rows()
    compact = frame.height * frame.width <= _COMPACT
    return pl.concat([frame.slice(begin, length) for begin, length in pieces], rechunk=compact)


def _runs(keys: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame | None:
    """Return begin and length of the runs of rows that follow each other, in the order that sorts them all.

    None where rows do not come in runs, or where these overlap, as they do if a key repeats.
    """
    *entity, last = key
    same = pl.lit(value=True)
    for name in entity:
        same &= pl.col(name) == pl.col(name).shift(1)
    follows = same & (pl.col(last) > pl.col(last).shift(1))
    begins = keys.select(follows.fill_null(value=False).not_().arg_true()).to_series()
    if keys.height <= _RUN * len(begins):
        return None
    ends = begins.shift(-1, fill_value=keys.height)
    runs = (
        keys.select(key)[begins]
        .with_columns(begin=begins, length=ends - begins, until=keys[last][ends - 1])
        .sort(key)
    )
    return None if _overlap(runs, entity, last) else runs.select("begin", "length")


def _overlap(runs: pl.DataFrame, entity: Sequence[str], last: str) -> bool:
    """Say whether a run begins before the one of the same entity that precedes it has ended."""
    within = pl.col(last) <= pl.col("until").shift(1)
    for name in entity:
        within &= pl.col(name) == pl.col(name).shift(1)
    return bool(runs.select(within.any()).item())
