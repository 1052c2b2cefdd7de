"""How fast the feature matrix goes into the lake and comes back. Prints; asserts nothing.

All columns of the market of `bench_features`: write, read, replace an hour, append one, check 100,000 rows
through Great Expectations, and the memory each took.
"""

import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import polars as pl
from bench_features import HOUR, filled, whole_market

from features.matrix import KEY, build_matrix
from features.registry import registered
from pipelines.lake import Lake
from pipelines.quality.gate import CheckResult, validate
from pipelines.steps.check_features import bounded_table
from pipelines.tables import FEATURES, features_table

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def timed(what: str, cells: int, work: Callable[[], object]) -> None:
    """Print wall and processor time of one run, the rate, and the most memory so far."""
    begin, used = time.perf_counter(), time.process_time()
    work()
    taken, used = time.perf_counter() - begin, time.process_time() - used
    rate = f"{cells / taken / 1e6:6.0f} M cells/s" if cells else " " * 18
    peak = getrusage(RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  {what:46} {taken:7.3f} s, {used:6.3f} s of processor {rate}, peak {peak:.1f} GB")


def shaken(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with other values in some columns, as after a restated bar."""
    return frame.with_columns(pl.selectors.starts_with("return_") + 1)


def main() -> None:
    """Write, read, append and replace."""
    matrix = build_matrix(whole_market(), timeframe=HOUR)
    names = [one.name for one in registered()]
    table, cells = features_table(names), matrix.height * len(names)
    newest = matrix["known_at"].max()
    assert isinstance(newest, datetime)
    before, hour = (
        (matrix.filter(pl.col("known_at") <= newest - HOUR)),
        matrix.filter(pl.col("known_at") == newest),
    )
    print(
        f"{matrix.height} rows x {len(names)} columns, {filled(matrix)} with values, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        timed(
            "write the whole matrix", cells,
            lambda: lake.replace(table, before, start=BEGINNING, end=newest - HOUR),
        )  # fmt: skip
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
        print(f"  {size / 2**20:.0f} MB of Parquet, {size / cells:.2f} bytes a cell")
        lake.read(FEATURES.name, start=newest - HOUR, end=newest)
        timed(
            "append the next hour", 0,
            lambda: lake.replace(table, hour, start=newest - HOUR, end=newest),
        )  # fmt: skip
        # An hour of a full month: the newest may be the first of its own.
        restated = newest - timedelta(days=2)
        hour = matrix.filter(pl.col("known_at") == restated)
        for turn in ("for the first time", "again"):
            hour = shaken(hour)
            timed(
                f"replace an hour {turn}", 0,
                lambda hour=hour: lake.replace(table, hour, start=restated - HOUR, end=restated),
            )  # fmt: skip
        fresh = Lake(folder)
        for turn in ("for the first time", "again"):
            timed(
                f"read it all, sorted by key, {turn}", cells,
                lambda: fresh.read(FEATURES.name, end=newest),
            )  # fmt: skip
        timed(
            "read 250 columns of it", 250 * matrix.height,
            lambda: fresh.read(FEATURES.name, end=newest, columns=[*KEY, *names[:250]]),
        )  # fmt: skip
        timed(
            "read ten columns of it", 0,
            lambda: fresh.read(FEATURES.name, end=newest, columns=[*KEY, *names[:10]]),
        )  # fmt: skip
        timed(
            "read a week", 0,
            lambda: fresh.read(FEATURES.name, start=newest - timedelta(days=7), end=newest),
        )  # fmt: skip
    print_expectations(matrix)


def print_expectations(matrix: pl.DataFrame) -> None:
    """Print what Great Expectations takes for 250 columns of 100,000 rows, imported already."""
    chosen = registered()[:250]
    table = bounded_table(tuple(chosen))
    rows = matrix.select(*KEY, *(one.name for one in chosen)).head(100_000)

    def check(rows: pl.DataFrame) -> list[CheckResult]:
        known_at = rows["known_at"].max()
        assert isinstance(known_at, datetime)
        return validate(table, rows, run_known_at=known_at, venue="binance", full=True)

    check(rows.head(10))
    timed(
        f"expectations on {len(chosen)} columns of {rows.height} rows", rows.height * len(chosen),
        lambda: check(rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
