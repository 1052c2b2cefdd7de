"""Labels: literal outcomes, a slow twin of every kernel, and what the future may not change."""

import math
import statistics
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from training.config import LabelConfig
from training.labels import fixed_horizon, label_bars, trailing_volatility, triple_barrier

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def bars_of(closes, *, symbol="BTC/USDT", highs=None, lows=None, opens=None, missing=()):
    n = len(closes)
    opens = opens or [closes[max(i - 1, 0)] for i in range(n)]
    frame = pl.DataFrame(
        {
            "venue": ["binance"] * n,
            "symbol": [symbol] * n,
            "known_at": [START + i * HOUR for i in range(n)],
            "open": opens,
            "high": highs or [max(o, c) for o, c in zip(opens, closes, strict=True)],
            "low": lows or [min(o, c) for o, c in zip(opens, closes, strict=True)],
            "close": closes,
        },
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )
    return frame.filter(~pl.Series(range(n)).is_in(list(missing)))


def one(opens, highs, lows, closes, *, sigma=0.1, horizon=4, take_profit=1.0, stop_loss=1.0):
    arrays = [np.array(a, dtype=float) for a in (opens, highs, lows, closes)]
    sigmas = np.full(len(closes), sigma)
    label, realised, end = triple_barrier(*arrays, sigmas, horizon, take_profit, stop_loss)
    return int(label[0]), float(realised[0]), int(end[0])


# sigma 0.1 over a horizon of 4 bars is a barrier of 0.2 in log price: 100 -> 122.14 and 81.87.
FLAT = [100.0] * 5


def test_a_path_that_reaches_the_upper_barrier_is_up_and_ends_at_that_bar():
    label, realised, end = one(FLAT, [100, 101, 130, 101, 101], FLAT, FLAT)
    assert (label, end) == (1, 2)
    assert realised == pytest.approx(0.2)


def test_a_path_that_reaches_the_lower_barrier_is_down():
    label, realised, end = one(FLAT, FLAT, [100, 100, 100, 80, 100], FLAT)
    assert (label, end) == (-1, 3)
    assert realised == pytest.approx(-0.2)


def test_a_path_that_reaches_neither_ends_flat_at_the_last_close():
    label, realised, end = one(FLAT, [110] * 5, [90] * 5, [100, 100, 100, 100, 105])
    assert (label, end) == (0, 4)
    assert realised == pytest.approx(math.log(1.05))


def test_a_bar_that_touches_both_barriers_counts_as_stopped():
    assert one(FLAT, [100, 130, 100, 100, 100], [100, 80, 100, 100, 100], FLAT)[0] == -1


def test_a_bar_that_opens_beyond_a_barrier_exits_at_its_open():
    opens = [100, 100, 70, 100, 100]
    label, realised, _ = one(opens, [100] * 5, [100, 100, 70, 100, 100], FLAT)
    assert label == -1
    assert realised == pytest.approx(math.log(0.7))
    opens = [100, 100, 140, 100, 100]
    label, realised, _ = one(opens, [100, 100, 140, 100, 100], [100, 100, 70, 100, 100], FLAT)
    assert label == 1
    assert realised == pytest.approx(math.log(1.4))


def test_entry_is_the_next_bars_open_and_not_this_bars_close():
    _, realised, _ = one([100, 110, 110, 110, 110], [110] * 5, [110] * 5, [100, 110, 110, 110, 110])
    assert realised == 0.0


def test_a_horizon_that_ends_after_the_last_known_bar_has_no_label():
    assert one([100.0] * 4, [200.0] * 4, [100.0] * 4, [100.0] * 4)[2] == -1


def test_a_missing_entry_bar_or_more_than_a_twentieth_of_the_path_leaves_no_label():
    config = LabelConfig(horizon_bars=20, volatility_window=4)
    closes = [100 + (i % 3) for i in range(60)]
    end = START + 59 * HOUR

    def unlabelled(missing):
        frame = label_bars(bars_of(closes, missing=missing), config, timeframe=HOUR, end=end)
        null = frame.filter(pl.col("label").is_null())["known_at"]
        return {int((t - START) / HOUR) for t in null}

    whole = unlabelled(())
    assert whole == {0, 1, 2, 3} | set(range(40, 60))
    one_gap = unlabelled((20,))
    assert 19 in one_gap, "the entry bar is missing"
    assert 15 not in one_gap, "one bar of twenty is within 5 %"
    assert {10, 15} <= unlabelled((20, 22)), "two bars of twenty are not"


def test_fixed_horizon_labels_by_the_band_around_zero():
    opens = np.full(7, 100.0)
    closes = np.array([100.0, 100, 121, 100, 100.5, 100, 80])
    label, realised, end = fixed_horizon(opens, closes, np.full(7, 0.1), 1, 0.5)
    assert label.tolist() == [0, 1, 0, 0, 0, -1, 0]
    assert end.tolist() == [1, 2, 3, 4, 5, 6, -1]
    assert realised[1] == pytest.approx(math.log(1.21))


def test_bars_off_the_grid_are_refused():
    frame = bars_of([100.0] * 4).with_columns(
        pl.when(pl.int_range(pl.len()) == 3)
        .then(pl.col("known_at") + timedelta(minutes=5))
        .otherwise("known_at")
        .alias("known_at")
    )
    with pytest.raises(ValueError, match="off the 1:00:00 grid"):
        label_bars(frame, LabelConfig(), timeframe=HOUR, end=START + 10 * HOUR)


def test_no_bars_give_no_labels():
    frame = label_bars(bars_of([1.0]).clear(), LabelConfig(), timeframe=HOUR, end=START)
    assert frame.is_empty()
    assert frame.columns[3:] == ["label", "realised_return", "label_end", "volatility"]


def test_a_label_is_null_in_all_its_columns_or_in_none():
    frame = label_bars(
        random_bars(3, 200),
        LabelConfig(horizon_bars=8, volatility_window=10),
        timeframe=HOUR,
        end=START + 150 * HOUR,
    )
    assert frame["known_at"].max() == START + 150 * HOUR
    nulls = frame.select(pl.col("label", "realised_return", "label_end").is_null())
    assert (nulls["label"] == nulls["label_end"]).all()
    assert (nulls["label"] == nulls["realised_return"]).all()
    assert frame["realised_return"].is_nan().sum() == 0


def random_bars(seed, n, *, missing_share=0.0, symbol="BTC/USDT"):
    rng = np.random.default_rng(seed)
    closes = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))).tolist()
    opens = [closes[max(i - 1, 0)] * math.exp(rng.normal(0, 0.002)) for i in range(n)]
    highs = [
        max(o, c) * (1 + abs(rng.normal(0, 0.004))) for o, c in zip(opens, closes, strict=True)
    ]
    lows = [min(o, c) * (1 - abs(rng.normal(0, 0.004))) for o, c in zip(opens, closes, strict=True)]
    missing = np.flatnonzero(rng.random(n) < missing_share)
    return bars_of(
        closes, symbol=symbol, opens=opens, highs=highs, lows=lows, missing=missing.tolist()
    )


@given(
    st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(["triple_barrier", "fixed_horizon"])
)
@budget(max_examples=25)
def test_cutting_the_future_changes_no_label_that_was_known(seed, cut, kind):
    config = LabelConfig(kind=kind, horizon_bars=6, volatility_window=8)
    frame = random_bars(seed, 80, missing_share=0.02)
    end, early = START + 79 * HOUR, START + (79 - cut) * HOUR
    late = label_bars(frame, config, timeframe=HOUR, end=end)
    known = label_bars(frame, config, timeframe=HOUR, end=early).drop_nulls("label")
    assert (known["label_end"] <= early).all()
    horizon = timedelta(hours=6)
    expected = late.filter(pl.col("known_at") + horizon <= early).drop_nulls("label")
    assert known.equals(expected)


def slow_volatility(closes, window):
    returns = [math.nan] + [math.log(b / a) for a, b in pairwise(closes)]
    out = []
    for i, close in enumerate(closes):
        seen = [r for r in returns[i - window + 1 : i + 1] if not math.isnan(r)]
        valid = i >= window and not math.isnan(close) and window - len(seen) <= 0.05 * window
        spread = statistics.stdev(seen) if valid and len(seen) > 1 else 0.0
        out.append(spread if spread > 0 else math.nan)
    return out


def slow_label(opens, highs, lows, closes, sigma, i, horizon, take_profit, stop_loss):
    path = list(range(i + 1, i + horizon + 1))
    if path[-1] >= len(closes) or math.isnan(opens[i + 1]) or not sigma[i] > 0:
        return 0, math.nan, -1
    present = [j for j in path if not math.isnan(closes[j])]
    if horizon - len(present) > 0.05 * horizon:
        return 0, math.nan, -1
    entry = opens[i + 1]
    upper = entry * math.exp(take_profit * sigma[i] * math.sqrt(horizon))
    lower = entry * math.exp(-stop_loss * sigma[i] * math.sqrt(horizon))
    for j in present:
        touched = [
            (opens[j] <= lower, -1, opens[j]),
            (opens[j] >= upper, 1, opens[j]),
            (lows[j] <= lower, -1, lower),
            (highs[j] >= upper, 1, upper),
        ]
        for hit, label, price in touched:
            if hit:
                return label, math.log(price / entry), j
    return 0, math.log(closes[present[-1]] / entry), path[-1]


@given(
    st.integers(0, 10_000),
    st.integers(1, 30),
    st.floats(0.1, 3.0),
    st.floats(0.1, 3.0),
    st.floats(0.0, 0.1),
)
@budget(max_examples=60)
def test_the_kernels_equal_their_slow_twins(seed, horizon, take_profit, stop_loss, missing_share):
    n = 90
    frame = random_bars(seed, n, missing_share=missing_share)
    position = [int((t - START) / HOUR) for t in frame["known_at"]]
    dense = {}
    for name in ("open", "high", "low", "close"):
        dense[name] = np.full(n, np.nan)
        dense[name][position] = frame[name].to_numpy()
    sigma = trailing_volatility(dense["close"], 24)
    assert np.allclose(sigma, slow_volatility(dense["close"].tolist(), 24), equal_nan=True)
    arrays = [dense[name] for name in ("open", "high", "low", "close")]
    label, realised, end = triple_barrier(*arrays, sigma, horizon, take_profit, stop_loss)
    for i in range(n):
        expected = slow_label(
            *(a.tolist() for a in arrays), sigma.tolist(), i, horizon, take_profit, stop_loss
        )
        assert (label[i], end[i]) == (expected[0], expected[2])
        assert realised[i] == pytest.approx(expected[1], rel=1e-12, abs=1e-12, nan_ok=True)
