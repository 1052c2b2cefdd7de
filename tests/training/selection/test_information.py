"""Mutual information: against scikit-learn on the same bins, literal tables, bias, and rows not asked for."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from training.selection.information import BINS, bin_edges, information_of, mutual_information


def drawn(n=3000, seed=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    X[:, 0] += y
    X[:, 1] = np.round(X[:, 1])
    X[y == 2, 2] = np.nan
    X[:, 3] = 1.0
    X[:, 4] = np.nan
    return X, y


def slowly(column, edges, y):
    """The same bins by numpy, the estimate by scikit-learn, the correction by counting."""
    bins = np.where(np.isnan(column), BINS, np.searchsorted(edges, column, side="right"))
    cells = len(set(zip(bins.tolist(), y.tolist(), strict=True)))
    surplus = cells - len(set(bins.tolist())) - len(set(y.tolist())) + 1
    return mutual_info_score(bins, y) - surplus / (2 * y.size)


def test_the_kernel_is_scikit_learns_score_on_the_same_bins_less_the_correction():
    X, y = drawn()
    rows = np.arange(y.size)
    edges = bin_edges(X, rows)
    expected = [slowly(X[:, j], edges[:, j], y) for j in range(5)]
    assert mutual_information(X, y, rows) == pytest.approx(expected, abs=1e-12)


def test_a_table_that_tells_all_is_worth_the_entropy_of_the_class():
    counts = np.diag([10, 10, 10])[None]
    # Three cells, three bins, three classes: the correction is (3 - 3 - 3 + 1) / 60.
    assert information_of(counts)[0] == pytest.approx(math.log(3) + 2 / 60)
    assert information_of(np.full((1, 4, 3), 5))[0] == pytest.approx(-6 / 120)


def test_missing_values_that_tell_the_class_are_information_and_constants_are_not():
    X, y = drawn()
    found = mutual_information(X, y, np.arange(y.size))
    # A value is missing exactly in one of three classes: the entropy of that alone.
    third = -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3))
    assert found[2] == pytest.approx(third, abs=0.02)
    assert found[3] == found[4] == 0.0


def test_noise_is_worth_about_nothing_on_average():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(2000, 200)).astype(np.float32)
    y = rng.integers(0, 3, 2000)
    found = mutual_information(X, y, np.arange(2000))
    # Uncorrected it would be 30 / 4000 = 0.0075.
    assert abs(found.mean()) < 0.0005


def test_rows_that_are_not_asked_for_change_nothing():
    X, y = drawn()
    rows = np.arange(0, y.size, 2)
    before = mutual_information(X, y[rows], rows)
    X[1::2] = 1e9
    np.testing.assert_array_equal(mutual_information(X, y[rows], rows), before)
