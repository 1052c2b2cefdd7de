"""The first principal component: scikit-learn's, a fixed sign, gaps and columns that stand still."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from training.selection.components import first_component


def together(n=400):
    rng = np.random.default_rng(4)
    common = rng.normal(size=n)
    noise = rng.normal(size=(n, 3)) * np.array([0.2, 0.5, 0.9])
    return ((common[:, None] + noise) * np.array([1.0, -3.0, 0.1]) + 7).astype(np.float32)


def test_it_is_scikit_learns_first_component_up_to_the_sign_that_is_fixed():
    X = together()
    scaled = StandardScaler().fit_transform(X.astype(np.float64))
    expected = PCA(n_components=1).fit(scaled).components_[0]
    found = first_component(X, ["a", "b", "c"])
    assert found.members == ("a", "b", "c")
    largest = np.argmax(np.abs(expected))
    assert found.loading == pytest.approx(expected * np.sign(expected[largest]))
    assert max(found.loading, key=abs) > 0
    assert found.centre == pytest.approx(X.mean(axis=0, dtype=np.float64))
    assert found.scale == pytest.approx(X.std(axis=0, dtype=np.float64))
    assert np.sum(np.square(found.loading)) == pytest.approx(1)


def test_missing_values_are_means_and_still_or_empty_columns_are_left_out():
    X = together()
    X[::2, 0] = np.nan
    still, empty = np.full((400, 1), 3.0, np.float32), np.full((400, 1), np.nan, np.float32)
    found = first_component(np.hstack([X, still, empty]), ["a", "b", "c", "still", "empty"])
    assert found.members == ("a", "b", "c")
    assert found.centre[0] == pytest.approx(X[1::2, 0].mean(dtype=np.float64))


def test_one_moving_column_is_nothing_to_summarise():
    still = np.full((400, 1), 0.1, np.float32)
    assert first_component(np.hstack([together()[:, :1], still]), ["a", "still"]) is None
