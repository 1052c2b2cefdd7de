"""Bars for the feature tests: a random market of any size, and the real one where it is present."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.as_of_join import Readings, per_eight_hours, with_readings

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = datetime(2024, 1, 3, 5, tzinfo=UTC)
MakeBars = Callable[..., pl.DataFrame]


def _one(symbol: str, number: int, n: int, start: datetime, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng([seed, number])
    market = np.random.default_rng(seed).standard_t(4, n) * 0.006
    change = 0.7 * market + rng.standard_t(4, n) * 0.005
    close = 100 * (number + 1) ** 3 * np.exp(np.cumsum(change))
    open_ = np.concatenate([[close[0]], close[:-1]]) * (1 + rng.normal(0, 1e-4, n))
    wick = np.abs(rng.normal(0, 0.003, (2, n)))
    volume = rng.lognormal(3, 0.6, n) * (1 + 40 * np.abs(change))
    taker = np.clip(rng.normal(0.5, 0.08, n) + 4 * change, 0.05, 0.95)
    known_at = pl.datetime_range(start + HOUR, start + n * HOUR, "1h", eager=True, time_unit="us")
    return pl.DataFrame(
        {
            "venue": ["binance"] * n,
            "symbol": [symbol] * n,
            "known_at": known_at,
            "open_time": known_at - HOUR,
            "open": open_,
            "high": np.maximum(open_, close) * (1 + wick[0]),
            "low": np.minimum(open_, close) * (1 - wick[1]),
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": rng.integers(50, 5000, n),
            "taker_buy_volume": volume * taker,
        }
    )


def make_bars(
    n: int = 300,
    symbols: Sequence[str] = ("ADA/USDT", "BTC/USDT", "ETH/USDT"),
    *,
    start: datetime = START,
    seed: int = 7,
) -> pl.DataFrame:
    """Return `n` hourly bars a symbol, correlated and with fat tails."""
    return pl.concat([_one(s, i, n, start, seed) for i, s in enumerate(symbols)])


@pytest.fixture(scope="session", name="make_bars")
def _make_bars() -> MakeBars:
    return make_bars


def make_sources(bars: pl.DataFrame, *, seed: int = 7) -> list[Readings]:
    """Return what sources said over the time of `bars`: each at its own pace, with its lag and its holes.

    Funding is paid every eight hours and a second late, open interest known five minutes after the hour
    and silent for a day, the first symbol's contract exists from the 200th bar on, macro closes come
    on weekdays and six hours into the next day.
    """
    first, last = bars["known_at"].min(), bars["known_at"].max()
    begin = first.replace(hour=0) - timedelta(days=4)
    hours, days = (last - begin) // HOUR, (last - begin).days + 1
    symbols = bars["symbol"].unique().sort().to_list()
    rng = np.random.default_rng([seed, 99])

    def walk(n: int, level: float, scale: float) -> np.ndarray:
        noise, path = rng.normal(0, scale, n), np.empty(n)
        for i in range(n):
            path[i] = (0.97 * path[i - 1] if i else 0.0) + noise[i]
        return level + path

    def each(step: int, late: timedelta, make) -> pl.DataFrame:
        instants = [begin + i * step * HOUR + late for i in range(hours // step + 1)]
        rows = pl.concat(
            pl.DataFrame({"symbol": symbol, "known_at": instants, "value": make(len(instants))})
            for symbol in symbols
        ).with_columns(pl.col("known_at").cast(bars.schema["known_at"]))
        unlisted = (pl.col("symbol") == symbols[0]) & (pl.col("known_at") < first + 200 * HOUR)
        return rows.filter(~unlisted & (pl.col("known_at") <= last))

    def daily(lag: timedelta, values: np.ndarray, weekdays: int = 7) -> pl.DataFrame:
        dates = [begin + timedelta(days=i) for i in range(days)]
        rows = [(d + lag, v) for d, v in zip(dates, values, strict=True) if d.weekday() < weekdays]
        return pl.DataFrame(
            rows, schema={"known_at": bars.schema["known_at"], "value": pl.Float64}, orient="row"
        )

    interest = each(1, timedelta(minutes=5), lambda n: np.exp(walk(n, 10, 0.01)))
    silent = pl.col("known_at").is_between(first + 400 * HOUR, first + 424 * HOUR)
    mood = np.clip(walk(days, 50, 8), 1, 99).round()
    mood[days // 2 : days // 2 + 3], mood[-20:-18] = 90, 12
    return [
        Readings("funding_rate", each(8, timedelta(seconds=1), lambda n: walk(n, 1e-4, 5e-5)), DAY),
        Readings("open_interest", interest.filter(~silent), 6 * HOUR),
        Readings("premium", each(1, timedelta(0), lambda n: walk(n, 0, 1e-4)), 6 * HOUR),
        Readings("fear_greed", daily(HOUR, mood), 3 * DAY),
        Readings("vix", daily(30 * HOUR, np.exp(walk(days, 3, 0.05)), weekdays=5), 5 * DAY),
        Readings("dxy", daily(30 * HOUR, 100 * np.exp(walk(days, 0, 0.004)), weekdays=5), 5 * DAY),
    ]


@pytest.fixture(scope="session", name="make_sources")
def _make_sources() -> Callable[..., list[Readings]]:
    return make_sources


@pytest.fixture
def bars_of_2018(market_folder: Path) -> pl.DataFrame:
    """Bitcoin and ether from January to March 2018, with the venue's 33 hours without a bar."""
    span = (datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 4, 1, tzinfo=UTC))
    return pl.concat(_real(market_folder, base, span) for base in ("BTC", "ETH"))


@pytest.fixture
def real_bars(market_folder: Path) -> pl.DataFrame:
    """Five real pairs, January to April 2021, gaps as they were; taker volume of two of them.

    With the funding of their perpetuals, the premium of two, Fear & Greed, VIX and dollar index as they
    were known; open interest is not on file.
    """
    bases = ("ADA", "BTC", "ETH", "LTC", "XRP")
    bars = pl.concat(_real(market_folder, base) for base in bases)
    return with_readings(bars, _real_sources(market_folder, bases))


SPAN = (datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 5, 1, tzinfo=UTC))


def _real(folder: Path, base: str, span: tuple[datetime, datetime] = SPAN) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "ohlcv_1h" / "binance_spot" / f"{base}USDT.parquet")
    known_at = pl.col("open_time").cast(pl.Datetime("us", "UTC")) + HOUR
    return frame.select(
        pl.lit("binance").alias("venue"),
        pl.lit(f"{base}/USDT").alias("symbol"),
        known_at.alias("known_at"),
        "open", "high", "low", "close", "volume", "quote_volume",
        pl.col("trades").cast(pl.Int64),
        pl.col("taker_buy_base").alias("taker_buy_volume"),
    ).filter(pl.col("known_at").is_between(*span))  # fmt: skip


def _real_sources(folder: Path, bases: Sequence[str]) -> list[Readings]:
    def of_perpetuals(kind: str, value: pl.Expr, time: pl.Expr) -> pl.DataFrame:
        frames = [
            pl.read_parquet(file)
            .select(
                pl.lit(f"{base}/USDT").alias("symbol"),
                time.cast(pl.Datetime("us", "UTC")).alias("known_at"),
                value.cast(pl.Float64).alias("value"),
            )
            .filter(pl.col("known_at").is_between(SPAN[0] - 3 * DAY, SPAN[1]))
            for base in bases
            if (file := folder / kind / "binance_perp" / f"{base}USDT.parquet").exists()
        ]
        return pl.concat(frames)

    closed = pl.col("open_time").cast(pl.Datetime("us", "UTC")) + HOUR
    funding = of_perpetuals("funding", pl.col("funding_rate"), pl.col("funding_time"))
    contracts = of_perpetuals("ohlcv_1h", pl.col("close"), closed)
    spot = pl.concat(_real(folder, base) for base in bases).select("symbol", "known_at", "close")
    premium = contracts.join(spot, on=["symbol", "known_at"]).with_columns(
        value=pl.col("value") / pl.col("close") - 1
    )

    def index(name: str, value: str, lag: timedelta) -> pl.DataFrame:
        known = pl.col("date").dt.replace_time_zone("UTC").cast(pl.Datetime("us", "UTC")) + lag
        rows = pl.read_parquet(folder / name)
        return rows.select(known_at=known, value=pl.col(value).cast(pl.Float64))

    return [
        Readings("funding_rate", per_eight_hours(funding.rename({"value": "funding_rate"})), DAY),
        Readings("premium", premium.select("symbol", "known_at", "value"), 6 * HOUR),
        Readings(
            "fear_greed", index("fear_greed/alternative_me_daily.parquet", "value", HOUR), 3 * DAY
        ),
        Readings("vix", index("macro/vix_daily.parquet", "close", 30 * HOUR), 5 * DAY),
        Readings("dxy", index("macro/dxy_daily.parquet", "close", 30 * HOUR), 5 * DAY),
    ]
