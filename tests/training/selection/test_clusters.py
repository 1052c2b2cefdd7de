"""Clusters of correlated columns: scipy's correlation, pairs with gaps, a chain, any order of columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from training.selection.clusters import correlation_clusters, rank_correlation


def families(seed=1, n=600):
    """Two families of three and a loner; the members of one are each other's, turned or bent."""
    rng = np.random.default_rng(seed)
    a, b, alone = rng.normal(size=(3, n))
    near = 0.05 * rng.normal(size=(6, n))
    columns = [a, -a + near[0], np.exp(a) + near[1], b, b**3 + near[2], -b + near[3], alone]
    return np.stack(columns, axis=1).astype(np.float32)


NAMES = ("a1", "a2", "a3", "b1", "b2", "b3", "lone")


def test_without_gaps_it_is_spearmans_correlation():
    X = families()
    assert rank_correlation(X) == pytest.approx(spearmanr(X).statistic, abs=1e-9)


def test_a_pair_is_compared_where_both_are_known_and_a_constant_correlates_with_nothing():
    X = np.array(
        [[1, 1, 5, np.nan], [2, 2, 5, np.nan], [3, np.nan, 5, 1], [4, 4, 5, np.nan]], np.float32
    )
    found = rank_correlation(X)
    # Ranks -1.5 -0.5 1.5 beside -1 0 1 on the three rows where both are known.
    assert found[0, 1] == pytest.approx(3.0 / np.sqrt(4.75 * 2.0))
    assert found[0, 2] == found[2, 3] == found[0, 3] == 0.0
    assert np.diagonal(found).tolist() == [1.0] * 4


def test_families_are_found_whatever_their_sign_and_shape():
    found = correlation_clusters(families(), np.arange(600), NAMES, 0.8)
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_one_column_is_one_cluster():
    assert correlation_clusters(families()[:, :1], np.arange(600), ("a1",), 0.8).tolist() == [0]


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(7)))
def test_the_order_of_columns_is_of_no_account(order):
    names = tuple(NAMES[i] for i in order)
    found = correlation_clusters(families()[:, list(order)], np.arange(600), names, 0.8)
    assert dict(zip(names, found.tolist(), strict=True)) == {
        "a1": 0, "a2": 0, "a3": 0, "b1": 1, "b2": 1, "b3": 1, "lone": 2,
    }  # fmt: skip


def test_rows_that_are_not_asked_for_change_nothing():
    X = families()
    rows = np.arange(0, 600, 2)
    before = correlation_clusters(X, rows, NAMES, 0.8)
    X[1::2] = np.random.default_rng(2).normal(size=(300, 7))
    assert correlation_clusters(X, rows, NAMES, 0.8).tolist() == before.tolist()
