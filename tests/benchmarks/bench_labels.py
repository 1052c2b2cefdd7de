"""How long labels, weights and splits of ten symbols over four years take. Prints; asserts nothing."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from training.config import LabelConfig
from training.labels import label_bars
from training.splits import NO_END, PurgedKFold, audit_split
from training.weights import sample_weights

HOUR = timedelta(hours=1)
START = datetime(2021, 1, 1, tzinfo=UTC)
BARS = 4 * 365 * 24
SYMBOLS = 10


def random_market() -> pl.DataFrame:
    """Return random walks in the columns that labels read."""
    rng = np.random.default_rng(7)
    frames = []
    for place in range(SYMBOLS):
        close = 100 * np.exp(np.cumsum(rng.normal(0, 0.006, BARS)))
        opened = np.concatenate([[100.0], close[:-1]])
        frames.append(
            pl.DataFrame(
                {
                    "venue": "bench",
                    "symbol": f"S{place}",
                    "known_at": pl.datetime_range(
                        START, START + (BARS - 1) * HOUR, HOUR, time_unit="us", eager=True
                    ),
                    "open": opened,
                    "high": np.maximum(opened, close) * 1.002,
                    "low": np.minimum(opened, close) / 1.002,
                    "close": close,
                }
            )
        )
    return pl.concat(frames)


def main() -> None:
    """Time each part once, after the kernels are compiled."""
    bars, config = random_market(), LabelConfig()
    end = START + BARS * HOUR
    label_bars(bars.head(1000), config, timeframe=HOUR, end=end)
    began = time.perf_counter()
    labels = label_bars(bars, config, timeframe=HOUR, end=end)
    print(f"labels of {bars.height:,} bars: {time.perf_counter() - began:.2f} s")
    known = labels.drop_nulls("label")
    symbol = known["symbol"].rank("dense").to_numpy().astype(np.int64)
    known_at = known["known_at"].dt.timestamp("us").to_numpy()
    label_end = known["label_end"].dt.timestamp("us").fill_null(NO_END).to_numpy()
    began = time.perf_counter()
    sample_weights(symbol, known_at, label_end, timeframe=HOUR)
    print(f"weights of {known.height:,} labels: {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    for train, test in PurgedKFold(5, 24 * HOUR).split(known_at, label_end):
        audit_split("fold", known_at, label_end, train, test, timeframe=HOUR)
    print(f"five purged folds, audited: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
