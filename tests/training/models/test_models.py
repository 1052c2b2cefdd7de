"""What every model promises; a new file in training/models/ is tested by being listed in MODELS."""

import numpy as np
import pytest

from serving.predictors import load_predictor
from training.models import MODELS, model_class


@pytest.fixture(params=sorted(MODELS))
def kind(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(900, 6)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    score = np.nan_to_num(X[:, 0]) + 0.3 * rng.normal(size=900)
    return X, np.digitize(score, [-0.5, 0.5]), rng.uniform(0.5, 1.5, 900)


def fitted(kind, rows, seed=7, threads=1):
    return kind({}, seed=seed, threads=threads).fit(*rows)


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
    X, y, _ = rows
    proba = fitted(kind, rows).predict_proba(X)
    assert proba.shape == (900, 3)
    assert proba.sum(axis=1) == pytest.approx(np.ones(900))
    assert (proba.argmax(axis=1) == y).mean() > 0.7


def test_the_same_seed_gives_the_same_model_and_the_number_of_threads_does_not_matter(kind, rows):
    once, again = fitted(kind, rows), fitted(kind, rows, threads=2)
    assert np.array_equal(once.predict_proba(rows[0]), again.predict_proba(rows[0]))
    assert not np.array_equal(
        once.predict_proba(rows[0]), fitted(kind, rows, seed=8).predict_proba(rows[0])
    )


def test_a_refit_forgets(kind, rows):
    X, y, weight = rows
    model = kind({}, seed=7, threads=1).fit(X, 2 - y, weight).fit(X, y, weight)
    assert np.array_equal(model.predict_proba(X), fitted(kind, rows).predict_proba(X))


def test_prepared_rows_may_be_shared_by_many_fits(kind, rows):
    prepared = kind({}, seed=7, threads=1).prepare(*rows)
    for _ in range(2):
        model = kind({}, seed=7, threads=1).fit_prepared(prepared)
        assert np.array_equal(
            model.predict_proba(rows[0]), fitted(kind, rows).predict_proba(rows[0])
        )


def test_weights_are_used(kind, rows):
    X, y, _ = rows
    heavy = np.where(y == 2, 20.0, 0.05)
    assert (
        fitted(kind, (X, y, heavy)).predict_proba(X)[:, 2].mean()
        > fitted(kind, rows).predict_proba(X)[:, 2].mean() + 0.2
    )


def test_an_absent_class_is_all_but_impossible(kind, rows):
    X, y, weight = rows
    proba = fitted(kind, (X, np.where(y == 2, 1, y), weight)).predict_proba(X)
    assert proba[:, 2].max() < 0.05


def test_a_saved_model_predicts_the_same_here_and_where_there_is_no_training(kind, rows, tmp_path):
    model = fitted(kind, rows)
    model.save(tmp_path)
    expected = model.predict_proba(rows[0])
    assert np.array_equal(kind.load(tmp_path).predict_proba(rows[0]), expected)
    served = load_predictor(kind.predictor_kind, tmp_path)
    assert np.array_equal(served.predict_proba(rows[0]), expected)
    assert not [p for p in tmp_path.iterdir() if p.suffix in (".pkl", ".pickle", ".joblib")]


def test_importance_is_a_share_and_finds_the_signal(kind, rows):
    shares = fitted(kind, rows).importance()
    assert shares.shape == (6,)
    assert shares.sum() == pytest.approx(1)
    assert shares.argmax() == 0


def test_what_the_space_suggests_can_be_fitted(kind, rows):
    model = kind(kind.space(Middle()), seed=7, threads=1).fit(*rows)
    assert model.predict_proba(rows[0][:5]).shape == (5, 3)


def test_an_unknown_parameter_is_refused_with_the_known_ones(kind):
    with pytest.raises(ValueError, match="has no parameter max_dept; known are"):
        kind({"max_dept": 3}, seed=7, threads=1)


def test_an_unfitted_model_says_so(kind):
    with pytest.raises(ValueError, match="not fitted"):
        kind({}, seed=7, threads=1).predict_proba(np.zeros((1, 6), dtype=np.float32))


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="model 'prophet' is not known; known are"):
        model_class("prophet")
