import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from evaluation.importance import common_features, importance_stability


def slow_jaccard(importance: np.ndarray, top: int) -> float:
    chosen = [set(sorted(range(row.size), key=lambda j: (-row[j], j))[:top]) for row in importance]
    pairs = list(itertools.combinations(chosen, 2))
    return sum(len(a & b) / len(a | b) for a, b in pairs) / len(pairs)


@given(st.integers(2, 6), st.integers(2, 30), st.integers(1, 40), st.integers(0, 1000))
def test_the_vectorised_stability_is_that_of_its_plain_twins(m, k, top, seed):
    importance = np.random.default_rng(seed).integers(0, 12, (m, k)).astype(float)
    importance[:, 0] += np.arange(m) + 20.0  # no ranking is all ties
    found = importance_stability(importance, top=top)
    pairs = list(itertools.combinations(importance, 2))
    slow = [spearmanr(a, b).statistic for a, b in pairs]
    assert found.mean_spearman == pytest.approx(np.mean(slow), abs=1e-9)
    assert found.mean_jaccard == pytest.approx(slow_jaccard(importance, min(top, k)))
    assert 0.0 <= found.kendall_w <= 1.0 + 1e-12


def test_the_textbook_example_of_concordance():
    # three judges rank six items (Siegel and Castellan 1988, table 9.12): W = 0.162
    ranks = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]])
    found = importance_stability(-ranks.astype(float), top=3)
    assert found.kendall_w == pytest.approx(0.162, abs=5e-4)
    # without ties W and the mean rank correlation are two ways to say it: (m W - 1) / (m - 1)
    assert found.mean_spearman == pytest.approx((3 * found.kendall_w - 1) / 2)


def test_equal_rankings_agree_wholly_and_unrelated_ones_as_by_chance():
    row = np.arange(50.0)
    same = importance_stability(np.stack([row, 2 * row, row**2]), top=10)
    assert (same.kendall_w, same.mean_spearman, same.mean_jaccard) == pytest.approx((1, 1, 1))
    assert same.consecutive_spearman == pytest.approx((1.0, 1.0))
    noise = importance_stability(np.random.default_rng(0).random((40, 50)), top=10)
    assert noise.mean_spearman == pytest.approx(0.0, abs=0.02)
    assert noise.kendall_w == pytest.approx(1 / 40, abs=0.02)
    assert noise.mean_jaccard == pytest.approx(noise.chance_jaccard, abs=0.02)
    assert noise.chance_jaccard == pytest.approx(10 / 90)


def test_where_retrains_turn_is_seen_between_neighbours():
    row = np.arange(9.0)
    found = importance_stability(np.stack([row, row, -row]))
    assert found.consecutive_spearman == pytest.approx((1.0, -1.0))
    assert (found.top, found.rankings, found.features) == (9, 3, 9)
    assert found.as_json()["consecutive_spearman"] == pytest.approx([1.0, -1.0])


def test_a_ranking_of_ties_agrees_with_nothing():
    found = importance_stability(np.stack([np.arange(4.0), np.ones(4)]))
    assert found.mean_spearman == 0.0
    assert math.isnan(importance_stability(np.ones((2, 4))).kendall_w)


def test_only_features_that_all_have_are_compared():
    names, table = common_features([{"a": 1, "b": 2, "c": 3}, {"c": 4, "a": 5}])
    assert names == ("a", "c")
    assert table.tolist() == [[1.0, 3.0], [5.0, 4.0]]
    assert common_features([])[0] == ()


@pytest.mark.parametrize(
    ("importance", "top", "said"),
    [
        (np.ones((1, 5)), 3, r"shape \(1, 5\)"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), 1, "1 values that are not finite"),
        (np.ones((2, 5)), 0, "the top 0 features"),
    ],
)
def test_what_cannot_be_ranked_is_refused(importance, top, said):
    with pytest.raises(ValueError, match=said):
        importance_stability(importance, top=top)
