"""How fast features are computed: full history, one hour, and how it grows. Prints; asserts nothing.

Uses ten real pairs from 2021 on, with their funding, Fear & Greed, VIX and dollar index, where the real
bars are beside the repository; a random market of the same size where they are not. Sources without a
file are random, so that every column has values. `--plot FILE` draws the growth.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import polars as pl
from real_pairs import outside_readings

from features.as_of_join import SOURCE_COLUMNS, Readings, with_readings
from features.matrix import THREADS, build_matrix, compute
from features.registry import registered, required_lookback

HOUR = timedelta(hours=1)
START = datetime(2021, 1, 1, tzinfo=UTC)
BASES = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ETH", "LINK", "LTC", "SOL", "XRP")
REAL = Path(__file__).resolve().parents[3] / "shared" / "market" / "ohlcv_1h" / "binance_spot"


def real_bars() -> pl.DataFrame:
    """Return the real pairs in the bars contract."""
    frames = []
    for base in BASES:
        frame = pl.read_parquet(REAL / f"{base}USDT.parquet")
        known_at = pl.col("open_time").cast(pl.Datetime("us", "UTC")) + HOUR
        frames.append(
            frame.select(
                pl.lit("binance").alias("venue"),
                pl.lit(f"{base}/USDT").alias("symbol"),
                known_at.alias("known_at"),
                *("open", "high", "low", "close", "volume"),
                pl.col("trades").cast(pl.Int64),
                pl.col("taker_buy_base").alias("taker_buy_volume"),
            ).filter(pl.col("known_at") > START)
        )
    return pl.concat(frames)


def random_bars(symbols: int, bars: int) -> pl.DataFrame:
    """Return a random walk a symbol."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(rng.normal(0, 0.01, (symbols, bars)).cumsum(axis=1)).reshape(-1)
    volume = rng.lognormal(3, 0.5, symbols * bars)
    known_at = pl.Series([START + (i + 1) * HOUR for i in range(bars)]).dt.cast_time_unit("us")
    return pl.DataFrame(
        {
            "venue": ["binance"] * (symbols * bars),
            "symbol": np.repeat(
                [f"C{i:04d}/USDT" for i in range(symbols - 1)] + ["BTC/USDT"], bars
            ),
            "known_at": pl.concat([known_at] * symbols),
            "open": close * 0.999,
            "high": close * 1.002,
            "low": close * 0.998,
            "close": close,
            "volume": volume,
            "trades": rng.integers(10, 900, symbols * bars),
            "taker_buy_volume": volume / 2,
        }
    )


def with_sources(bars: pl.DataFrame, said: Sequence[Readings] = ()) -> pl.DataFrame:
    """Return bars with what was said beside them, and random readings of the sources that are left."""
    known, rng = with_readings(bars, said), np.random.default_rng(2)
    left = [name for name in SOURCE_COLUMNS if name not in known.columns]
    return known.with_columns(pl.Series(name, rng.lognormal(3, 0.4, bars.height)) for name in left)


def whole_market() -> pl.DataFrame:
    """Return all ten pairs with every source, or a random market of their size."""
    if not REAL.is_dir():
        return with_sources(random_bars(10, 39_394))
    return with_sources(real_bars(), outside_readings())


def filled(matrix: pl.DataFrame) -> int:
    """Return how many columns have a value."""
    return sum(matrix[one.name].null_count() < matrix.height for one in registered())


def seconds(work: Callable[[], object], times: int) -> float:
    """Return the median of `times` runs, after one that compiles."""
    work()
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one run on all cores together, which a busy machine leaves alone."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def cold_seconds() -> float:
    """Return how long a process takes to its first hour when no kernel was ever compiled."""
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_features as b; "
        "bars = b.with_sources(b.random_bars(10, b.required_lookback() + 1)); "
        "b.build_matrix(bars, timeframe=b.HOUR)"
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
        )
        return time.perf_counter() - begin


def print_families(bars: pl.DataFrame) -> None:
    """Print rates by family, those that estimate something apart."""
    features = registered()
    slow = {"garch": None, "market_factor": None, "regimes": None, "spectral": None}
    families = dict.fromkeys(one.family for one in features)
    for title, group in (
        ("families", [family for family in families if family not in slow]),
        ("slow families: GARCH, PCA, hidden states, wavelets", [*slow]),
    ):
        print(f"\n{title}, milliseconds and M cells/s")
        for family in group:
            chosen = [one for one in features if one.family == family]
            spent = seconds(lambda chosen=chosen: compute(bars, chosen, timeframe=HOUR), 3)
            rate = bars.height * len(chosen) / spent / 1e6
            print(f"  {family:17} {len(chosen):3} columns {spent * 1e3:7.0f} {rate:7.0f}")


def print_hours() -> None:
    """Print what an hour costs as `build_features` asks for it: the two days that may be restated."""
    print("\none hour (the newest 50 bars of every symbol, their lookbacks before), seconds")
    for symbols in (10, 100, 500):
        bars = with_sources(random_bars(symbols, required_lookback() + 50))
        since = START + required_lookback() * HOUR

        def hour(bars: pl.DataFrame = bars, since: datetime = since) -> object:
            return build_matrix(bars, timeframe=HOUR, since=since)

        spent, used = seconds(hour, 3), processor_seconds(hour)
        print(f"  {symbols:4} symbols {spent:7.3f} s, {used:7.3f} s of processor")


Growth = dict[str, list[tuple[int, float]]]


def growth() -> Growth:
    """Return processor seconds by rows, symbols and columns, all else being equal."""
    everything, bars = registered(), with_sources(random_bars(10, 20_000))
    kernels = everything[:: max(len(everything) // 256, 1)]

    def spent(bars: pl.DataFrame, count: int | None = None) -> float:
        chosen = everything if count is None else kernels[:: max(len(kernels) // count, 1)][:count]
        compute(bars, chosen, timeframe=HOUR)
        return min(
            processor_seconds(lambda: compute(bars, chosen, timeframe=HOUR)) for _ in range(2)
        )

    lengths, markets, widths = (5_000, 10_000, 20_000, 40_000), (5, 10, 20, 40), (32, 64, 128, 256)
    return {
        "bars of ten symbols": [(n, spent(with_sources(random_bars(10, n)))) for n in lengths],
        "symbols of 10,000 bars": [
            (n, spent(with_sources(random_bars(n, 10_000)))) for n in markets
        ],
        "columns of ten symbols": [(n, spent(bars, n)) for n in widths],
    }


def slope(points: list[tuple[int, float]]) -> float:
    """Return the exponent of the growth: 1 where twice the work takes twice the time."""
    sizes, spent = np.log(np.array(points, float)).T
    return float(np.polyfit(sizes, spent, 1)[0])


def plot(found: Growth, file: Path) -> None:
    """Draw the growth, doubly logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(9, 2.8), layout="constrained")
    for axis, (what, points) in zip(axes, found.items(), strict=True):
        sizes, spent = zip(*points, strict=True)
        axis.loglog(sizes, spent, "o-", color="#2458a8", label=f"exponent {slope(points):.2f}")
        line = [spent[0] * size / sizes[0] for size in sizes]
        axis.loglog(sizes, line, "--", color="#999999", label="linear")
        axis.set(xlabel=what, ylabel="processor seconds")
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=7)
    figure.savefig(file, dpi=90)


def main() -> None:
    """Print rates and growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="PNG or SVG to draw the growth to")
    options = parser.parse_args()
    bars, features = whole_market(), registered()
    valued = filled(build_matrix(bars, timeframe=HOUR))
    taken = seconds(lambda: build_matrix(bars, timeframe=HOUR), 3)
    used = processor_seconds(lambda: build_matrix(bars, timeframe=HOUR))
    cells = bars.height * len(features)
    peak = getrusage(RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(features)} columns, {valued} with values, x {bars.height} rows: {taken:.2f} s, {cells / taken / 1e6:.0f} M cells/s "
        f"on {THREADS} threads; {used:.2f} s of processor time, {cells / used / 1e6:.0f} M cells/s of it; "
        f"at most {peak:.1f} GB; load {os.getloadavg()[0]:.1f}"
    )
    print_families(bars)
    print_hours()
    print("\ngrowth, seconds of processor time")
    found = growth()
    for what, points in found.items():
        listed = ", ".join(f"{size:,}: {spent:.2f}" for size, spent in points)
        print(f"  {what}: {listed}; exponent {slope(points):.2f}")
    if options.plot:
        plot(found, options.plot)
    print(f"\nfirst hour of a new machine, all kernels compiled: {cold_seconds():.1f} s")


if __name__ == "__main__":
    main()
