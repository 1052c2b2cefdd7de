"""The proof that columns are causal, on the bars of a home: selected, examined, told.

The laws are those of `features.examination`; here are the bars they are asked of, and the planted leaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.examination import Examination, Progress, examine
from features.registry import Feature, registered, select
from pipelines import clock
from pipelines.clock import floor_to_grid, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.prove.canaries import canaries
from pipelines.settings import Settings
from pipelines.steps.build_features import read_bars
from pipelines.tables import BARS

if TYPE_CHECKING:
    from pipelines.market_simulator.bars import Bars

LAKE, SYNTHETIC = "the lake", "the synthetic market"
# Enough for three of the longest lookbacks before every cut.
_SYNTHETIC_BARS = 4_000
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# What real markets have: a bar of one symbol that is missing, a day and a half of all.
_LONE_HOLE, _OUTAGE = 2_400, (2_900, 2_933)


@dataclass(frozen=True)
class Leakage:
    """What was proved, and on what.

    Parameters
    ----------
    source : {"the lake", "the synthetic market"}
    symbols : tuple of str
    start, end : datetime
        First and last bar.
    rows : int
    """

    source: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    rows: int
    examination: Examination

    @property
    def passed(self) -> bool:
        """Whether no column breaks a law and every planted leak was caught."""
        return self.examination.passed

    @property
    def summary(self) -> dict[str, int]:
        """``{"features", "violations", "canaries", "caught"}``."""
        found = self.examination
        caught = [leak for leak in found.planted if leak.violation is not None]
        broken = {violation.feature for violation in found.violations}
        unfit = broken - {column.feature.name for column in found.columns}
        return {
            "features": len(found.columns) + len(unfit),
            "violations": len(found.violations),
            "canaries": len(found.planted),
            "caught": len(caught),
        }


def prove_leakage(
    context: Context,
    features: Sequence[Feature],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    synthetic: bool = False,
    progress: Progress | None = None,
) -> Leakage:
    """Prove `features` on the home's bars, or on the synthetic market where it has none.

    Reads: bars of the universe. Writes: nothing.

    Parameters
    ----------
    features : sequence of Feature
    start, end : datetime, optional
        Bars with `start < known_at <= end`; by default all.
    synthetic : bool
        Ask the synthetic market although there are bars.
    progress : callable, optional
        Told (stages done, stages, what is looked at).

    Raises
    ------
    ContractViolation
        If the bars are too few for the longest lookback.
    """
    settings = context.settings
    if synthetic or not context.lake.exists(BARS.name):
        source, bars = SYNTHETIC, synthetic_bars(settings)
    else:
        newest = end or floor_to_grid(clock.now(), settings.timeframe)
        source = LAKE
        bars = read_bars(context.lake, settings, start=start or _BEGINNING, end=newest)
    try:
        found = examine(
            features,
            bars,
            timeframe=timeframe_delta(settings.timeframe),
            planted=canaries(),
            progress=progress,
        )
    except ValueError as error:
        raise ContractViolation(
            f"bars of {', '.join(settings.universe)}: {error}; nothing was proved",
            remedy="run `hourglass backfill`, give a longer span, or --synthetic",
        ) from error
    known = bars["known_at"]
    symbols = tuple(bars["symbol"].unique().sort())
    first, last = known.min(), known.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return Leakage(source, symbols, first, last, bars.height, found)


def chosen_features(names: Sequence[str], families: Sequence[str]) -> list[Feature]:
    """Return the features called `names` and those of `families`; all registered ones by default.

    Raises
    ------
    ConfigError
        If one does not exist, naming the nearest, or a file in `features/` cannot be read as a family.
    """
    try:
        if not names and not families:
            return registered()
        of_families = registered(families) if families else []
        return list(dict.fromkeys([*select(names), *of_families]))
    except ValueError as error:
        raise ConfigError(str(error), remedy="see `hourglass features`") from error


def synthetic_bars(settings: Settings) -> pl.DataFrame:
    """Return half a year of the synthetic market's bars, with a hole and an outage in them.

    It ends at the newest bar of 2024, so a proof on it can be repeated.
    """
    from pipelines.market_simulator import SyntheticMarket
    from pipelines.market_simulator.bars import Request
    from pipelines.market_simulator.clock import milliseconds

    step, end = timeframe_delta(settings.timeframe), datetime(2025, 1, 1, tzinfo=UTC)
    milli = step // timedelta(milliseconds=1)
    market = SyntheticMarket(settings.universe)
    request = Request(
        milliseconds(end - _SYNTHETIC_BARS * step), milliseconds(end) - 1, 10**6, False,
        milliseconds(end),
    )  # fmt: skip
    frames = []
    for number, item in enumerate(market.instruments):
        bars = market.bars(item, milli, request)
        row = np.arange(len(bars))
        hole = (row >= _OUTAGE[0]) & (row < _OUTAGE[1]) | ((row == _LONE_HOLE) & (number == 0))
        frames.append(_as_bars(bars.take(~hole), item.symbol, settings.venue, step))
    return pl.concat(frames).sort(BARS.key)


_VALUES = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
)  # fmt: skip


def _as_bars(bars: "Bars", symbol: str, venue: str, step: timedelta) -> pl.DataFrame:
    opened = pl.Series(bars.open_time).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC"))
    values = {name: bars.values[i] for i, name in enumerate(_VALUES)}
    frame = pl.DataFrame({"open_time": opened, **values}, nan_to_null=True)
    return frame.with_columns(
        venue=pl.lit(venue),
        symbol=pl.lit(symbol),
        known_at=pl.col("open_time") + step,
        ingested_at=pl.col("open_time") + step,
        trades=pl.col("trades").cast(pl.Int64),
    ).select(*BARS.schema)
