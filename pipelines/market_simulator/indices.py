"""Daily indices: made from a seed and time alone, or read from the files of a replay.

Fear & Greed has a value every day, from the beginning of its date; VIX and dollar index have one on
weekdays, from the close in New York. The made ones know nothing of the coins, so they carry no signal at
any dial.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import DAY, HOUR, Times, Values
from pipelines.market_simulator.price_paths import EPOCH, AutoRegression, stream

SERIES = ("FEAR_GREED", "VIX", "DXY")
# From the beginning of a date to when its value appears.
_APPEARS = {"FEAR_GREED": 0, "VIX": 22 * HOUR, "DXY": 22 * HOUR}
# Half-life [days], mean and deviation of the made series; of the logarithm but for Fear & Greed.
_MADE = {
    "FEAR_GREED": (12.0, 50.0, 22.0),
    "VIX": (20.0, np.log(18.0), 0.3),
    "DXY": (120.0, np.log(100.0), 0.04),
}
_FILES = {
    "FEAR_GREED": ("fear_greed/alternative_me_daily.parquet", "value"),
    "VIX": ("macro/vix_daily.parquet", "close"),
    "DXY": ("macro/dxy_daily.parquet", "close"),
}
_NOTHING = (np.empty(0, dtype=np.int64), np.empty(0))


def made_index(series: str, seed: int, now: int) -> tuple[Times, Values]:
    """Return the dates [ms since 1970] and values of a made index that had appeared by `now`."""
    days = max(0, (now - EPOCH) // DAY + 1)
    dates, values = _made(series, seed, days)
    return published(series, dates, values, now)


def stored_indices(folder: Path) -> Mapping[str, tuple[Times, Values]]:
    """Read the indices of a replay's folder: all dates and values of each, none where a file is absent.

    Raises
    ------
    ConfigError
        If the dates of a file are not ascending.
    """
    found = {}
    for series, (name, column) in _FILES.items():
        file = folder / name
        found[series] = _read(file, column) if file.is_file() else _NOTHING
    return found


def published(series: str, dates: Times, values: Values, now: int) -> tuple[Times, Values]:
    """Return those that had appeared by `now`."""
    known = int(np.searchsorted(dates, now - _APPEARS[series], side="right"))
    return dates[:known], values[:known]


@cache
def _made(series: str, seed: int, days: int) -> tuple[Times, Values]:
    half_life, mean, deviation = _MADE[series]
    generator = stream(seed, f"index:{series}", 2**63)
    path = AutoRegression(half_life, deviation, generator).run(generator.standard_normal(days))
    dates = EPOCH + DAY * np.arange(days, dtype=np.int64)
    if series == "FEAR_GREED":
        return dates, np.clip(np.rint(mean + path), 1, 99)
    # 1970 began on a Thursday; 5 and 6 are the weekend.
    trading = (dates // DAY + 3) % 7 < 5
    return dates[trading], np.exp(mean + path).round(3)[trading]


def _read(file: Path, column: str) -> tuple[Times, Values]:
    frame = pl.read_parquet(file)
    dates = frame["date"].dt.epoch("ms").to_numpy()
    if (np.diff(dates) <= 0).any():
        raise ConfigError(f"{file}: dates are not ascending", remedy="sort it, drop duplicates")
    return dates, frame[column].cast(pl.Float64).to_numpy()
