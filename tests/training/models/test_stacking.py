"""The log-linear combination: what it comes to with much, with little and without evidence."""

import numpy as np
import pytest
from planted_models import Noise, Reader, plant, signal_rows
from scipy.optimize import approx_fprime

from evaluation.calibration import log_loss
from serving.predictors.stacking import log_evidence, logits, softmax
from training.models.stacking import StackingModel, fit_log_linear


def answers(seed=1, n=600):
    """A member that is right and one that is not, and what happened."""
    rng = np.random.default_rng(seed)
    right = rng.dirichlet(np.ones(3), size=n)
    y = (rng.random((n, 1)) > right.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return np.stack([right, rng.dirichlet(np.ones(3), size=n)]), y


def test_where_nothing_may_be_learned_the_members_geometric_mean_remains():
    voices, y = answers()
    coefficients, intercept = fit_log_linear(log_evidence(voices), y, np.ones(600), l2=1e9)
    assert coefficients == pytest.approx(np.tile(np.eye(3), (2, 1)) / 2, abs=1e-6)
    shares = softmax(logits(log_evidence(voices), coefficients, np.zeros(3)))
    assert shares.sum(axis=1) == pytest.approx(np.ones(600))
    assert np.abs(intercept).max() < 1


def test_a_member_that_is_right_is_believed_as_it_speaks_and_the_other_is_not():
    voices, y = answers(n=6000)
    coefficients, _ = fit_log_linear(log_evidence(voices), y, np.ones(6000), l2=1e-4)
    # Softmax does not change if a number is added to a row of the coefficients: compare without it.
    centred = coefficients - coefficients.mean(axis=1, keepdims=True)
    assert centred[:3] == pytest.approx(np.eye(3) - 1 / 3, abs=0.1)
    assert np.abs(centred[3:]).max() < 0.1


def test_the_solution_has_no_slope():
    voices, y = answers(n=200)
    evidence, weight = log_evidence(voices), np.random.default_rng(2).uniform(0.5, 1.5, 200)
    coefficients, intercept = fit_log_linear(evidence, y, weight, l2=0.1)
    equal = np.tile(np.eye(3), (2, 1)) / 2

    def plain(flat):
        table = flat.reshape(7, 3)
        proba = softmax(logits(evidence, table[:6], table[6]))
        return log_loss(proba, y, weight) + 0.05 * ((table[:6] - equal) ** 2).sum()

    slope = approx_fprime(np.vstack([coefficients, intercept]).ravel(), plain, 1e-6)
    assert np.abs(slope).max() < 1e-4


def test_the_meta_learner_shares_out_importance_by_what_it_uses(monkeypatch):
    plant(monkeypatch, Noise, Reader)
    model = StackingModel({"members": ["noise", "reader"], "l2": 1e-3}, seed=7, threads=1)
    model.fit(signal_rows())
    assert model.importance() == pytest.approx([0, 0.96, 0.02, 0.02], abs=0.01)


def test_a_penalty_of_none_is_refused():
    with pytest.raises(ValueError, match="stacking: l2 is 0; use a number above 0"):
        StackingModel({"l2": 0}, seed=7, threads=1)
