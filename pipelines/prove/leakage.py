"""The proof that columns are causal, on the bars of a home: selected, examined, told.

The laws are those of `features.examination`; here are the bars they are asked of, and the planted leaks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from features.as_of_join import Readings
from features.examination import Examination, Progress, examine
from features.registry import Feature, registered, select
from pipelines import clock
from pipelines.clock import floor_to_grid, timeframe_delta
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.feature_inputs import read_bars, read_sources, stale_after
from pipelines.prove.canaries import canaries, planted_readings
from pipelines.settings import Settings
from pipelines.symbols import perpetual_of
from pipelines.tables import BARS, INSTANT

if TYPE_CHECKING:
    from pipelines.market_simulator import SyntheticMarket
    from pipelines.market_simulator.bars import Bars, Times, Values
    from pipelines.market_simulator.instruments import Instrument

LAKE, SYNTHETIC = "the lake", "the synthetic market"
# Enough for three of the longest lookbacks before every cut.
_SYNTHETIC_BARS = 4_000
_SYNTHETIC_END = datetime(2025, 1, 1, tzinfo=UTC)
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

    What sources published is joined as of when it was known, and is cut with the bars: the join is
    proved with the features.

    Reads: bars of the universe, funding, open_interest, premiums, indices. Writes: nothing.

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
    needs = [column for one in features for column in one.needs]
    if synthetic or not context.lake.exists(BARS.name):
        source, bars = SYNTHETIC, synthetic_bars(settings)
        readings = synthetic_readings(settings)
    else:
        newest = end or floor_to_grid(clock.now(), settings.timeframe)
        source = LAKE
        begin = start or _BEGINNING
        bars = read_bars(context.lake, settings, start=begin, end=newest)
        readings = read_sources(context.lake, settings, start=begin, end=newest, needs=needs)
    try:
        found = examine(
            features,
            bars,
            timeframe=timeframe_delta(settings.timeframe),
            planted=canaries(),
            sources=[*readings, *([planted_readings(bars)] if bars.height else [])],
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

    step, end = timeframe_delta(settings.timeframe), _SYNTHETIC_END
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
        frames.append(as_bars(bars.take(~hole), item.symbol, settings.venue, step))
    return pl.concat(frames).sort(BARS.key)


def synthetic_readings(settings: Settings) -> list[Readings]:
    """Return what the synthetic market's venue of perpetuals and its publishers had said, as of when."""
    from pipelines.market_simulator import SyntheticMarket
    from pipelines.market_simulator.clock import milliseconds

    contracts = {perpetual_of(symbol): symbol for symbol in settings.universe}
    market = SyntheticMarket([*contracts, *contracts.values()])
    now, sources = milliseconds(_SYNTHETIC_END), settings.sources
    symbols = {item.symbol: item for item in market.instruments}
    made = dict[str, list[pl.DataFrame]]()
    for contract, symbol in contracts.items():
        item = symbols[contract]
        told = {
            "funding_rate": _as_readings(*market.funding(item, now)),
            "open_interest": _as_readings(
                *market.open_interest(item, now),
                lag=timedelta(minutes=sources.open_interest_lag_minutes),
            ),
            "premium": _premiums(market, item, symbols[symbol], now),
        }
        for column, rows in told.items():
            made.setdefault(column, []).append(rows.with_columns(symbol=pl.lit(symbol)))
    for column, series, hours in (
        ("fear_greed", "FEAR_GREED", sources.fear_greed_lag_hours),
        ("vix", "VIX", sources.macro_lag_hours),
        ("dxy", "DXY", sources.macro_lag_hours),
    ):
        lag = timedelta(hours=hours)
        made[column] = [_as_readings(*market.index(series, now), lag=lag)]
    return [Readings(c, pl.concat(rows), stale_after(settings, c)) for c, rows in made.items()]


def _premiums(
    market: "SyntheticMarket", contract: "Instrument", pair: "Instrument", now: int
) -> pl.DataFrame:
    from pipelines.market_simulator.bars import CLOSE, HOUR, Request

    request = Request(-(2**62), now - HOUR, 10**6, False, now)
    own, its = market.bars(contract, HOUR, request), market.bars(pair, HOUR, request)
    return _as_readings(own.open_time + HOUR, own.values[CLOSE] / its.values[CLOSE] - 1)


def _as_readings(times: "Times", values: "Values", lag: timedelta = timedelta(0)) -> pl.DataFrame:
    known = pl.Series("known_at", times).cast(pl.Datetime("ms", "UTC")).cast(INSTANT) + lag
    return pl.DataFrame({"known_at": known, "value": values.astype(np.float64)})


_VALUES = (
    "open", "high", "low", "close", "volume", "quote_volume", "trades", "taker_buy_volume",
)  # fmt: skip


def as_bars(bars: "Bars", symbol: str, venue: str, step: timedelta) -> pl.DataFrame:
    """Return bars of the synthetic market as rows of the bars contract."""
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
