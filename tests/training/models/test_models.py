"""What every model promises; a new file in training/models/ is tested by being listed in MODELS."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from serving.observations import Observations
from serving.predictors import load_predictor
from training.models import MODELS, model_class
from training.samples import Samples


@pytest.fixture(params=sorted(MODELS))
def kind(request):
    return model_class(request.param)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(900, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    score = np.nan_to_num(X[:, 0]) + 0.3 * rng.normal(size=900)
    return samples(X, np.digitize(score, [-0.5, 0.5]), rng.uniform(0.5, 1.5, 900))


def samples(X, y, weight):
    """Three symbols of 300 consecutive hours each, every label four hours long."""
    n = len(X)
    bar = np.tile(np.arange(n // 3), 3)
    known_at = bar * 3_600_000_000
    return Samples(
        observations=Observations(
            X, ("A", "B", "C"), np.repeat(np.arange(3), n // 3), bar, np.arange(n)
        ),
        y=y,
        realised=(y - 1).astype(float),
        weight=weight,
        known_at=known_at,
        label_end=known_at + 4 * 3_600_000_000,
        embargo=timedelta(hours=2),
    )


def fitted(kind, rows, seed=7, threads=1):
    return kind({}, seed=seed, threads=threads).fit(rows)


class Middle:
    """A trial that suggests the middle of every range."""

    def suggest_int(self, name, low, high, *, step=1):
        return low + (high - low) // (2 * step) * step

    def suggest_float(self, name, low, high, *, log=False):
        return float(np.sqrt(low * high)) if log else (low + high) / 2

    def report(self, value, step):
        pass

    def should_prune(self):
        return False


def test_probabilities_are_three_sum_to_one_and_know_the_signal(kind, rows):
    proba = fitted(kind, rows).predict_proba(rows.observations)
    assert proba.shape == (900, 3)
    assert proba.sum(axis=1) == pytest.approx(np.ones(900))
    assert (proba.argmax(axis=1) == rows.y).mean() > 0.7


def test_the_same_seed_gives_the_same_model_and_the_number_of_threads_does_not_matter(kind, rows):
    once, again = fitted(kind, rows), fitted(kind, rows, threads=2)
    assert np.array_equal(
        once.predict_proba(rows.observations), again.predict_proba(rows.observations)
    )
    assert not np.array_equal(
        once.predict_proba(rows.observations),
        fitted(kind, rows, seed=8).predict_proba(rows.observations),
    )


def test_a_refit_forgets(kind, rows):
    model = kind({}, seed=7, threads=1).fit(replace(rows, y=2 - rows.y)).fit(rows)
    asked = rows.observations
    assert np.array_equal(model.predict_proba(asked), fitted(kind, rows).predict_proba(asked))


def test_prepared_rows_may_be_shared_by_many_fits(kind, rows):
    prepared = kind({}, seed=7, threads=1).prepare(rows)
    for _ in range(2):
        model = kind({}, seed=7, threads=1).fit_prepared(prepared)
        assert np.array_equal(
            model.predict_proba(rows.observations),
            fitted(kind, rows).predict_proba(rows.observations),
        )


def test_weights_are_used(kind, rows):
    heavy = replace(rows, weight=np.where(rows.y == 2, 20.0, 0.05))
    asked = rows.observations
    assert (
        fitted(kind, heavy).predict_proba(asked)[:, 2].mean()
        > fitted(kind, rows).predict_proba(asked)[:, 2].mean() + 0.2
    )


def test_an_absent_class_is_all_but_impossible(kind, rows):
    absent = replace(rows, y=np.where(rows.y == 2, 1, rows.y))
    proba = fitted(kind, absent).predict_proba(rows.observations)
    assert proba[:, 2].max() < 0.05


def test_a_saved_model_predicts_the_same_here_and_where_there_is_no_training(kind, rows, tmp_path):
    model = fitted(kind, rows)
    model.save(tmp_path)
    expected = model.predict_proba(rows.observations)
    assert np.array_equal(kind.load(tmp_path).predict_proba(rows.observations), expected)
    served = load_predictor(kind.predictor_kind, tmp_path)
    assert np.array_equal(served.predict_proba(rows.observations), expected)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pkl", ".pickle", ".joblib")]


def test_importance_is_a_share_and_finds_the_signal(kind, rows):
    shares = fitted(kind, rows).importance()
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 0


def test_what_the_space_suggests_can_be_fitted(kind, rows):
    model = kind(kind.space(Middle()), seed=7, threads=1).fit(rows)
    assert model.predict_proba(rows.observations.of(np.arange(5))).shape == (5, 3)


def test_an_unknown_parameter_is_refused_with_the_known_ones(kind):
    with pytest.raises(ValueError, match="has no parameter max_dept; known are"):
        kind({"max_dept": 3}, seed=7, threads=1)


def test_an_unfitted_model_says_so(kind):
    with pytest.raises(ValueError, match="not fitted"):
        kind({}, seed=7, threads=1).predict_proba(
            Observations.alone(np.zeros((1, 6), dtype=np.float32))
        )


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="model 'prophet' is not known; known are"):
        model_class("prophet")
