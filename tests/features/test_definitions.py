"""What the columns mean: literal loops over one symbol's bars, and TA-Lib where it has the same name."""

import itertools
import math
import statistics
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import talib

from features.matrix import build_matrix
from features.proof import ATOL_OF_SCALE

HOUR = timedelta(hours=1)
N = 900


@pytest.fixture(scope="module")
def bars(make_bars) -> pl.DataFrame:
    return make_bars(N)


@pytest.fixture(scope="module")
def matrix(bars: pl.DataFrame) -> pl.DataFrame:
    return build_matrix(bars, timeframe=HOUR)


@pytest.fixture(scope="module")
def eth(bars: pl.DataFrame) -> dict[str, list[float]]:
    return bars.filter(pl.col("symbol") == "ETH/USDT").to_dict(as_series=False)


@pytest.fixture(scope="module")
def btc(bars: pl.DataFrame) -> dict[str, list[float]]:
    return bars.filter(pl.col("symbol") == "BTC/USDT").to_dict(as_series=False)


def column(matrix: pl.DataFrame, name: str, symbol: str = "ETH/USDT") -> np.ndarray:
    chosen = matrix.filter(pl.col("symbol") == symbol)[name]
    return chosen.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def returns(bars: dict[str, list[float]]) -> list[float]:
    close = bars["close"]
    return [math.nan, *(math.log(b / a) for a, b in itertools.pairwise(close))]


def check(given: np.ndarray, twin, first: int) -> None:
    """Compare every 37th bar, and the last, with `twin(bar)`."""
    places = [*range(first, N, 37), N - 1]
    expected = np.array([twin(i) for i in places])
    atol = ATOL_OF_SCALE * np.median(np.abs(expected))
    np.testing.assert_allclose(given[places], expected, rtol=2e-6, atol=atol)


def mean_of(formula, i: int, window: int) -> float:
    return statistics.fmean(formula(j) for j in range(i - window + 1, i + 1))


def decayed(series, i: int, kept: int, decay: float) -> float:
    weights = [decay**k for k in range(kept)]
    return sum(w * series(i - k) for k, w in enumerate(weights)) / sum(weights)


def test_realised_vol_is_the_sample_deviation_of_the_last_returns(matrix, eth) -> None:
    r = returns(eth)
    check(column(matrix, "realised_vol_72"), lambda i: statistics.stdev(r[i - 71 : i + 1]), 72)


def test_atr_is_wilders_mean_of_the_true_range_over_the_close(matrix, eth) -> None:
    high, low, close = eth["high"], eth["low"], eth["close"]

    def true_range(i: int) -> float:
        return max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))

    check(
        column(matrix, "atr_14"),
        lambda i: decayed(true_range, i, 140, 13 / 14) / close[i],
        141,
    )


def test_the_ema_gap_is_that_of_two_exponential_means(matrix, eth) -> None:
    close = eth["close"]

    def gap(i: int) -> float:
        fast = decayed(lambda j: close[j], i, 120, 1 - 2 / 25)
        slow = decayed(lambda j: close[j], i, 480, 1 - 2 / 97)
        return (fast - slow) / close[i]

    check(column(matrix, "ema_gap_24_96"), gap, 480)


def test_the_range_estimators_are_their_formulas(matrix, eth) -> None:
    o, h, low, c = (np.log(eth[name]) for name in ("open", "high", "low", "close"))
    parkinson = lambda j: (h[j] - low[j]) ** 2 / (4 * math.log(2))  # noqa: E731
    garman = lambda j: 0.5 * (h[j] - low[j]) ** 2 - (2 * math.log(2) - 1) * (c[j] - o[j]) ** 2  # noqa: E731
    rogers = lambda j: (h[j] - o[j]) * (h[j] - c[j]) + (low[j] - o[j]) * (low[j] - c[j])  # noqa: E731
    for name, formula in (
        ("parkinson_vol_24", parkinson),
        ("garman_klass_vol_24", garman),
        ("rogers_satchell_vol_24", rogers),
    ):
        check(column(matrix, name), lambda i, f=formula: math.sqrt(mean_of(f, i, 24)), 24)

    def yang_zhang(i: int) -> float:
        held = range(i - 71, i + 1)
        k = 0.34 / (1.34 + 73 / 71)
        gaps = statistics.variance(o[j] - c[j - 1] for j in held)
        bodies = statistics.variance(c[j] - o[j] for j in held)
        return math.sqrt(gaps + k * bodies + (1 - k) * mean_of(rogers, i, 72))

    check(column(matrix, "yang_zhang_vol_72"), yang_zhang, 72)


def test_jump_and_downside_shares_are_their_formulas(matrix, eth) -> None:
    r = returns(eth)

    def jumps(i: int) -> float:
        smooth = math.pi / 2 * mean_of(lambda j: abs(r[j]) * abs(r[j - 1]), i, 72)
        return max(0.0, 1 - smooth / mean_of(lambda j: r[j] ** 2, i, 72))

    check(column(matrix, "jump_share_72"), jumps, 73)
    check(
        column(matrix, "downside_share_168"),
        lambda i: (
            mean_of(lambda j: min(r[j], 0) ** 2, i, 168) / mean_of(lambda j: r[j] ** 2, i, 168)
        ),
        168,
    )


def test_the_trend_line_is_least_squares(matrix, eth) -> None:
    y = np.log(eth["close"])
    x = np.arange(24)
    check(column(matrix, "trend_slope_24"), lambda i: np.polyfit(x, y[i - 23 : i + 1], 1)[0], 24)
    check(
        column(matrix, "trend_fit_24"),
        lambda i: np.corrcoef(x, y[i - 23 : i + 1])[0, 1] ** 2,
        24,
    )


def test_volume_columns_are_their_formulas(matrix, eth) -> None:
    r, volume, close = returns(eth), eth["volume"], eth["close"]
    typical = [sum(p) / 3 for p in zip(eth["high"], eth["low"], close, strict=True)]
    turnover = [v * p for v, p in zip(volume, typical, strict=True)]
    check(
        column(matrix, "obv_slope_24"),
        lambda i: (
            mean_of(lambda j: math.copysign(volume[j], r[j]), i, 24)
            / mean_of(lambda j: volume[j], i, 24)
        ),
        24,
    )
    check(
        column(matrix, "vwap_distance_24"),
        lambda i: math.log(close[i] * sum(volume[i - 23 : i + 1]) / sum(turnover[i - 23 : i + 1])),
        24,
    )
    check(
        column(matrix, "amihud_168"),
        lambda i: math.log(
            mean_of(lambda j: abs(r[j]), i, 168) / mean_of(lambda j: turnover[j], i, 168)
        ),
        168,
    )
    logs = [math.log1p(t) for t in turnover]
    check(
        column(matrix, "volume_z_168"),
        lambda i: (
            (logs[i] - statistics.fmean(logs[i - 167 : i + 1]))
            / statistics.stdev(logs[i - 167 : i + 1])
        ),
        168,
    )


def test_the_taker_imbalance_is_buying_minus_selling_over_both(matrix, eth) -> None:
    bought, volume = eth["taker_buy_volume"], eth["volume"]

    def imbalance(i: int) -> float:
        buying = sum(bought[i - 23 : i + 1])
        selling = sum(volume[i - 23 : i + 1]) - buying
        return (buying - selling) / (buying + selling)

    check(column(matrix, "taker_imbalance_24"), imbalance, 24)


def test_statistics_of_returns_are_their_formulas(matrix, eth) -> None:
    r, log_close = returns(eth), np.log(eth["close"])
    check(
        column(matrix, "autocorrelation_1_72"),
        lambda i: np.corrcoef(r[i - 71 : i + 1], r[i - 72 : i])[0, 1],
        73,
    )
    check(
        column(matrix, "efficiency_ratio_24"),
        lambda i: abs(log_close[i] - log_close[i - 24]) / sum(map(abs, r[i - 23 : i + 1])),
        24,
    )
    six = [math.nan] * 6 + [log_close[i] - log_close[i - 6] for i in range(6, N)]
    check(
        column(matrix, "variance_ratio_6_168"),
        lambda i: (
            statistics.variance(six[i - 167 : i + 1])
            / (6 * statistics.variance(r[i - 167 : i + 1]))
        ),
        174,
    )


def test_cycle_power_is_one_bin_of_the_fourier_transform(matrix, eth) -> None:
    r = returns(eth)

    def power(i: int) -> float:
        spectrum = np.abs(np.fft.fft(r[i - 167 : i + 1])) ** 2
        return spectrum[168 // 24] / (168 * sum(x * x for x in r[i - 167 : i + 1]))

    check(column(matrix, "cycle_power_24_168"), power, 168)


def test_a_pure_daily_cycle_has_half_its_power_there(make_bars) -> None:
    bars = make_bars(400, ("BTC/USDT",))
    close = 100 * np.exp(np.cumsum(0.01 * np.sin(2 * np.pi * np.arange(400) / 24)))
    prices = {name: pl.Series(close) for name in ("open", "high", "low", "close")}
    matrix = build_matrix(bars.with_columns(**prices), timeframe=HOUR)
    assert matrix["cycle_power_24_168"][-1] == pytest.approx(0.5, abs=1e-6)
    assert matrix["cycle_power_12_168"][-1] == pytest.approx(0.0, abs=1e-6)


def test_columns_against_bitcoin_are_regression_and_rest(matrix, eth, btc) -> None:
    r, m = returns(eth), returns(btc)

    def beta(i: int) -> float:
        return np.polyfit(m[i - 167 : i + 1], r[i - 167 : i + 1], 1)[0]

    check(column(matrix, "btc_beta_168"), beta, 168)
    check(
        column(matrix, "btc_correlation_168"),
        lambda i: np.corrcoef(m[i - 167 : i + 1], r[i - 167 : i + 1])[0, 1],
        168,
    )
    check(
        column(matrix, "residual_momentum_24_168"),
        lambda i: sum(r[i - 23 : i + 1]) - beta(i) * sum(m[i - 23 : i + 1]),
        168,
    )
    np.testing.assert_allclose(column(matrix, "btc_beta_168", "BTC/USDT")[200:], 1.0)


def test_ranks_breadth_and_dispersion_are_across_the_symbols(matrix, bars) -> None:
    change = {
        symbol: np.log(bars.filter(pl.col("symbol") == symbol)["close"].to_numpy())
        for symbol in ("ADA/USDT", "BTC/USDT", "ETH/USDT")
    }
    change = {symbol: c[24:] - c[:-24] for symbol, c in change.items()}
    table = np.stack(list(change.values()))
    rank = table.argsort(axis=0).argsort(axis=0) / 2
    np.testing.assert_allclose(column(matrix, "return_rank_24")[24:], rank[2])
    np.testing.assert_allclose(column(matrix, "breadth_24")[24:], (table > 0).mean(axis=0))
    np.testing.assert_allclose(column(matrix, "dispersion_24")[24:], table.std(axis=0), rtol=1e-5)
    relative = table[2] - table.mean(axis=0)
    np.testing.assert_allclose(column(matrix, "relative_return_24")[24:], relative, atol=1e-7)


def test_the_calendar_is_that_of_the_close(matrix) -> None:
    monday = matrix.filter(
        (pl.col("symbol") == "BTC/USDT")
        & (pl.col("known_at").dt.weekday() == 1)
        & (pl.col("known_at").dt.hour() == 6)
    ).row(0, named=True)
    assert monday["hour_sin"] == pytest.approx(1.0)
    assert monday["hour_cos"] == pytest.approx(0.0, abs=1e-7)
    assert monday["weekday_sin"] == pytest.approx(math.sin(2 * math.pi * 0.25 / 7))
    assert [monday[n] for n in ("is_weekend", "asia_session", "europe_session", "us_session")] == [
        0.0, 1.0, 0.0, 0.0,
    ]  # fmt: skip


def test_the_clocks_of_funding_month_and_quarter_are_those_of_the_close(matrix) -> None:
    row = matrix.filter(
        (pl.col("symbol") == "BTC/USDT")
        & (pl.col("known_at") == datetime(2024, 2, 1, 6, tzinfo=UTC))
    ).row(0, named=True)
    assert row["funding_clock"] == pytest.approx(0.25)
    assert row["month_elapsed"] == pytest.approx(0.25 / 29)
    assert row["quarter_elapsed"] == pytest.approx(31.25 / 91)
    assert row["turn_of_month"] == 1.0
    assert row["year_sin"] == pytest.approx(math.sin(2 * math.pi * 31.25 / 366), rel=1e-6)


def test_the_noise_robust_estimators_are_their_formulas(matrix, eth) -> None:
    r, c = returns(eth), np.log(eth["close"])

    def two_scale(i: int) -> float:
        slow = mean_of(lambda j: (c[j] - c[j - 5]) ** 2 / 5, i, 72)
        fast = mean_of(lambda j: r[j] ** 2, i, 72)
        return math.sqrt((slow - fast / 5) / (1 - 1 / 5))

    check(column(matrix, "two_scale_vol_5_72"), two_scale, 77)

    def parzen(x: float) -> float:
        return 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3

    def kernel(i: int) -> float:
        lags = [mean_of(lambda j, k=k: r[j] * r[j - k], i, 168) for k in range(7)]
        return math.sqrt(lags[0] + 2 * sum(parzen(k / 7) * lags[k] for k in range(1, 7)))

    check(column(matrix, "kernel_vol_6_168"), kernel, 180)

    def median(i: int) -> float:
        middle = mean_of(lambda j: statistics.median(map(abs, r[j - 2 : j + 1])) ** 2, i, 72)
        return math.sqrt(math.pi / (6 - 4 * math.sqrt(3) + math.pi) * middle)

    check(column(matrix, "median_vol_72"), median, 76)


def test_spreads_are_their_formulas(matrix, eth) -> None:
    r, c = returns(eth), np.log(eth["close"])
    h, low = np.log(eth["high"]), np.log(eth["low"])
    middle = (h + low) / 2

    def roll(i: int) -> float:
        cov = np.cov(r[i - 167 : i + 1], r[i - 168 : i])[0, 1]
        return -2 * math.copysign(math.sqrt(abs(cov)), cov)

    check(column(matrix, "roll_spread_168"), roll, 170)

    def abdi_ranaldo(i: int) -> float:
        product = mean_of(lambda j: (c[j - 1] - middle[j - 1]) * (c[j - 1] - middle[j]), i, 168)
        return 2 * math.copysign(math.sqrt(abs(product)), product)

    check(column(matrix, "close_high_low_spread_168"), abdi_ranaldo, 169)

    def pair(j: int) -> float:
        high, bottom, before = eth["high"][j], eth["low"][j], eth["close"][j - 1]
        gap = max(before - high, 0) + min(before - bottom, 0)
        top, floor = math.log(high + gap), math.log(bottom + gap)
        beta = (top - floor) ** 2 + (h[j - 1] - low[j - 1]) ** 2
        gamma = (max(top, h[j - 1]) - min(floor, low[j - 1])) ** 2
        k = 3 - 2 * math.sqrt(2)
        alpha = (math.sqrt(2 * beta) - math.sqrt(beta)) / k - math.sqrt(gamma / k)
        return max(2 * (math.exp(alpha) - 1) / (1 + math.exp(alpha)), 0)

    check(column(matrix, "corwin_schultz_spread_24"), lambda i: mean_of(pair, i, 24), 25)


def test_volume_profile_and_bulk_imbalance_are_their_formulas(matrix, eth) -> None:
    volume, close, r = eth["volume"], eth["close"], returns(eth)
    typical = [(a + b + c) / 3 for a, b, c in zip(eth["high"], eth["low"], close, strict=True)]
    check(
        column(matrix, "volume_below_72"),
        lambda i: (
            sum(volume[j] for j in range(i - 71, i + 1) if typical[j] < close[i])
            / sum(volume[i - 71 : i + 1])
        ),
        72,
    )

    def bought(j: int) -> float:
        z = r[j] / statistics.stdev(r[j - 47 : j + 1])
        return volume[j] * (2 / (1 + math.exp(-z * math.pi / math.sqrt(3))) - 1)

    check(
        column(matrix, "vpin_48"),
        lambda i: mean_of(lambda j: abs(bought(j)), i, 48) / mean_of(lambda j: volume[j], i, 48),
        100,
    )


def test_hurst_entropy_and_fractional_difference_are_their_formulas(matrix, eth) -> None:
    c = np.log(eth["close"])

    def hurst(i: int) -> float:
        lags = [1, 2, 4, 8, 16]
        sizes = [mean_of(lambda j, k=k: abs(c[j] - c[j - k]), i, 336) for k in lags]
        return np.polyfit(np.log(lags), np.log(sizes), 1)[0]

    check(column(matrix, "hurst_336"), hurst, 352)

    def entropy(i: int) -> float:
        orders = [tuple(np.argsort(c[j - 2 : j + 1])) for j in range(i - 167, i + 1)]
        shares = [orders.count(order) / 168 for order in set(orders)]
        return -sum(p * math.log(p) for p in shares) / math.log(6)

    check(column(matrix, "permutation_entropy_168"), entropy, 170)

    def fractional(i: int) -> float:
        weights = [1.0]
        for k in range(1, 120):
            weights.append(weights[-1] * (k - 1 - 0.4) / k)
        weights[-1] -= sum(weights)
        return sum(w * c[i - k] for k, w in enumerate(weights))

    check(column(matrix, "fractional_difference_4_120"), fractional, 119)


def test_haar_details_add_up_to_the_price_and_their_energies_to_one(matrix, eth) -> None:
    c, r = np.log(eth["close"]), returns(eth)

    def detail(i: int, level: int) -> float:
        half = 2 ** (level - 1)
        return (c[i - half + 1 : i + 1].mean() - c[i - 2 * half + 1 : i - half + 1].mean()) / 2

    check(
        column(matrix, "wavelet_detail_4_168"),
        lambda i: detail(i, 4) / statistics.stdev(r[i - 167 : i + 1]),
        168,
    )
    i = 500
    smooth = c[i - 63 : i + 1].mean()
    assert sum(detail(i, level) for level in range(1, 7)) + smooth == pytest.approx(c[i])
    energy = [mean_of(lambda j, k=k: detail(j, k) ** 2, i, 168) for k in range(1, 7)]
    shares = np.array(energy) / sum(energy)
    for level in range(2, 7):
        given = column(matrix, f"wavelet_energy_{level}_168")[i]
        assert given == pytest.approx(shares[level - 1], rel=1e-5)
    expected = -(shares * np.log(shares)).sum() / math.log(6)
    assert column(matrix, "wavelet_entropy_168")[i] == pytest.approx(expected, rel=1e-5)


def test_the_phase_of_a_pure_cycle_is_where_it_stands(make_bars) -> None:
    bars = make_bars(400, ("BTC/USDT",))
    turn = 2 * np.pi * np.arange(400) / 24
    close = 100 * np.exp(np.cumsum(0.01 * np.cos(turn)))
    prices = {name: pl.Series(close) for name in ("open", "high", "low", "close")}
    matrix = build_matrix(bars.with_columns(**prices), timeframe=HOUR)
    np.testing.assert_allclose(matrix["cycle_cos_24_168"][200:], np.cos(turn[200:]), atol=1e-5)
    np.testing.assert_allclose(matrix["cycle_sin_24_168"][200:], np.sin(turn[200:]), atol=1e-5)


def test_the_cloud_is_that_of_26_bars_ago(matrix, eth) -> None:
    high, low, close = eth["high"], eth["low"], eth["close"]

    def middle(i: int, window: int) -> float:
        return (max(high[i - window + 1 : i + 1]) + min(low[i - window + 1 : i + 1])) / 2

    def edges(i: int) -> tuple[float, float]:
        return (middle(i - 26, 9) + middle(i - 26, 26)) / 2, middle(i - 26, 52)

    def cloud(i: int) -> float:
        top, bottom = max(edges(i)), min(edges(i))
        return (max(close[i] - top, 0) + min(close[i] - bottom, 0)) / close[i]

    check(column(matrix, "ichimoku_cloud_9_26_52"), cloud, 80)
    check(
        column(matrix, "ichimoku_thickness_9_26_52"),
        lambda i: (edges(i)[0] - edges(i)[1]) / close[i],
        80,
    )


def test_streaks_count_closes_in_one_direction(matrix, eth) -> None:
    r = returns(eth)

    def streak(i: int) -> float:
        sign = math.copysign(1, r[i])
        held = list(itertools.takewhile(lambda x: x * sign > 0, r[i::-1][:24]))
        return sign * len(held)

    check(column(matrix, "streak"), streak, 30)


def test_a_streak_is_null_until_a_day_of_closes_is_there(make_bars) -> None:
    bars = make_bars(120, ("ETH/USDT",))
    row = pl.int_range(pl.len())
    values = build_matrix(bars.filter(~row.is_between(40, 49)), timeframe=HOUR)["streak"]
    # 23 of 24 returns are enough; the first bar and the first after the gap have none.
    assert values.is_null().to_list() == [i < 23 or 40 <= i < 63 for i in range(110)]


def test_a_pump_needs_price_and_volume(make_bars) -> None:
    bars = make_bars(300, ("BTC/USDT",))
    row = pl.int_range(pl.len())
    spike = pl.when(row == 250)
    jump = pl.when(row >= 250).then(1.2).otherwise(1.0)
    prices = [(pl.col(name) * jump).alias(name) for name in ("high", "low", "close")]
    loud = bars.with_columns(*prices, volume=spike.then(pl.col("volume") * 30).otherwise("volume"))
    quiet = bars.with_columns(*prices)
    scores = {}
    for name, frame in (("loud", loud), ("quiet", quiet)):
        matrix = build_matrix(frame, timeframe=HOUR, names=["pump_score_72", "pump_memory_72_24"])
        scores[name] = matrix["pump_score_72"][250]
        assert matrix["pump_memory_72_24"][260] >= scores[name]
    assert scores["loud"] > 3
    assert scores["quiet"] < 0.5 * scores["loud"]


def test_the_five_states_by_rule_exclude_each_other(matrix) -> None:
    names = [f"regime_{state}" for state in ("bull", "bear", "range", "storm", "calm")]
    known = matrix.select(names).drop_nulls()
    assert known.height > 500
    assert known.sum_horizontal().to_list() == [1.0] * known.height


def test_lead_and_downside_beta_are_their_formulas(matrix, eth, btc) -> None:
    r, m = returns(eth), returns(btc)
    check(
        column(matrix, "btc_leads_1_168"),
        lambda i: np.corrcoef(r[i - 167 : i + 1], m[i - 168 : i])[0, 1],
        170,
    )
    check(
        column(matrix, "btc_downside_beta_336"),
        lambda i: (
            sum(r[j] * m[j] for j in range(i - 335, i + 1) if m[j] < 0)
            / sum(m[j] ** 2 for j in range(i - 335, i + 1) if m[j] < 0)
        ),
        337,
    )


def test_the_market_correlation_is_the_mean_over_pairs_when_volatilities_are_alike(
    matrix, bars
) -> None:
    r = np.stack(
        [
            returns(bars.filter(pl.col("symbol") == symbol).to_dict(as_series=False))
            for symbol in ("ADA/USDT", "BTC/USDT", "ETH/USDT")
        ]
    )
    given = column(matrix, "market_correlation_168")
    for i in range(200, N, 97):
        held = r[:, i - 167 : i + 1]
        cov = np.cov(held)
        off = cov.sum() - np.trace(cov)
        deviations = np.outer(*[np.sqrt(np.diag(cov))] * 2)
        expected = off / (deviations.sum() - np.trace(deviations))
        assert given[i] == pytest.approx(expected, rel=1e-5)


# TA-Lib remembers from the first bar on; after 600 bars what is older than our cut has no weight left.
TALIB = {
    "rsi_14": lambda b: talib.RSI(b["close"], 14) / 100,
    "rsi_42": lambda b: talib.RSI(b["close"], 42) / 100,
    "atr_14": lambda b: talib.ATR(b["high"], b["low"], b["close"], 14) / b["close"],
    "ema_gap_6_24": lambda b: (talib.EMA(b["close"], 6) - talib.EMA(b["close"], 24)) / b["close"],
    "macd_histogram_12_26_9": lambda b: talib.MACD(b["close"], 12, 26, 9)[2] / b["close"],
    "adx_14": lambda b: talib.ADX(b["high"], b["low"], b["close"], 14) / 100,
    "cci_20": lambda b: talib.CCI(b["high"], b["low"], b["close"], 20) / 100,
    "mfi_14": lambda b: talib.MFI(b["high"], b["low"], b["close"], b["volume"], 14) / 100,
    "ultimate_oscillator_7_14_28": lambda b: (
        talib.ULTOSC(b["high"], b["low"], b["close"], 7, 14, 28) / 100
    ),
    "stochastic_14": lambda b: talib.WILLR(b["high"], b["low"], b["close"], 14) / 100 + 1,
    "williams_r_28": lambda b: talib.WILLR(b["high"], b["low"], b["close"], 28) / 100,
    "chande_momentum_12": lambda b: _cutler(b["close"], 12),
    "sma_gap_50_200": lambda b: np.log(talib.SMA(b["close"], 50) / talib.SMA(b["close"], 200)),
    "directional_movement_14": lambda b: _over_sum(*_movements(b)),
    "trix_15": lambda b: np.diff(_triple_mean(np.log(b["close"]), 15), prepend=np.nan),
    "trend_slope_24": lambda b: talib.LINEARREG_SLOPE(np.log(b["close"]), 24),
}


def _cutler(close: np.ndarray, window: int) -> np.ndarray:
    change = np.diff(close, prepend=np.nan)
    return _over_sum(
        *(talib.SMA(np.nan_to_num(np.maximum(s * change, 0)), window) for s in (1, -1))
    )


def _movements(b: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [f(b["high"], b["low"], b["close"], 14) for f in (talib.PLUS_DI, talib.MINUS_DI)]


def _over_sum(plus: np.ndarray, minus: np.ndarray) -> np.ndarray:
    return (plus - minus) / (plus + minus)


def _triple_mean(x: np.ndarray, span: int) -> np.ndarray:
    for _ in range(3):
        x = np.concatenate([np.full(span - 1, np.nan), talib.EMA(x, span)[span - 1 :]])
        x[: span - 1] = x[span - 1]
    return x


@pytest.mark.parametrize("name", TALIB)
def test_the_classic_indicators_agree_with_talib(name: str, matrix, eth) -> None:
    arrays = {key: np.asarray(eth[key]) for key in ("high", "low", "close", "volume")}
    expected, given = TALIB[name](arrays)[600:], column(matrix, name)[600:]
    scale = np.median(np.abs(expected))
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3 * scale)


def test_aroon_agrees_with_talib_but_for_its_extra_bar(matrix, eth) -> None:
    down, up = talib.AROON(np.asarray(eth["high"]), np.asarray(eth["low"]), 71)
    np.testing.assert_allclose(column(matrix, "aroon_72")[72:], (up - down)[72:] / 100, atol=1e-6)
