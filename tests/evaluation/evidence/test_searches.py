"""What the trials of a search say of choosing the best of them."""

import math

import numpy as np
import pytest

from evaluation.evidence import TrialMoments, pooled_moments, search_evidence, trial_moments


def days(seed, n=200, drift=0.0):
    return np.random.default_rng(seed).normal(drift, 0.01, n)


def test_moments_are_those_of_annual_sharpe_ratios_and_a_trial_that_did_not_trade_has_none():
    up, down = np.array([0.02, 0.0, 0.02, 0.0]), np.array([-0.02, 0.0, -0.02, 0.0])
    one = math.sqrt(365) * 0.01 / math.sqrt(0.0004 / 3)
    found = trial_moments([up, down, np.zeros(4)])
    assert found.trials == 3
    assert found.sharpe_mean == pytest.approx(0.0)
    assert found.sharpe_variance == pytest.approx(2 / 3 * one**2)
    assert found.sample_variance == pytest.approx(one**2)


def test_no_trial_is_refused_and_one_has_no_variance():
    with pytest.raises(ValueError, match="no trial is known"):
        trial_moments([])
    assert trial_moments([days(0)]).sample_variance == 0.0


def test_pooled_moments_are_those_of_all_trials_together():
    first, second = [days(seed) for seed in range(5)], [days(9, drift=0.002), days(10)]
    pooled = pooled_moments([trial_moments(first), trial_moments(second)])
    together = trial_moments([*first, *second])
    assert pooled.trials == together.trials == 7
    assert pooled.sharpe_mean == pytest.approx(together.sharpe_mean)
    assert pooled.sharpe_variance == pytest.approx(together.sharpe_variance)


def test_a_trial_that_was_given_up_counts_but_is_not_laid_beside_the_others():
    daily = {place: days(place) for place in range(6)} | {6: days(6, n=80)}
    found = search_evidence(daily)
    assert (found.moments.trials, found.complete) == (7, 6)
    assert found.overfitting.trials == 6
    assert found.overfitting.blocks == 16
    assert found.independent == 6


def test_a_true_edge_is_found_and_choosing_it_is_no_overfitting():
    daily = {place: days(place) for place in range(5)} | {5: days(5, drift=0.004)}
    found = search_evidence(daily)
    assert found.superior.best == "trial 5"
    assert found.superior.p_value < 0.05
    assert found.overfitting.probability < 0.05


def test_worthless_trials_are_not_found_superior():
    found = search_evidence({place: days(100 + place) for place in range(8)})
    assert found.superior.p_value > 0.1


def test_what_cannot_be_asked_is_none():
    same = days(1)
    alike = search_evidence({0: same, 1: same.copy()})
    assert alike.overfitting is None
    assert "2 complete trials differ in 1 records" in alike.untold["overfitting"]
    assert "superior" not in alike.untold
    idle = search_evidence({0: np.zeros(200), 1: np.zeros(200)})
    assert (idle.superior, idle.overfitting) == (None, None)
    short = search_evidence({0: days(0, n=8), 1: days(1, n=8)})
    assert (short.superior, short.overfitting) == (None, None)
    assert short.as_json()["overfitting"] is None
    assert "8 days" in short.untold["overfitting"]
    assert "8 days" in short.untold["superior"]


def test_the_evidence_is_plain_json():
    tree = search_evidence({place: days(place) for place in range(3)}).as_json()
    assert tree["moments"]["trials"] == 3
    assert "logits" not in tree["overfitting"]
    assert TrialMoments(**tree["moments"]).trials == 3
