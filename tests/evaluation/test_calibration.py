"""Fitting a calibration, and the measures of honesty."""

import json
import math

import numpy as np
import pytest

from evaluation.calibration import (
    brier_score,
    fit_calibration,
    log_loss,
)
from serving.calibration import calibrate

CERTAIN = np.eye(3)[[0, 1, 2]]


def over_confident(seed=7, n=6000):
    """Probabilities whose log odds are three times too large, with outcomes drawn from the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([4, 8, 4], n)
    outcome = (rng.random((n, 1)) > truth.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    sharp = truth**3
    return sharp / sharp.sum(axis=1, keepdims=True), outcome


@pytest.mark.parametrize("kind", ["sigmoid", "isotonic"])
def test_calibration_lowers_the_log_loss_of_over_confident_probabilities_on_new_rows(kind):
    fit, seen = over_confident()
    parameters = fit_calibration(fit, seen, np.ones(seen.size), kind)
    assert json.loads(json.dumps(parameters)) == parameters, "plain JSON types"
    new, outcome = over_confident(seed=8)
    assert log_loss(calibrate(new, parameters), outcome) < log_loss(new, outcome) - 0.05


def test_a_model_that_is_wrong_way_round_becomes_the_base_rate():
    rng = np.random.default_rng(3)
    outcome = rng.integers(0, 3, 3000)
    wrong = np.where(np.eye(3)[outcome] == 1, 0.1, 0.45)
    parameters = fit_calibration(wrong, outcome, np.ones(3000), "sigmoid")
    assert parameters["slope"] == [0.0, 0.0, 0.0]
    shares = np.bincount(outcome) / 3000
    assert calibrate(wrong, parameters)[0] == pytest.approx(shares, abs=1e-3)


def test_weights_count_as_repeated_rows():
    proba, outcome = over_confident(n=400)
    twice = np.concatenate([proba, proba[:200]]), np.concatenate([outcome, outcome[:200]])
    weight = np.concatenate([np.full(200, 2.0), np.ones(200)])
    weighted = fit_calibration(proba, outcome, weight, "isotonic")
    repeated = fit_calibration(*twice, np.ones(600), "isotonic")
    assert calibrate(proba, weighted) == pytest.approx(calibrate(proba, repeated))


def test_a_class_that_never_came_true_is_calibrated_to_almost_nothing():
    proba, outcome = over_confident(n=500)
    outcome = np.where(outcome == 2, 1, outcome)
    for kind in ("sigmoid", "isotonic"):
        out = calibrate(proba, fit_calibration(proba, outcome, np.ones(500), kind))
        assert out[:, 2].max() < 0.02


def test_no_calibration_is_fitted_where_none_is_asked_for():
    assert fit_calibration(CERTAIN, np.arange(3), np.ones(3), "none") == {"kind": "none"}


def test_log_loss_and_brier_score_of_known_forecasts():
    even = np.full((2, 3), 1 / 3)
    assert log_loss(even, np.array([0, 2])) == pytest.approx(math.log(3))
    assert brier_score(even, np.array([0, 2])) == pytest.approx(2 / 3)
    assert brier_score(CERTAIN, np.arange(3)) == 0
    assert brier_score(CERTAIN, np.array([1, 2, 0])) == 2
    assert log_loss(CERTAIN, np.array([1, 1, 1])) == pytest.approx(2 / 3 * math.log(1e6))
    weight = np.array([1.0, 0.0, 0.0])
    assert log_loss(CERTAIN, np.array([0, 0, 0]), weight) == 0
