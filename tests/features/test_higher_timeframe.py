"""Long bars: aggregated on UTC, seen only once they are closed."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from features.matrix import build_matrix

HOUR = timedelta(hours=1)
NAMES = [
    "long_return_4_1", "long_return_24_1", "since_long_close_24", "place_in_long_range_24",
    "long_body_24", "long_volume_z_4_42",
]  # fmt: skip


@pytest.fixture(scope="module")
def btc(make_bars) -> pl.DataFrame:
    return make_bars(400, ("BTC/USDT",))


@pytest.fixture(scope="module")
def matrix(btc: pl.DataFrame) -> pl.DataFrame:
    return build_matrix(btc, timeframe=HOUR, names=NAMES)


def days(btc: pl.DataFrame, every: str) -> pl.DataFrame:
    """Return long bars by Polars' own grouping of the hours they hold."""
    return (
        btc.sort("open_time")
        .group_by_dynamic("open_time", every=every)
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(),
            pl.col("close").last(), pl.col("volume").sum(), pl.col("known_at").max(), pl.len(),
        )
        .filter(pl.col("len") == (4 if every == "4h" else 24))
    )  # fmt: skip


def test_a_day_is_that_of_utc_and_seen_from_its_close_to_the_next(btc, matrix) -> None:
    daily = days(btc, "1d")
    for known_at in (datetime(2024, 1, 12, h, tzinfo=UTC) for h in (0, 1, 23)):
        closed = daily.filter(pl.col("known_at") <= known_at)
        last, before = closed.row(-1, named=True), closed.row(-2, named=True)
        row = matrix.filter(pl.col("known_at") == known_at).row(0, named=True)
        close = btc.filter(pl.col("known_at") == known_at)["close"][0]
        assert last["known_at"] == datetime(2024, 1, 12, tzinfo=UTC)
        assert row["long_return_24_1"] == pytest.approx(
            np.log(last["close"] / before["close"]), rel=1e-5
        )
        assert row["since_long_close_24"] == pytest.approx(
            np.log(close / last["close"]), rel=1e-5, abs=1e-9
        )
        span = last["high"] - last["low"]
        assert row["long_body_24"] == pytest.approx((last["close"] - last["open"]) / span, rel=1e-5)
        assert row["place_in_long_range_24"] == pytest.approx(
            (2 * close - last["high"] - last["low"]) / span, rel=1e-5
        )


def test_the_bar_that_is_still_forming_is_never_looked_at(btc) -> None:
    cut = datetime(2024, 1, 12, 22, tzinfo=UTC)
    shaken = btc.with_columns(
        pl.when(pl.col("known_at") > datetime(2024, 1, 12, 20, tzinfo=UTC))
        .then(pl.col(name) * 3)
        .otherwise(pl.col(name))
        for name in ("open", "high", "low", "close", "volume")
    )
    long = [name for name in NAMES if name.startswith("long_")]
    at = pl.col("known_at") == cut
    given = build_matrix(shaken, timeframe=HOUR, names=long).filter(at)
    assert given.equals(build_matrix(btc, timeframe=HOUR, names=long).filter(at))


def test_turnover_of_four_hours_is_the_volume_of_all_at_the_typical_price_of_all(
    btc, matrix
) -> None:
    bars = days(btc, "4h")
    logs = np.log1p(bars["volume"] * (bars["high"] + bars["low"] + bars["close"]) / 3).to_numpy()
    place = bars["known_at"].to_list().index(datetime(2024, 1, 15, 8, tzinfo=UTC))
    held = logs[place - 41 : place + 1]
    expected = (held[-1] - held.mean()) / held.std(ddof=1)
    for hour in (8, 11):
        at = pl.col("known_at") == datetime(2024, 1, 15, hour, tzinfo=UTC)
        assert matrix.filter(at)["long_volume_z_4_42"][0] == pytest.approx(expected, rel=1e-5)


def test_a_long_bar_needs_its_last_hour_and_nineteen_of_twenty(btc) -> None:
    def known(*missing: int) -> bool:
        gone = [datetime(2024, 1, 11, h, tzinfo=UTC) for h in missing]
        held = btc.filter(~pl.col("known_at").is_in(gone))
        at = pl.col("known_at") == datetime(2024, 1, 12, 5, tzinfo=UTC)
        matrix = build_matrix(held, timeframe=HOUR, names=["long_body_24"])
        return matrix.filter(at)["long_body_24"][0] is not None

    assert known(7)
    assert not known(7, 8)
