from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from serving.allocation import METHODS, allocation_signals, history_bars_of
from serving.books import Inputs, Scores, build_inputs, walk_book
from serving.config import CostConfig, RiskConfig
from serving.market import Market, Panel
from serving.signals import Signals, model_signals
from serving.state import new_state, state_to_json

Floats = NDArray[np.float64]

NAN = np.nan
HOUR = timedelta(hours=1)
# 03:00 is no multiple of a day, nor is it of the six hours of most tests below.
START = datetime(2024, 5, 1, 3, tzinfo=UTC)
SYMBOLS = ("ADA/USDT", "BTC/USDT", "ETH/USDT", "SOL/USDT")
LOOKBACK = 48


def risk_config(allocation: str = "equal_risk", **changes: Any) -> RiskConfig:
    terms = {"allocation_lookback_bars": LOOKBACK, "allocation_every_bars": 6, **changes}
    return RiskConfig.model_validate({"allocation": allocation, **terms})


def panel_of(close: Floats, first: datetime = START) -> Panel:
    bars, n = close.shape
    fields = dict.fromkeys(Market._fields, close)
    fields["funding_rate"] = np.zeros_like(close)
    whole = {name: np.ones(n, np.int64) for name in ("lot", "minimum_notional")}
    flat = {"tick": np.zeros(n), "contract": np.zeros(n, np.bool_)}
    market = Market(**{**fields, **whole, **flat, "calendar": np.zeros(bars, np.int64)})
    return Panel(SYMBOLS[:n], first, bars, HOUR, market)


def closes(bars: int, n: int = 4, seed: int = 11) -> Floats:
    rng = np.random.default_rng(seed)
    steps = (rng.standard_normal((bars, 1)) + rng.standard_normal((bars, n))) * 0.005
    return 100.0 * np.exp(np.cumsum(steps * np.arange(1, n + 1), axis=0))


def wishes(expected: Floats, risk: RiskConfig) -> Signals:
    sigma = np.full_like(expected, 0.01)
    return model_signals(expected, 24, sigma, sigma, risk)


def asked(close: Floats, expected: Floats, risk: RiskConfig, first: datetime = START) -> Floats:
    """Desired weights of the bars after the first LOOKBACK of `close`."""
    panel = panel_of(close[LOOKBACK:], first)
    signals = wishes(expected, risk)
    return allocation_signals(signals, 24, panel, close[:LOOKBACK], risk).desired


def inverse_volatility(window: Floats) -> Floats:
    inverse = 1 / np.std(window[1:] / window[:-1] - 1, axis=0)
    return inverse / inverse.sum()


def test_a_portfolio_is_set_up_at_multiples_since_the_epoch_and_nothing_is_said_between() -> None:
    close = closes(LOOKBACK + 12)
    desired = asked(close, np.full((12, 4), 0.01), risk_config())
    # rows are 03:00, 04:00, ...: 06:00 and 12:00 are rows 3 and 9
    assert np.flatnonzero(~np.isnan(desired).all(axis=1)).tolist() == [3, 9]
    assert desired[3] == pytest.approx(inverse_volatility(close[3 : 3 + LOOKBACK + 1]), abs=1e-6)


def test_the_default_rebalances_at_midnight() -> None:
    risk = risk_config(allocation_every_bars=RiskConfig().allocation_every_bars)
    desired = asked(closes(LOOKBACK + 48), np.full((48, 4), 0.01), risk)
    assert np.flatnonzero(~np.isnan(desired).all(axis=1)).tolist() == [21, 45]


def test_who_is_not_wanted_gets_nothing_and_who_is_not_scored_is_not_spoken_of() -> None:
    close = closes(LOOKBACK + 4)
    expected = np.full((4, 4), [0.01, -0.01, NAN, 0.01])
    desired = asked(close, expected, risk_config())[3]
    share = inverse_volatility(close[3:][:, [0, 3]])
    assert np.array_equal(desired[[1, 2]], [0.0, NAN], equal_nan=True)
    assert desired[[0, 3]] == pytest.approx(share, abs=1e-6)


def test_if_nobody_is_wanted_all_is_sold() -> None:
    desired = asked(closes(LOOKBACK + 4), np.full((4, 4), -0.01), risk_config())
    assert desired[3].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_the_only_wanted_symbol_gets_all_and_the_asset_cap_has_its_say() -> None:
    expected = np.full((4, 4), [-0.01, 0.01, -0.01, -0.01])
    assert asked(closes(LOOKBACK + 4), expected, risk_config())[3].tolist() == [0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(("missing", "spoken_of"), [(1, True), (2, False)])
def test_a_window_needs_95_percent_of_its_returns(missing: int, spoken_of: bool) -> None:
    # 46 of 48 returns are 95.8 %; each lone missing bar takes two of them
    close = closes(LOOKBACK + 4)
    close[10 : 10 + 2 * missing : 2, 1] = NAN
    desired = asked(close, np.full((4, 4), 0.01), risk_config())[3]
    assert bool(np.isnan(desired[1])) is not spoken_of
    assert not np.isnan(desired[[0, 2, 3]]).any()
    assert np.nansum(desired) == pytest.approx(1, abs=1e-9)


def test_weights_come_from_bars_that_every_member_has_and_nothing_is_filled() -> None:
    close = closes(LOOKBACK + 4)
    close[20, 1] = NAN
    desired = asked(close, np.full((4, 4), 0.01), risk_config())[3]
    window = close[3:]
    returns = np.delete(window[1:] / window[:-1] - 1, [16, 17], axis=0)
    inverse = 1 / returns.std(axis=0)
    assert desired == pytest.approx(inverse / inverse.sum(), abs=1e-6)


def test_without_half_of_the_bars_in_common_nothing_is_said() -> None:
    n, bars = 30, LOOKBACK + 1
    close = closes(bars, n)
    for symbol in range(n):
        close[1 + symbol, symbol] = NAN
    risk = risk_config(allocation_every_bars=1)
    expected = np.full((1, n), 0.01)
    panel = Panel(tuple(f"S{i:02}/USDT" for i in range(n)), *_rest(panel_of(close[LOOKBACK:])))
    desired = allocation_signals(wishes(expected, risk), 24, panel, close[:LOOKBACK], risk).desired
    assert np.isnan(desired).all()
    expected[0, 15:] = -0.01
    desired = allocation_signals(wishes(expected, risk), 24, panel, close[:LOOKBACK], risk).desired
    assert desired[0].sum() == pytest.approx(1, abs=1e-9)


def _rest(panel: Panel) -> tuple[datetime, int, timedelta, Market]:
    return panel.first, panel.bars, panel.timeframe, panel.market


def test_a_price_that_stands_still_is_not_spoken_of() -> None:
    close = closes(LOOKBACK + 4)
    close[:, 2] = 1.0
    desired = asked(close, np.full((4, 4), 0.01), risk_config())[3]
    assert np.isnan(desired).tolist() == [False, False, True, False]


def test_a_history_that_does_not_reach_back_is_missing_bars() -> None:
    close = closes(LOOKBACK + 60)
    risk, expected = risk_config(), np.full((60, 4), 0.01)
    panel = panel_of(close[LOOKBACK:])
    short = allocation_signals(wishes(expected, risk), 24, panel, close[:0], risk).desired
    full = asked(close, expected, risk)
    # 46 of 48 returns are there from row 46 on; 06:00 + 45 h is row 51, which has them all
    assert np.isnan(short[:46]).all()
    assert np.array_equal(short[51], full[51])


def test_more_history_than_needed_changes_nothing() -> None:
    close = closes(LOOKBACK + 100)
    risk, expected = risk_config(), np.full((50, 4), 0.01)
    panel = panel_of(close[LOOKBACK + 50 :])
    signals = wishes(expected, risk)
    long = allocation_signals(signals, 24, panel, close[: LOOKBACK + 50], risk).desired
    exact = allocation_signals(signals, 24, panel, close[50 : LOOKBACK + 50], risk).desired
    assert np.array_equal(long, exact, equal_nan=True)


def test_inputs_without_history_are_refused_with_what_to_do() -> None:
    risk = risk_config("hrp")
    panel, expected = panel_of(closes(4)), np.full((4, 4), 0.01)
    with pytest.raises(ValueError, match=r"hrp reads closes before the span; .*history_bars=48"):
        allocation_signals(wishes(expected, risk), 24, panel, None, risk)


def test_kelly_needs_no_history() -> None:
    assert history_bars_of(RiskConfig()) == 0
    assert history_bars_of(risk_config()) == LOOKBACK


def test_a_portfolio_that_is_not_found_names_method_instant_and_symbols() -> None:
    close = closes(LOOKBACK + 4, 2)
    # ADA moves a hundred million times less than BTC.
    close[:, 0] = 100.0 * (close[:, 0] / 100.0) ** 1e-9
    expected = np.full((4, 2), 0.01)
    message = (
        "allocation over ADA/USDT, BTC/USDT at 2024-05-01T06:00Z: risk_parity found no portfolio"
    )
    with pytest.raises(ValueError, match=message):
        asked(close, expected, risk_config("risk_parity"))


@pytest.mark.parametrize("method", METHODS)
def test_the_future_changes_nothing(method: str) -> None:
    close = closes(LOOKBACK + 20)
    expected = np.random.default_rng(1).normal(0.004, 0.01, (20, 4))
    whole = asked(close, expected, risk_config(method))
    close[LOOKBACK + 10 :] *= 3.0
    expected[10:] = -expected[10:]
    changed = asked(close, expected, risk_config(method))
    assert np.array_equal(whole[:10], changed[:10], equal_nan=True)
    assert not np.array_equal(whole[10:], changed[10:], equal_nan=True)


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_prices_changes_nothing(method: str) -> None:
    close = closes(LOOKBACK + 10)
    expected = np.full((10, 4), 0.01)
    # powers of two, so that every quotient is the same to the last bit
    scaled = close * np.array([2.0**-10, 2.0, 2.0**6, 0.5])
    one, other = (asked(c, expected, risk_config(method)) for c in (close, scaled))
    assert np.array_equal(one, other, equal_nan=True)


def frames(bars: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Bars of four symbols with gaps, and features and scores of those that exist."""
    rng = np.random.default_rng(5)
    close = closes(bars)
    close[rng.random(close.shape) < 0.004] = NAN
    close[70] = NAN
    first = START - (LOOKBACK + 10) * HOUR
    cells = [(s, b) for s in range(4) for b in range(bars) if not np.isnan(close[b, s])]
    price = np.array([close[b, s] for s, b in cells])
    keys = {
        "symbol": [SYMBOLS[s] for s, _ in cells],
        "known_at": [first + b * HOUR for _, b in cells],
    }
    ohlc = {"open": price, "high": price * 1.01, "low": price * 0.99, "close": price}
    volume = {"volume": np.full(len(cells), 1e6)}
    features = {
        "realised_vol_72": 0.01,
        "atr_14": 0.02,
        "ema_gap_24_96": 0.0,
        "btc_correlation_168": 0.8,
        "vol_ratio_24_168": 0.0,
    }
    expected = rng.normal(0.01, 0.03, len(cells))
    return (
        pl.DataFrame({**keys, **ohlc, **volume}),
        pl.DataFrame(keys).with_columns(**{k: pl.lit(v) for k, v in features.items()}),
        pl.DataFrame({**keys, "expected_return": expected, "horizon_bars": 24.0}),
    )


@pytest.mark.parametrize("method", METHODS)
def test_hour_by_hour_is_the_span_in_one_piece_to_the_last_bit(method: str) -> None:
    bars, features, scores = frames(LOOKBACK + 110)
    risk = risk_config(method, no_trade_band=0.0, minimum_weight_change=0.0)
    last = bars.get_column("known_at").max()

    def walk(state: Any, first: Any, last: Any) -> Any:
        inputs = build_inputs(
            bars.filter(pl.col("known_at") > first - (LOOKBACK + 1) * HOUR),
            features,
            timeframe=HOUR,
            symbols=SYMBOLS,
            first=first,
            last=last,
            history_bars=history_bars_of(risk),
        )
        placed = Scores(*inputs.panel.place(scores, "expected_return", "horizon_bars"))
        return walk_book("model", inputs, placed, state, costs=CostConfig(), risk=risk)

    at_once, stepwise = new_state(4, 10_000.0), new_state(4, 10_000.0)
    whole = walk(at_once, START, last)
    hours = [walk(stepwise, hour, hour) for hour in whole.panel.instants()]
    desired = np.concatenate([hour.signals.desired for hour in hours])
    curve = np.concatenate([hour.tape.curve for hour in hours])
    assert np.count_nonzero(np.nan_to_num(whole.signals.desired)) > 20
    assert np.array_equal(whole.signals.desired, desired, equal_nan=True)
    assert np.array_equal(whole.tape.curve, curve)
    assert state_to_json(at_once, SYMBOLS) == state_to_json(stepwise, SYMBOLS)
    assert curve[-1, 0] != 10_000 * 10**8


def test_inputs_carry_the_closes_before_the_span_missing_where_missing() -> None:
    bars, features, _ = frames(LOOKBACK + 30)
    inputs: Inputs = build_inputs(
        bars, features, timeframe=HOUR, symbols=SYMBOLS, first=START, history_bars=LOOKBACK
    )
    assert inputs.history is not None
    assert inputs.history.shape == (LOOKBACK, 4)
    before = bars.filter(
        (pl.col("known_at") < START) & (pl.col("known_at") >= START - LOOKBACK * HOUR)
    )
    assert np.count_nonzero(~np.isnan(inputs.history)) == before.height
    newest = before.filter(pl.col("known_at") == START - HOUR).get_column("close")
    assert inputs.history[-1].tolist() == newest.to_list()
    assert build_inputs(bars, features, timeframe=HOUR).history is None
