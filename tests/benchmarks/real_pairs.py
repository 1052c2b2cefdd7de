"""Ten real pairs as a study wants them: bars, what was known beside them, and all features.

The bars lie beside the repository, in ../shared/market.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from features.as_of_join import Readings, per_eight_hours, with_readings
from features.matrix import build_matrix
from features.registry import registered

HOUR = timedelta(hours=1)
MARKET = Path(__file__).resolve().parents[3] / "shared" / "market"
TEN = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ETH", "LINK", "LTC", "SOL", "XRP")
FIRST, AS_OF = datetime(2020, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
OPTIONAL = ("trades", "taker_buy_base")
OUTSIDE = ("funding", "sentiment", "macro")
"""Families that read tables beside the bars; open interest and premiums have no public history."""


def load_bars(bases: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Return the bars of USDT pairs known in `(start, end]`, in the contract of `bars`."""
    frames = []
    for base in bases:
        path = MARKET / "ohlcv_1h" / "binance_spot" / f"{base}USDT.parquet"
        opened = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
        prices = [pl.col(name).cast(pl.Float64) for name in ("open", "high", "low", "close")]
        table = pl.read_parquet(path)
        lacking = [pl.lit(None).alias(name) for name in OPTIONAL if name not in table.columns]
        frames.append(
            table.with_columns(lacking)
            .select(
                pl.lit("binance").alias("venue"),
                pl.lit(f"{base}/USDT").alias("symbol"),
                (opened + HOUR).alias("known_at"),
                opened,
                *prices,
                pl.col("volume", "quote_volume").cast(pl.Float64),
                pl.col("trades").cast(pl.Int64),
                pl.col("taker_buy_base").cast(pl.Float64).alias("taker_buy_volume"),
                (opened + HOUR).alias("ingested_at"),
            )
            .filter((pl.col("known_at") > start) & (pl.col("known_at") <= end))
        )
    return pl.concat(frames).sort("venue", "symbol", "known_at")


def outside_readings() -> list[Readings]:
    """Return funding, Fear & Greed, VIX and dollar index with the lags of the default settings."""
    instant = pl.Datetime("us", "UTC")
    funding = [
        pl.read_parquet(MARKET / "funding" / "binance_perp" / f"{base}USDT.parquet").select(
            symbol=pl.lit(f"{base}/USDT"),
            known_at=pl.col("funding_time").cast(instant),
            funding_rate="funding_rate",
        )
        for base in TEN
    ]
    greed = pl.read_parquet(MARKET / "fear_greed" / "alternative_me_daily.parquet").select(
        known_at=pl.col("date").cast(instant) + HOUR, value=pl.col("value").cast(pl.Float64)
    )

    def closes(name: str) -> pl.DataFrame:
        date = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        path = MARKET / "macro" / f"{name}_daily.parquet"
        return pl.read_parquet(path).select(known_at=date + 30 * HOUR, value="close")

    return [
        Readings("funding_rate", per_eight_hours(pl.concat(funding)), 24 * HOUR),
        Readings("fear_greed", greed, 72 * HOUR),
        Readings("vix", closes("vix"), 120 * HOUR),
        Readings("dxy", closes("dxy"), 120 * HOUR),
    ]


@cache
def history(end: datetime) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return bars and all features that have values, of the ten pairs up to `end`."""
    bars = load_bars(TEN, FIRST, end)
    inside = [one.name for one in registered() if one.family not in OUTSIDE]
    beside = [one.name for one in registered() if one.family in OUTSIDE]
    known = with_readings(bars, outside_readings())
    table = build_matrix(known, timeframe=HOUR, names=[*inside, *beside])
    return bars, table[[name.name for name in table if name.null_count() < table.height]]
