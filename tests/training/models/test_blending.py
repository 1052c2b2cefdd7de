"""Weights of a mixture: the best ones, on the simplex, equal where nothing tells members apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_models import Noise, Reader, plant, signal_rows
from scipy.optimize import minimize

from training.models.blending import BlendingModel, blend_weights


def drawn(seed, members, n=200):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 0.95, (members, n)), rng.uniform(0.5, 1.5, n)


def by_slsqp(of_outcome, weight):
    """The same problem handed to a general solver."""
    members, share = len(of_outcome), weight / weight.sum()
    found = minimize(
        lambda w: -share @ np.log(w @ of_outcome),
        np.full(members, 1 / members),
        jac=lambda w: -of_outcome @ (share / (w @ of_outcome)),
        bounds=[(0, 1)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return found.x


@pytest.mark.parametrize("members", [2, 3, 5])
def test_the_weights_are_those_of_a_general_solver(members):
    of_outcome, weight = drawn(members, members)
    ours = blend_weights(of_outcome, weight, shrinkage=0.0)
    assert ours == pytest.approx(by_slsqp(of_outcome, weight), abs=2e-3)


def test_two_members_that_are_right_in_turn_are_mixed_as_often_as_each_is_right():
    right = np.array([0.9] * 75 + [0.1] * 25)
    weights = blend_weights(np.stack([right, 1 - right]), np.ones(100), shrinkage=0.0)
    # d/dw: 75 * 0.8 / (0.1 + 0.8 w) = 25 * 0.8 / (0.9 - 0.8 w)  =>  w = 0.8125
    assert weights == pytest.approx([0.8125, 0.1875], abs=1e-6)


def test_members_that_are_alike_are_mixed_equally():
    of_outcome, weight = drawn(1, 1)
    assert blend_weights(np.repeat(of_outcome, 3, axis=0), weight, shrinkage=0.0) == pytest.approx(
        [1 / 3] * 3
    )


def test_full_shrinkage_is_equal_weights_and_none_is_the_best():
    better = np.stack([np.full(50, 0.6), np.full(50, 0.3)])
    assert blend_weights(better, np.ones(50), shrinkage=1.0) == pytest.approx([0.5, 0.5])
    assert blend_weights(better, np.ones(50), shrinkage=0.0)[0] > 0.999
    assert 0.9 < blend_weights(better, np.ones(50), shrinkage=0.1)[0] < 0.999


def test_rows_count_by_their_weight():
    two = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert blend_weights(two, np.array([3.0, 1.0]), shrinkage=0.0)[0] > 0.7


@given(seed=st.integers(0, 1000), members=st.integers(1, 6), shrinkage=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_weights_are_shares_and_not_worse_than_equal_ones(seed, members, shrinkage):
    of_outcome, weight = drawn(seed, members, n=60)
    weights = blend_weights(of_outcome, weight, shrinkage=shrinkage)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= shrinkage / members - 1e-9).all()
    equal = np.full(members, 1 / members)
    assert weight @ np.log(weights @ of_outcome) >= weight @ np.log(equal @ of_outcome) - 1e-9


def test_the_better_member_is_found(monkeypatch):
    plant(monkeypatch, Noise, Reader)
    blend = BlendingModel({"members": ["noise", "reader"]}, seed=7, threads=1).fit(signal_rows())
    assert blend.predictor.weights[1] > 0.9
    noise, reader = blend.predictor.weights
    assert blend.importance() == pytest.approx([0, reader, noise / 2, noise / 2])


def test_a_shrinkage_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"shrinkage is 2; use 0 .* to 1"):
        BlendingModel({"shrinkage": 2}, seed=7, threads=1)
