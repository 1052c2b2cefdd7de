import numpy as np

from serving.config import RiskConfig
from serving.signals import buy_and_hold_signals, ema_crossover_signals, model_signals

NAN = np.nan
RISK = RiskConfig(kelly_fraction=0.25, stop_atr_multiple=2.0)


def test_kelly_is_a_fraction_of_edge_over_variance_of_the_horizon() -> None:
    sigma, atr = np.array([[0.01]]), np.array([[0.02]])
    signals = model_signals(np.array([[0.0024]]), 24, sigma, atr, RISK)
    # 0.25 x 0.0024 / (0.0001 x 24) = 0.25
    assert np.allclose(signals.desired, 0.25)
    assert np.allclose(signals.variance, 0.0024)
    assert signals.stop_fraction.tolist() == [[0.04]]


def test_a_bet_that_cannot_be_sized_is_not_scored() -> None:
    mu = np.array([[0.01, 0.01, NAN, 0.01]])
    sigma = np.array([[NAN, 0.0, 0.01, 0.01]])
    signals = model_signals(mu, 24, sigma, np.full((1, 4), 0.02), RISK)
    assert np.isnan(signals.desired).tolist() == [[True, True, True, False]]


def test_a_negative_edge_asks_for_a_short_which_the_rules_will_cut() -> None:
    one = np.array([[0.01]])
    assert model_signals(-one, 24, one, one, RISK).desired[0, 0] < 0


def test_ema_crossover_asks_for_its_share_while_the_gap_is_positive() -> None:
    gap = np.array([[0.01, -0.01, 0.0, NAN]])
    signals = ema_crossover_signals(gap, gap, gap, RISK)
    assert np.array_equal(signals.desired, [[0.25, 0.0, 0.0, NAN]], equal_nan=True)
    assert np.isnan(signals.edge).all()


def test_buy_and_hold_asks_once_at_each_symbols_first_bar() -> None:
    close = np.array([[100.0, NAN], [101.0, NAN], [102.0, 5.0], [103.0, 6.0]])
    desired = buy_and_hold_signals(close, np.zeros(2, np.bool_)).desired
    expected = [[0.5, NAN], [NAN, NAN], [NAN, 0.5], [NAN, NAN]]
    assert np.array_equal(desired, expected, equal_nan=True)


def test_buy_and_hold_does_not_ask_again_for_what_it_has_seen() -> None:
    close = np.array([[100.0, 5.0]])
    desired = buy_and_hold_signals(close, np.array([True, False])).desired
    assert np.array_equal(desired, [[NAN, 0.5]], equal_nan=True)
