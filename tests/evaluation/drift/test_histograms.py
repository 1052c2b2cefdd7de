"""Distances of counts, held to scipy on values that count as the median of their bin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from evaluation.drift.histograms import (
    BINS,
    COARSE_BINS,
    bin_codes,
    bin_edges,
    count_pieces,
    distances,
)

seeds = st.integers(0, 2**32 - 1)


def sample(seed: int, n: int = 300, k: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, k)).astype(np.float32)
    values[rng.random((n, k)) < 0.1] = np.nan
    return values


def counts_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return count_pieces(values, edges, np.zeros(len(values), np.int64), 1)[0]


@given(seeds)
def test_distances_are_those_of_scipy(seed: int) -> None:
    reference, current = sample(seed), sample(seed + 1, 90) * np.float32(1.3)
    edges, positions = bin_edges(reference)
    before, now = counts_of(reference, edges), counts_of(current, edges)
    found = distances(now, before, positions)
    for column in range(2):
        place = positions[column]
        drawn, was = np.repeat(place, now[column]), np.repeat(place, before[column])
        p, r = (c[column].reshape(COARSE_BINS, -1).sum(1) for c in (now, before))
        assert found[column, 1] == pytest.approx(ks_2samp(drawn, was).statistic, abs=1e-12)
        assert found[column, 2] == pytest.approx(wasserstein_distance(drawn, was), abs=1e-12)
        assert found[column, 3] == pytest.approx(jensenshannon(p, r, base=2), abs=1e-6)


def test_the_stability_index_is_the_one_of_the_books_but_for_half_a_row_a_bin() -> None:
    reference = np.repeat(np.arange(10), 100_000).reshape(-1, 1).astype(np.float32)
    current = np.concatenate([np.repeat(np.arange(5), 30_000), np.repeat(np.arange(5, 10), 10_000)])
    edges, positions = bin_edges(reference)
    now = counts_of(current.reshape(-1, 1).astype(np.float32), edges)
    found = distances(now, counts_of(reference, edges), positions)[0, 0]
    # Five bins hold 15 % and five 5 % where all held 10 %.
    assert found == pytest.approx(5 * 0.05 * np.log(1.5) + 5 * 0.05 * np.log(2.0), rel=1e-3)


@given(seeds)
def test_counting_agrees_with_a_loop_and_leaves_missing_values_out(seed: int) -> None:
    values = sample(seed, 60)
    edges, _ = bin_edges(sample(seed + 1))
    piece = np.random.default_rng(seed).integers(-1, 3, 60)
    slow = np.zeros((3, 2, BINS), np.int64)
    for row, where in zip(values, piece, strict=True):
        for column, value in enumerate(row):
            if where >= 0 and np.isfinite(value):
                slow[where, column, int(np.sum(value >= edges[column]))] += 1
    np.testing.assert_array_equal(count_pieces(values, edges, piece, 3), slow)


def test_a_sample_is_at_no_distance_from_itself_and_nothing_has_no_distance() -> None:
    values = sample(3)
    edges, positions = bin_edges(values)
    counts = counts_of(values, edges)
    np.testing.assert_allclose(distances(counts, counts, positions), 0.0, atol=1e-6)
    assert np.isnan(distances(np.zeros_like(counts), counts, positions)).all()


def test_a_constant_and_an_empty_column_have_bins_all_the_same() -> None:
    values = np.column_stack([np.full(50, 2.0), np.full(50, np.nan)]).astype(np.float32)
    edges, positions = bin_edges(values)
    assert counts_of(values, edges).sum(axis=1).tolist() == [50, 0]
    assert (positions == 0).all()


def test_codes_run_from_the_lowest_bin_to_the_highest_and_are_zero_where_missing() -> None:
    edges, _ = bin_edges(np.arange(400, dtype=np.float32).reshape(-1, 1))
    codes = bin_codes(np.array([[-1.0], [1000.0], [np.nan]], np.float32), edges)
    assert codes[:, 0].tolist() == [-0.5, 0.5, 0.0]
