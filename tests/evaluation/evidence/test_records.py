"""What a track record proves beside its baselines."""

import math

import numpy as np

from evaluation.evidence import CASH, TrialMoments, record_evidence

LIFE = TrialMoments(20, 0.0, 0.25)
YEAR = 8_760.0


def bars(seed, n=3_000, drift=0.0):
    return np.random.default_rng(seed).normal(drift, 0.005, n)


def evidence(model, others=None, life=LIFE):
    return record_evidence(model, others or {}, YEAR, life, paths=300)


def test_a_strong_record_beats_cash_and_survives_the_charge():
    found = evidence(bars(1, drift=0.0006), {"buy_and_hold": bars(2)})
    assert found.against[CASH].p_value < 0.05
    assert found.against["buy_and_hold"].p_value < 0.05
    assert found.superior.superior == ("model",)
    assert found.confidence_set.included == ("model",)
    assert found.sharpe.lower > 0
    assert found.untold == ""
    assert found.deflated.probability > 0.95
    assert found.track_record_bars < found.bars == 3_000


def test_the_charge_grows_with_the_trials():
    model = bars(3, drift=0.0003)
    few, many = evidence(model), evidence(model, life=TrialMoments(5_000, 0.0, 0.25))
    assert many.deflated.expected_maximum > few.deflated.expected_maximum
    assert many.deflated.probability < few.deflated.probability
    assert few.probabilistic == many.probabilistic > few.deflated.probability


def test_noise_proves_nothing():
    found = evidence(bars(4), {"buy_and_hold": bars(5)})
    assert found.against[CASH].p_value > 0.05
    assert found.superior.superior == ()
    assert {"model", "buy_and_hold", CASH} == set(found.confidence_set.included)


def test_a_model_that_never_traded_is_cash_and_proves_nothing():
    found = evidence(np.zeros(500), {"buy_and_hold": bars(6, n=500)})
    assert found.sharpe is None
    assert found.against[CASH] is None
    assert "a record of 500 bars, in 0 of which" in found.untold
    assert found.against["buy_and_hold"] is not None
    assert found.confidence_set.included == ("model", "buy_and_hold")
    assert math.isnan(found.deflated.probability)
    assert found.as_json()["sharpe"] is None
    assert found.as_json()["against"][CASH] is None


def test_a_short_record_is_not_tested():
    found = evidence(bars(7, n=12))
    assert found.against[CASH] is None
    assert "a record of 12 bars" in found.untold
    assert (found.superior, found.confidence_set) == (None, None)


def test_long_records_are_compared_on_means_of_neighbouring_bars():
    found = evidence(bars(8, n=25_001, drift=0.0003))
    assert found.bars == 25_001
    assert found.against[CASH].p_value < 0.05
