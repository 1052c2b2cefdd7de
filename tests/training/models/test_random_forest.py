"""A forest walked as arrays over values, against scikit-learn's own over bins."""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from serving.observations import Observations
from training.models.random_forest import RandomForestModel
from training.samples import Samples


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(1500, 6)).astype(np.float32)
    X[:, 1] = np.round(X[:, 1])
    X[rng.random(X.shape) < 0.2] = np.nan
    y = np.digitize(np.nan_to_num(X[:, 0]) * np.isnan(X[:, 2]) + X[:, 5] ** 2, [0.3, 1.0])
    return Samples(
        observations=Observations.alone(X),
        y=y,
        realised=(y - 1).astype(float),
        weight=rng.uniform(0.5, 1.5, 1500),
        known_at=np.arange(1500),
        label_end=np.arange(1500) + 1,
        embargo=None,
    )


def test_the_arrays_say_what_scikit_learn_says(rows):
    params = {"n_estimators": 20, "max_depth": 9, "max_features": 0.5, "min_samples_leaf": 2}
    model = RandomForestModel({**params, "max_samples": 0.5}, seed=7, threads=1)
    prepared = model.prepare(rows)
    model.fit_prepared(prepared)
    twin = RandomForestClassifier(**params, max_samples=750, random_state=7)
    twin.fit(prepared.codes, rows.y, rows.weight)
    assert np.allclose(
        model.predict_proba(rows.observations), twin.predict_proba(prepared.codes), atol=1e-12
    )
    assert model.importance() == pytest.approx(twin.feature_importances_)


def test_bins_are_counted_by_the_edges_below_a_value(rows):
    prepared = RandomForestModel({}, seed=7, threads=1).prepare(rows)
    X = rows.observations.X
    for column in range(6):
        known = ~np.isnan(X[:, column])
        below = (prepared.edges[column][None, :] < X[known, column][:, None]).sum(axis=1)
        assert np.array_equal(prepared.codes[known, column], below)
        assert np.isnan(prepared.codes[~known, column]).all()


def test_rows_of_another_width_are_refused(rows):
    model = RandomForestModel({"n_estimators": 2}, seed=7, threads=1).fit(rows)
    with pytest.raises(ValueError, match="X has 4 columns; the forest knows 6"):
        model.predict_proba(Observations.alone(np.zeros((1, 4), np.float32)))
