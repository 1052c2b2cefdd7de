"""What counts as a column that should have had a value, and as one that stands still."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from features.registry import registered
from pipelines.quality.feature_health import constant_columns, undefined_shares
from pipelines.tables import BARS, KEY

HOUR = timedelta(hours=1)
END = datetime(2024, 3, 1, tzinfo=UTC)
BARS_HELD = 200


@pytest.fixture
def bars() -> pl.DataFrame:
    known_at = pl.datetime_range(
        END - (BARS_HELD - 1) * HOUR, END, "1h", eager=True, time_unit="us"
    )
    flat = {name: pl.lit(100.0) for name in ("open", "high", "low", "close")}
    return pl.concat(
        pl.DataFrame({"known_at": known_at})
        .with_columns(
            venue=pl.lit("binance"),
            symbol=pl.lit(symbol),
            open_time=pl.col("known_at") - HOUR,
            volume=pl.lit(1.0),
            quote_volume=pl.lit(100.0),
            trades=pl.lit(5, pl.Int64),
            taker_buy_volume=pl.lit(0.5),
            ingested_at=pl.lit(END).cast(pl.Datetime("us", "UTC")),
            **flat,
        )
        .select(*BARS.schema)
        for symbol in ("ADA/USDT", "BTC/USDT", "ETH/USDT")
    )


def some(*names: str):
    return [feature for feature in registered() if feature.name in names]


def test_only_windows_whose_bars_are_all_there_must_have_a_value(bars: pl.DataFrame) -> None:
    features = some("atr_14", "return_rank_24")
    missing = (pl.col("symbol") == "ADA/USDT") & (pl.col("known_at") == END - 10 * HOUR)
    held = bars.filter(~missing).sort(KEY)
    trailing = held.filter(pl.col("known_at") > END - 5 * HOUR).select(
        *KEY, atr_14=pl.lit(None, pl.Float32), return_rank_24=pl.lit(0.5, pl.Float32)
    )
    shares = undefined_shares(features, trailing, held, HOUR)
    assert shares == {"atr_14": 1.0, "return_rank_24": 0.0}
    ada = pl.col("symbol") == "ADA/USDT"
    assert undefined_shares(features, trailing.filter(ada), held, HOUR) == {}


def test_a_week_on_the_bound_of_its_range_is_no_constant(bars: pl.DataFrame) -> None:
    features = some("jump_share_72", "trend_slope_24")
    week = bars.filter(pl.col("known_at") > END - 168 * HOUR).select(
        *KEY, jump_share_72=pl.lit(0.0), trend_slope_24=pl.lit(0.001)
    )
    assert constant_columns(features, week, values=168) == {"trend_slope_24": 0.001}
    assert constant_columns(features, week.head(160), values=168) == {}


def test_order_flow_must_be_there_only_where_the_venue_gave_it(bars: pl.DataFrame) -> None:
    features = some("taker_imbalance_24", "trade_count_z_168")
    since = END - 30 * HOUR
    given = bars.with_columns(
        pl.when(pl.col("known_at") > since).then(name) for name in ("trades", "taker_buy_volume")
    )
    trailing = given.filter(pl.col("known_at") > END - 10 * HOUR).select(
        *KEY, taker_imbalance_24=pl.lit(None, pl.Float32), trade_count_z_168=pl.lit(None)
    )
    # The last seven hours look back over 24 bars with a taker volume, none over 168 with trades.
    assert undefined_shares(features, trailing, given, HOUR) == {"taker_imbalance_24": 1.0}
    early = trailing.filter(pl.col("known_at") < END - 6 * HOUR)
    assert undefined_shares(features, early, given, HOUR) == {}


def test_columns_against_bitcoin_need_bitcoins_bars(bars: pl.DataFrame) -> None:
    features = some("btc_return_1")
    newest = bars.filter(pl.col("known_at") == END).select(*KEY, btc_return_1=pl.lit(None))
    assert undefined_shares(features, newest, bars, HOUR) == {"btc_return_1": 1.0}
    without = pl.col("symbol") != "BTC/USDT"
    assert undefined_shares(features, newest.filter(without), bars.filter(without), HOUR) == {}
    hole = bars.filter(without | (pl.col("known_at") != END - HOUR))
    assert undefined_shares(features, newest, hole, HOUR) == {}
    alone = pl.col("symbol") == "BTC/USDT"
    assert undefined_shares(features, newest.filter(alone), bars.filter(alone), HOUR) == {}


def test_a_column_against_a_coin_must_be_there_only_where_the_coin_is_traded(bars) -> None:
    features = some("return_rank_24", "btc_return_24", "eth_return_24")
    names = [feature.name for feature in features]
    held = bars.filter(pl.col("symbol") != "ETH/USDT")
    trailing = held.filter(pl.col("known_at") > END - 5 * HOUR).select(
        *KEY, *(pl.lit(None, pl.Float32).alias(name) for name in names)
    )
    shares = undefined_shares(features, trailing, held, HOUR)
    assert shares == {"return_rank_24": 1.0, "btc_return_24": 1.0}
