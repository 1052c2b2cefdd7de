"""Hidden states: the forward filter is Bayes' rule, the fit is Baum and Welch, and no future is seen."""

import numpy as np
import pytest

from features import hidden_states
from features.hidden_states import LEAST_SCALE, LEAST_SHARE, START_SCALE, START_STAY, STEPS

BLOCK = 48


def storms(n: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return returns and the true state: forty calm bars, then twenty ten times as wild, and so on."""
    state = (np.arange(n) % 60 >= 40).astype(int)
    scale = np.array([0.002, 0.02])[state]
    return np.random.default_rng(seed).normal(size=n) * scale, state


def density(r: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * ((r[:, None] - mean) / spread) ** 2) / spread


def slow_fit(r: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = np.sqrt(np.mean(r**2))
    mean, spread = np.zeros(3), START_SCALE * scale
    move = np.full((3, 3), (1 - START_STAY) / 2) + np.eye(3) * (START_STAY - (1 - START_STAY) / 2)
    for _ in range(STEPS):
        seen = density(r, mean, spread)
        forward, belief = [], np.full(3, 1 / 3)
        for row in seen:
            belief = belief @ move * row
            belief /= belief.sum()
            forward.append(belief)
        backward = [np.ones(3)]
        for row in seen[:0:-1]:
            behind = move @ (row * backward[0])
            backward.insert(0, behind / behind.sum())
        weight = np.array(forward) * np.array(backward)
        weight /= weight.sum(axis=1, keepdims=True)
        joint = np.zeros((3, 3))
        for i in range(r.size - 1):
            pair = np.outer(forward[i], seen[i + 1] * backward[i + 1]) * move
            joint += pair / pair.sum()
        mean = weight.T @ r / weight.sum(axis=0)
        square = (weight * (r[:, None] - mean) ** 2).sum(axis=0) / weight.sum(axis=0)
        spread = np.maximum(np.sqrt(square), LEAST_SCALE * scale)
        move = (joint / joint.sum(axis=1, keepdims=True) + LEAST_SHARE) / (1 + 3 * LEAST_SHARE)
    order = np.argsort(spread)
    return mean[order], spread[order], move[order][:, order]


def test_the_probabilities_are_those_of_the_forward_filter_with_parameters_of_two_blocks_before() -> (
    None
):
    r, _ = storms(3 * BLOCK)
    calm, storm, leaving, drift = (x[0] for x in hidden_states.filter_states(r[None], 0, BLOCK))
    mean, spread, move = slow_fit(r[: 2 * BLOCK])
    belief = np.full(3, 1 / 3)
    for i, row in enumerate(density(r, mean, spread)):
        belief = belief @ move * row
        belief /= belief.sum()
        if i >= 2 * BLOCK:
            following = belief @ move
            expected = following @ mean
            deviation = np.sqrt(following @ (spread**2 + mean**2) - expected**2)
            assert calm[i] == pytest.approx(belief[0], abs=1e-9)
            assert storm[i] == pytest.approx(belief[2], abs=1e-9)
            assert leaving[i] == pytest.approx(1 - belief @ np.diag(move), abs=1e-9)
            assert drift[i] == pytest.approx(expected / deviation, abs=1e-9)


def test_storms_are_told_from_calm() -> None:
    r, state = storms(20 * BLOCK)
    calm, storm, *_ = (x[0] for x in hidden_states.filter_states(r[None], 0, 168))
    known = np.isfinite(storm)
    assert calm[known & (state == 0)].mean() > calm[known & (state == 1)].mean() + 0.3
    assert storm[known & (state == 1)].mean() > storm[known & (state == 0)].mean() + 0.3


def test_neither_the_future_nor_what_lies_three_blocks_back_counts() -> None:
    r, _ = storms(6 * BLOCK)
    whole = np.stack(hidden_states.filter_states(r[None], 17, BLOCK))
    changed = r.copy()
    changed[200:] *= 30
    again = np.stack(hidden_states.filter_states(changed[None], 17, BLOCK))
    np.testing.assert_array_equal(again[:, 0, :200], whole[:, 0, :200])
    cut = 61
    later = np.stack(hidden_states.filter_states(r[None, cut:].copy(), 17 + cut, BLOCK))
    np.testing.assert_array_equal(later[..., 3 * BLOCK :], whole[..., cut + 3 * BLOCK :])


def test_a_move_of_a_million_deviations_leaves_probabilities() -> None:
    r, _ = storms(4 * BLOCK)
    r[150] = 1e4
    for column in hidden_states.filter_states(r[None], 0, BLOCK)[:3]:
        values = column[0, 2 * BLOCK :]
        assert np.all((values > -1e-12) & (values < 1 + 1e-12))


def test_a_block_without_the_returns_to_fit_on_has_no_probability() -> None:
    r, _ = storms(3 * BLOCK)
    r[:10] = np.nan
    assert all(np.isnan(x).all() for x in hidden_states.filter_states(r[None], 0, BLOCK))
