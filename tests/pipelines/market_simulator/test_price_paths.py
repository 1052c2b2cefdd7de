import numpy as np
import pytest

from pipelines.market_simulator.price_paths import (
    BLOCK,
    AutoRegression,
    CoinPath,
    Factor,
    outlook_weight,
    season,
    stream,
)


def returns(name, signal, blocks=6, seed=11):
    path = CoinPath(name, Factor(seed), signal)
    parts = [path.block(index) for index in range(blocks)]
    log_price = np.concatenate([*(p.log_price[:-1] for p in parts), parts[-1].log_price[-1:]])
    return np.diff(log_price), np.concatenate([p.outlook for p in parts])


def test_an_autoregression_equals_its_slow_twin_across_blocks():
    noise = np.random.default_rng(1).standard_normal(40)
    fast = AutoRegression(5.0, 2.0, np.random.default_rng(2))
    found = np.concatenate([fast.run(noise[:13]), fast.run(noise[13:])])
    phi, state, slow = 0.5 ** (1 / 5), np.random.default_rng(2).standard_normal(), []
    for shock in noise:
        state = phi * state + np.sqrt(1 - phi**2) * shock
        slow.append(2.0 * state)
    np.testing.assert_allclose(found, slow, rtol=1e-12)


def test_streams_of_other_blocks_names_and_seeds_differ():
    draws = {
        stream(seed, name, block).random()
        for seed in (1, 2)
        for name in ("BTC", "ETH")
        for block in (0, 1, 2**63)
    }
    assert len(draws) == 12


def test_no_signal_means_no_weight_and_more_signal_more_weight():
    assert outlook_weight(0.0) == 0.0
    assert outlook_weight(0.1) == pytest.approx(0.0255, abs=0.0005)
    assert outlook_weight(0.3) > 3 * outlook_weight(0.1)


def test_the_dial_is_the_correlation_of_the_outlook_with_the_next_day():
    found = []
    for seed in range(4):
        hourly, outlook = returns("BTC", 0.3, blocks=16, seed=seed)
        drift = hourly - returns("BTC", 0.0, blocks=16, seed=seed)[0]
        sigma = drift[1:] / (outlook_weight(0.3) * outlook[:-1])
        total = np.concatenate([[0.0], np.cumsum(hourly[1:] / sigma)])
        days = np.arange(0, len(total) - 24, 24)
        found.append(np.corrcoef(outlook[days], total[days + 24] - total[days])[0, 1])
    assert np.mean(found) == pytest.approx(0.3, abs=0.02)


def test_without_signal_the_expected_simple_return_is_zero():
    names = [f"C{index}" for index in range(12)]
    simple = np.concatenate(
        [np.expm1(returns(name, 0.0, seed=i)[0]) for i, name in enumerate(names)]
    )
    standard_error = simple.std() / np.sqrt(len(simple))
    assert abs(simple.mean()) < 3 * standard_error
    assert standard_error < 5e-5


def test_the_outlook_explains_nothing_without_signal():
    hourly, outlook = returns("BTC", 0.0, blocks=12)
    assert abs(np.corrcoef(outlook[:-1], hourly[1:])[0, 1]) < 3 / np.sqrt(len(hourly))


def test_the_dial_changes_drift_only():
    quiet, outlook = returns("ETH", 0.0)
    loud, same_outlook = returns("ETH", 0.2)
    np.testing.assert_array_equal(outlook, same_outlook)
    difference = loud[1:] - quiet[1:]
    assert np.corrcoef(np.sign(difference), np.sign(outlook[:-1]))[0, 1] == pytest.approx(1.0)


def test_the_season_is_busy_at_fourteen_and_quiet_at_weekends():
    shape = season(0)[: 7 * 24].reshape(7, 24)  # begins on a Tuesday
    assert shape.mean(axis=0).argmax() in (14, 15)
    assert np.flatnonzero(shape.mean(axis=1) < 0).tolist() == [4, 5]
    assert len(season(1)) == BLOCK
