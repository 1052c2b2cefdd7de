"""Every window kernel against a slow twin that looks at each window by itself."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import kernels

NAN = float("nan")
cells = st.one_of(st.just(NAN), st.floats(-1e3, 1e3))
series = st.lists(cells, min_size=1, max_size=60).map(lambda row: np.array([row]))
windows = st.integers(2, 20)
starts = st.integers(0, 500_000)


def windows_of(x: np.ndarray, window: int, required: int):
    """Yield, a bar, the present values of its trailing window, or None where too few are."""
    for end in range(1, x.shape[1] + 1):
        held = [v for v in x[0, max(0, end - window) : end].tolist() if not math.isnan(v)]
        yield held if len(held) >= max(required, 1) else None


def slow(x: np.ndarray, window: int, required: int, formula) -> list[float]:
    return [NAN if held is None else formula(held) for held in windows_of(x, window, required)]


def same(given: np.ndarray, expected: list[float], rtol: float = 1e-9, atol: float = 1e-9) -> bool:
    return bool(np.allclose(given[0], expected, rtol=rtol, atol=atol, equal_nan=True))


@given(series, windows, starts)
def test_the_mean_is_that_of_the_present_bars(x, window, start) -> None:
    required = math.ceil(window / 2)
    assert same(
        kernels.window_mean(x, start, window, required),
        slow(x, window, required, statistics.fmean),
    )


@given(series, windows, starts)
def test_mean_and_variance_are_those_of_the_present_bars(x, window, start) -> None:
    required = max(2, math.ceil(window / 2))
    mean, variance = kernels.window_moments(x, start, window, required)
    assert same(mean, slow(x, window, required, statistics.fmean))
    assert same(variance, slow(x, window, required, statistics.variance), atol=1e-7)


def _shape(power: int):
    def moment(held: list[float]) -> float:
        mean = statistics.fmean(held)
        second = statistics.fmean((v - mean) ** 2 for v in held)
        if second == 0:
            return NAN
        return statistics.fmean((v - mean) ** power for v in held) / second ** (power / 2)

    return moment


@given(
    st.lists(st.one_of(st.just(NAN), st.integers(-50, 50).map(float)), min_size=1, max_size=60),
    windows,
    starts,
)
def test_skewness_and_kurtosis_are_the_standardised_moments(row, window, start) -> None:
    x, required = np.array([row]), max(3, math.ceil(window / 2))
    skew, kurtosis = kernels.window_shape(x, start, window, required)
    assert same(skew, slow(x, window, required, _shape(3)), 1e-6, 1e-6)
    expected = [value - 3 for value in slow(x, window, required, _shape(4))]
    assert same(kurtosis, expected, 1e-6, 1e-6)


@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=60).map(
        lambda rows: (np.array([[a for a, _ in rows]]), np.array([[b for _, b in rows]]))
    ),
    windows,
    starts,
)
def test_the_covariance_is_over_the_bars_where_both_are_present(pair, window, start) -> None:
    x, y = pair
    given_cov, given_x, given_y = kernels.window_covariance(x, y, start, window, 2)
    both = [None if math.isnan(a + b) else (a, b) for a, b in zip(x[0], y[0], strict=True)]
    for end in range(1, len(both) + 1):
        held = [pair for pair in both[max(0, end - window) : end] if pair is not None]
        if len(held) < 2:
            assert np.isnan(given_cov[0, end - 1])
            continue
        a, b = [p[0] for p in held], [p[1] for p in held]
        mean_a, mean_b = statistics.fmean(a), statistics.fmean(b)
        cov = sum((p - mean_a) * (q - mean_b) for p, q in held) / (len(held) - 1)
        assert given_cov[0, end - 1] == pytest.approx(cov, rel=1e-7, abs=1e-6)
        assert given_x[0, end - 1] == pytest.approx(statistics.variance(a), rel=1e-7, abs=1e-6)
        assert given_y[0, end - 1] == pytest.approx(statistics.variance(b), rel=1e-7, abs=1e-6)


@given(
    st.lists(st.one_of(st.just(NAN), st.integers(-3, 3).map(float)), min_size=1, max_size=60),
    windows,
    starts,
)
def test_the_maximum_comes_with_the_age_of_its_last_occurrence(row, window, start) -> None:
    x = np.array([row])
    highest, age = kernels.window_max(x, start, window, 1)
    assert same(highest, slow(x, window, 1, max))
    for i in range(len(row)):
        held = [
            (row[j], -(i - j)) for j in range(max(0, i - window + 1), i + 1) if row[j] == row[j]
        ]
        if held:
            assert age[0, i] == -max(held)[1]
        else:
            assert np.isnan(age[0, i])


@given(series, windows, starts, st.sampled_from([0.5, 0.8, 0.95]))
def test_the_decayed_mean_weighs_by_age(x, window, start, decay) -> None:
    given_mean = kernels.window_decayed_mean(x, start, window, 1, decay)
    for i in range(x.shape[1]):
        held = [
            (decay ** (i - j), x[0, j])
            for j in range(max(0, i - window + 1), i + 1)
            if not math.isnan(x[0, j])
        ]
        if not held:
            assert np.isnan(given_mean[0, i])
            continue
        expected = sum(w * v for w, v in held) / sum(w for w, _ in held)
        assert given_mean[0, i] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(series, windows)
def test_the_mean_deviation_is_from_the_mean_at_the_windows_end(x, window) -> None:
    mean = kernels.window_mean(x, 0, window, 1)
    expected = slow(
        x, window, 1, lambda held: statistics.fmean(abs(v - statistics.fmean(held)) for v in held)
    )
    assert same(kernels.window_deviation(x, mean, window, 1), expected)


@given(series, st.lists(st.floats(-2, 2), min_size=1, max_size=12).map(np.array))
def test_the_weighted_sum_needs_every_bar(x, weights) -> None:
    given_sum = kernels.window_weighted_sum(x, weights)
    for i in range(x.shape[1]):
        held = x[0, max(0, i - weights.size + 1) : i + 1][::-1]
        expected = float(held @ weights) if held.size == weights.size else NAN
        assert given_sum[0, i] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(
    st.lists(st.tuples(cells, st.floats(0, 5)), min_size=1, max_size=60),
    windows,
    st.floats(-500, 500),
)
def test_the_share_below_is_that_of_the_weight_at_lower_values(rows, window, level) -> None:
    x, weight = (np.array([[row[k] for row in rows]]) for k in (0, 1))
    given_share = kernels.window_share_below(x, np.full_like(x, level), weight, window)
    for i in range(x.shape[1]):
        held = [(v, w) for v, w in rows[max(0, i - window + 1) : i + 1] if not math.isnan(v)]
        total = sum(w for _, w in held)
        expected = sum(w for v, w in held if v < level) / total if total else NAN
        assert given_share[0, i] == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=70), st.integers(0, 99))
def test_ranks_are_the_same_counted_and_sorted(values, seed) -> None:
    x = np.array(values, np.float64)[:, None]
    order = np.argsort(np.random.default_rng(seed).random(x.size))
    below = [sum(v < w for v in values) for w in values]
    equal = [values.count(w) for w in values]
    expected = [(b + (e - 1) / 2) / (len(values) - 1) for b, e in zip(below, equal, strict=True)]
    np.testing.assert_allclose(kernels.rank_across(x[order])[:, 0], np.array(expected)[order])


def test_ranks_run_from_zero_to_one_with_ties_averaged() -> None:
    x = np.array([[1.0, 5.0, NAN, 2.0], [2.0, 5.0, 7.0, 2.0], [3.0, 9.0, NAN, NAN]])
    expected = [[0.0, 0.25, NAN, 0.5], [0.5, 0.25, NAN, 0.5], [1.0, 1.0, NAN, NAN]]
    np.testing.assert_array_equal(kernels.rank_across(x), expected)


@given(
    st.lists(cells, min_size=30, max_size=80),
    windows,
    starts,
    st.integers(1, 9),
)
def test_a_value_is_the_same_to_the_last_bit_wherever_the_frame_begins(
    row, window, start, cut
) -> None:
    x = np.array([row])
    later = np.ascontiguousarray(x[:, cut:])
    first = window - 1
    for kernel in (
        lambda a, s: [kernels.window_mean(a, s, window, 1)],
        lambda a, s: kernels.window_moments(a, s, window, 1),
        lambda a, s: kernels.window_shape(a, s, window, 1),
        lambda a, s: kernels.window_covariance(a, a**2, s, window, 1),
        lambda a, s: kernels.window_max(a, s, window, 1),
        lambda a, s: [kernels.window_decayed_mean(a, s, window, 1, 0.9)],
    ):
        for whole, part in zip(kernel(x, start), kernel(later, start + cut), strict=True):
            np.testing.assert_array_equal(whole[:, cut + first :], part[:, first:])


def test_a_move_of_a_million_leaves_nothing_behind() -> None:
    rng = np.random.default_rng(3)
    calm = rng.normal(0, 0.01, (1, 400))
    shaken = calm.copy()
    shaken[0, 100] = 1e6
    after = slice(100 + 24, None)
    for kernel in (kernels.window_mean, lambda *a: kernels.window_moments(*a)[1]):
        np.testing.assert_array_equal(
            kernel(shaken, 0, 24, 24)[:, after], kernel(calm, 0, 24, 24)[:, after]
        )


def test_a_constant_series_has_no_variance_at_any_level() -> None:
    x = np.full((1, 200), 64_123.456_789)
    assert np.nanmax(kernels.window_moments(x, 17, 24, 23)[1]) == 0.0
