"""The elastic net's own solver against scikit-learn's, and its conditions of optimality."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from serving.observations import Observations
from training.models import logistic
from training.models.logistic import LogisticModel
from training.samples import Samples


def samples(n=600, strength=1.0):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    X[:, 4] = X[:, 3] + 0.01 * X[:, 4]
    y = np.digitize(strength * X[:, 0] + 0.5 * X[:, 3] + rng.normal(size=n), [-0.5, 0.5])
    return Samples(
        observations=Observations.alone(X),
        y=y,
        realised=(y - 1).astype(float),
        weight=rng.uniform(0.5, 1.5, n),
        known_at=np.arange(n),
        label_end=np.arange(n) + 1,
        embargo=None,
    )


def test_a_ridge_is_the_one_that_scikit_learn_finds():
    rows = samples()
    model = LogisticModel({"alpha": 0.02, "l1_ratio": 0.0}, seed=7, threads=1)
    prepared = model.prepare(rows)
    model.fit_prepared(prepared)
    other = LogisticRegression(C=1 / 0.02, tol=1e-10, max_iter=10_000)
    other.fit(prepared.z.astype(float), rows.y, prepared.weight)
    assert model.predict_proba(rows.observations) == pytest.approx(
        other.predict_proba(prepared.z.astype(float)), abs=5e-3
    )
    assert model.predictor.line.coefficients == pytest.approx(other.coef_, abs=5e-3)


def test_no_coefficient_of_an_elastic_net_could_be_better():
    rows = samples()
    alpha, ratio = 0.03, 0.7
    model = LogisticModel({"alpha": alpha, "l1_ratio": ratio}, seed=7, threads=1)
    prepared = model.prepare(rows)
    model.fit_prepared(prepared)
    beta = model.predictor.line.coefficients
    error = model.predict_proba(rows.observations) - np.eye(3)[rows.y]
    slope = (prepared.weight[:, None] * error).T @ prepared.z + alpha * (1 - ratio) * beta
    assert (beta == 0).any()
    assert (beta != 0).any()
    assert (np.abs(slope[beta == 0]) <= alpha * ratio + 2e-3).all()
    assert slope[beta != 0] == pytest.approx(-alpha * ratio * np.sign(beta[beta != 0]), abs=2e-3)


def test_nan_is_the_median_and_what_is_far_out_is_cut():
    rows = samples()
    model = LogisticModel({}, seed=7, threads=1).fit(rows)
    X = rows.observations.X
    line = model.predictor.line
    assert line.fill == pytest.approx(np.sort(X, axis=0)[300])
    assert line.high == pytest.approx(np.sort(X, axis=0)[-4])
    asked = np.full((2, 5), np.nan, np.float32)
    asked[1] = line.fill
    proba = model.predict_proba(Observations.alone(asked))
    assert proba[0] == pytest.approx(proba[1])
    far = np.stack([line.high, line.high * 1000]).astype(np.float32)
    proba = model.predict_proba(Observations.alone(far))
    assert proba[0] == pytest.approx(proba[1])


@pytest.mark.parametrize(("steps", "converged"), [(300, True), (2, False)])
def test_a_fit_says_whether_it_converged(tmp_path, monkeypatch, steps, converged):
    monkeypatch.setattr(logistic, "MOST_STEPS", steps)
    LogisticModel({}, seed=7, threads=1).fit(samples(strength=5.0)).save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["converged"] is converged
