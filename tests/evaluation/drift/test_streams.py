"""Detectors on losses, held to plain Python; estimates, to draws from the probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.drift.streams import (
    ESTIMATES,
    OUTCOMES,
    adwin_rise,
    estimated_losses,
    fit_stream,
    mean_by_bar,
    page_hinkley,
    realised_losses,
)

losses = st.lists(st.floats(0, 2), min_size=1, max_size=60).map(np.array)


def slow_page_hinkley(values, mean, weight, tolerated):
    total, totals = 0.0, [0.0]
    history = []
    for value in values:
        history.append(value)
        running = (weight * mean + sum(history)) / (weight + len(history))
        total += value - running - tolerated
        totals.append(total)
    return max(totals[i] - min(totals[: i + 1]) for i in range(len(totals)))


def slow_adwin(values):
    n, spread = len(values), np.std(values)
    if spread <= 1e-9:
        return 0.0
    rises = [
        (np.mean(values[cut:]) - np.mean(values[:cut]))
        / (spread * np.sqrt(1 / cut + 1 / (n - cut)))
        for cut in range(5, n - 4)
    ]
    return max([0.0, *rises])


@given(losses)
def test_page_hinkley_agrees_with_its_definition(values: np.ndarray) -> None:
    terms = {"mean": 0.6, "weight": 20.0, "tolerated": 0.01}
    assert page_hinkley(values, **terms) == pytest.approx(
        slow_page_hinkley(values, **terms), abs=1e-9
    )


@given(losses)
def test_adwin_looks_at_every_cut(values: np.ndarray) -> None:
    if np.std(values) > 1e-6:
        assert adwin_rise(values) == pytest.approx(slow_adwin(values), abs=1e-6)


def test_losses_that_rise_are_seen_and_losses_that_fall_are_not() -> None:
    rising = np.concatenate([np.full(40, 0.5), np.full(40, 0.7)])
    assert adwin_rise(rising) == pytest.approx(0.2 / (0.1 * np.sqrt(2 / 40)))
    assert adwin_rise(rising[::-1]) == 0.0
    assert adwin_rise(np.full(80, 0.5)) == 0.0
    risen = page_hinkley(rising, mean=0.5, weight=1e9, tolerated=0.0)
    assert risen == pytest.approx(40 * 0.2, rel=1e-3)


def test_what_probabilities_promise_is_what_comes_true_if_they_are_right() -> None:
    rng = np.random.default_rng(1)
    proba = rng.dirichlet([2.0, 1.0, 3.0], 40_000)
    outcome = (rng.random((40_000, 1)) > np.cumsum(proba, axis=1)).sum(axis=1)
    promised = estimated_losses(proba).mean(axis=0)
    np.testing.assert_allclose(realised_losses(proba, outcome).mean(axis=0), promised, atol=0.01)
    assert estimated_losses(np.array([[1.0, 0.0, 0.0]])).tolist() == [[0.0, 0.0]]


def test_losses_of_a_bar_are_averaged_over_its_symbols_in_order_of_time() -> None:
    means, bars = mean_by_bar(np.array([[3.0], [1.0], [2.0]]), np.array([8, 7, 7]))
    assert means[:, 0].tolist() == [1.5, 3.0]
    assert bars.tolist() == [7, 8]


def test_a_model_that_came_to_be_wrong_is_far_beyond_its_windows() -> None:
    rng = np.random.default_rng(2)
    past = rng.normal(0.6, 0.1, (700, 2))
    stream = fit_stream(OUTCOMES, past, window_bars=70)
    healthy = stream.null.joint_p(
        stream.null.deviations(stream.statistics(rng.normal(0.6, 0.1, (70, 2))))
    )
    worse = np.concatenate([rng.normal(0.6, 0.1, (35, 2)), rng.normal(0.75, 0.1, (35, 2))])
    broken = stream.null.joint_p(stream.null.deviations(stream.statistics(worse)))
    assert healthy.min() > 0.01
    assert broken.min() < 0.001
    assert (broken < 0.05).all()


def test_a_reference_of_too_few_windows_says_so() -> None:
    with pytest.raises(ValueError, match=r"holds 2\.0 windows side by side; 5 are needed"):
        fit_stream(ESTIMATES, np.ones((140, 2)), window_bars=70)
    with pytest.raises(ValueError, match="no outcome"):
        fit_stream(OUTCOMES, np.empty((0, 2)), window_bars=70)
