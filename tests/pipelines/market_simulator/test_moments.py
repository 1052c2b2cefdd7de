"""The synthetic market looks like one: its moments, and the same moments of the real bars."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    HIGH,
    HOUR,
    LOW,
    QUOTE_VOLUME,
    TAKER_VOLUME,
    VOLUME,
    Bars,
    Request,
)
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.replay import ReplayMarket
from pipelines.market_simulator.synthetic import SyntheticMarket

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "LTC/USDT")
BEGIN = milliseconds(datetime(2021, 1, 1, tzinfo=UTC))
END = milliseconds(datetime(2025, 1, 1, tzinfo=UTC))

# Every moment, and the bounds in which both a synthetic and a real coin must lie.
BOUNDS = {
    "annual volatility": (0.4, 1.6),
    "excess kurtosis": (4.0, 60.0),
    "|r| autocorrelation at 1 h": (0.12, 0.45),
    "|r| autocorrelation at 24 h": (0.07, 0.35),
    "|r| autocorrelation at 168 h": (0.04, 0.25),
    "r autocorrelation at 1 h": (-0.05, 0.05),
    "log volume with log |r|": (0.2, 0.7),
    "sd of log volume": (0.5, 1.6),
    "log volume autocorrelation": (0.6, 0.95),
    "mean range in sd of r": (1.0, 1.6),
    "weekend volume": (0.45, 0.85),
    "volume at 14 h over 4 h UTC": (1.5, 3.0),
}
FLOW_BOUNDS = {"sd of taker share": (0.03, 0.09), "taker share with r": (0.2, 0.6)}


def autocorrelation(values, lag):
    centred = values - values.mean()
    return (centred[lag:] * centred[:-lag]).mean() / (centred**2).mean()


def moments(bars):
    close, volume = bars.values[CLOSE], np.log(bars.values[VOLUME] * bars.values[CLOSE] + 1)
    returns = np.diff(np.log(close))
    size = np.abs(returns)
    hour, weekday = bars.open_time // HOUR % 24, (bars.open_time // DAY + 3) % 7
    scaled = (returns - returns.mean()) / returns.std()
    typical = np.array([np.median(np.exp(volume[hour == h])) for h in range(24)])
    weekend = np.median(np.exp(volume[weekday >= 5])) / np.median(np.exp(volume[weekday < 5]))
    return {
        "annual volatility": returns.std() * np.sqrt(8760),
        "excess kurtosis": (scaled**4).mean() - 3,
        "|r| autocorrelation at 1 h": autocorrelation(size, 1),
        "|r| autocorrelation at 24 h": autocorrelation(size, 24),
        "|r| autocorrelation at 168 h": autocorrelation(size, 168),
        "r autocorrelation at 1 h": autocorrelation(returns, 1),
        "log volume with log |r|": np.corrcoef(volume[1:], np.log(size + 1e-5))[0, 1],
        "sd of log volume": volume.std(),
        "log volume autocorrelation": autocorrelation(volume, 1),
        "mean range in sd of r": np.log(bars.values[HIGH] / bars.values[LOW]).mean()
        / returns.std(),
        "weekend volume": weekend,
        "volume at 14 h over 4 h UTC": typical[14] / typical[4],
    }


def flow_moments(bars):
    share = bars.values[TAKER_VOLUME] / np.maximum(bars.values[VOLUME], 1e-9)
    returns = np.diff(np.log(bars.values[CLOSE]))
    known = np.isfinite(share[1:]) & (bars.values[VOLUME, 1:] > 0)
    return {
        "sd of taker share": share[1:][known].std(),
        "taker share with r": np.corrcoef(share[1:][known], returns[known])[0, 1],
    }


def spot_bars(market, symbol) -> Bars:
    item = next(item for item in market.instruments if item.symbol == symbol)
    return market.bars(item, HOUR, Request(BEGIN, END - 1, 10**6, False, END))


@pytest.fixture(scope="module")
def null_market():
    return SyntheticMarket(SYMBOLS, seed=5, signal=0.0)


@pytest.fixture(scope="module")
def default_market():
    return SyntheticMarket(SYMBOLS)


def assert_within(found, bounds, who):
    outside = {
        name: (round(float(found[name]), 3), bound)
        for name, bound in bounds.items()
        if not bound[0] <= found[name] <= bound[1]
    }
    assert not outside, f"{who}: {outside}"


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_synthetic_bars_have_the_moments_of_a_market(default_market, null_market, symbol):
    for market in (default_market, null_market):
        bars = spot_bars(market, symbol)
        assert_within(moments(bars), BOUNDS, f"synthetic {symbol}")
        assert_within(flow_moments(bars), FLOW_BOUNDS, f"synthetic {symbol}")


@pytest.mark.market
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_real_bars_lie_within_the_same_bounds(market_folder, symbol):
    bars = spot_bars(ReplayMarket(market_folder), symbol)
    assert_within(moments(bars), BOUNDS, f"real {symbol}")
    if symbol in ("BTC/USDT", "ETH/USDT"):
        assert_within(flow_moments(bars), FLOW_BOUNDS, f"real {symbol}")


def cross_correlations(market):
    returns = [
        pl.DataFrame({"t": bars.open_time[1:], s: np.diff(np.log(bars.values[CLOSE]))})
        for s in SYMBOLS
        for bars in [spot_bars(market, s)]
    ]
    joined = returns[0]
    for other in returns[1:]:
        joined = joined.join(other, on="t")
    matrix = np.corrcoef(joined.select(SYMBOLS).to_numpy().T)
    return matrix[np.triu_indices(len(SYMBOLS), 1)]


def test_synthetic_coins_move_together(default_market):
    found = cross_correlations(default_market)
    assert found.min() > 0.45
    assert found.max() < 0.9


@pytest.mark.market
def test_real_coins_move_together_within_the_same_bounds(market_folder):
    found = cross_correlations(ReplayMarket(market_folder))
    assert found.min() > 0.45
    assert found.max() < 0.9


def predictors(bars):
    """Past day of taker share, past day's return, last return: known at the close of bar t >= 24."""
    share = bars.values[TAKER_VOLUME] / bars.values[VOLUME]
    log_close = np.log(bars.values[CLOSE])
    day = np.convolve(share, np.full(24, 1 / 24), mode="valid")[1:]
    past = log_close[24:] - log_close[:-24]
    last = np.diff(log_close)[23:]
    return np.column_stack([day, past, last])[:-24], (log_close[24:][24:] - log_close[24:][:-24])


def information_coefficients(market):
    """Correlation of each predictor with the next 24-hour return, coins pooled, once a day."""
    found = [predictors(spot_bars(market, symbol)) for symbol in SYMBOLS]
    return np.mean(
        [[np.corrcoef(x[::24, column], y[::24])[0, 1] for column in range(3)] for x, y in found],
        axis=0,
    )


def test_without_signal_bars_predict_nothing(null_market):
    # 1461 days of four coins that share most of their variance: sd of a mean IC about 0.022
    assert np.abs(information_coefficients(null_market)).max() < 0.06
    for symbol in SYMBOLS:
        returns = np.diff(np.log(spot_bars(null_market, symbol).values[CLOSE]))
        for lag in (1, 2, 3, 6, 12, 24, 48):
            assert abs(autocorrelation(returns, lag)) < 0.03


def test_the_default_signal_can_be_read_from_taker_flow(default_market):
    flow = information_coefficients(default_market)[0]
    assert 0.05 < flow < 0.2


def test_more_signal_is_more_to_read():
    strong = information_coefficients(SyntheticMarket(SYMBOLS, signal=0.4))[0]
    assert strong > 0.2


def test_quote_volume_is_of_a_real_size(default_market):
    typical = np.median(spot_bars(default_market, "BTC/USDT").values[QUOTE_VOLUME])
    assert 2e7 < typical < 2e8
