import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.overfitting import cross_validated_overfitting


def slow(gains: np.ndarray, blocks: int, performance: str) -> tuple[list, list, list]:
    """The procedure as it is written down: one split after the other, one trial after the other."""
    length = len(gains) // blocks
    parts = [gains[k * length : (k + 1) * length] for k in range(blocks)]

    def measure(rows: np.ndarray) -> list[float]:
        if performance == "mean":
            return [float(np.mean(column)) for column in rows.T]
        return [float(np.mean(column) / np.std(column, ddof=1)) for column in rows.T]

    inside, outside, logits = [], [], []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        train = measure(np.concatenate([parts[k] for k in chosen]))
        test = measure(np.concatenate([parts[k] for k in range(blocks) if k not in chosen]))
        best = train.index(max(train))
        rank = 1 + sum(value < test[best] for value in test)
        share = rank / (len(train) + 1)
        inside.append(train[best])
        outside.append(test[best])
        logits.append(math.log(share / (1 - share)))
    return inside, outside, logits


@given(
    seed=st.integers(0, 1000),
    blocks=st.sampled_from([2, 4, 6, 8]),
    trials=st.integers(2, 6),
    performance=st.sampled_from(["sharpe", "mean"]),
)
@settings(max_examples=40, deadline=None)
def test_the_vectorised_splits_are_those_of_the_plain_twin(seed, blocks, trials, performance):
    gains = np.random.default_rng(seed).normal(0.1, 1.0, (3 * blocks + 1, trials))
    found = cross_validated_overfitting(gains, blocks=blocks, performance=performance)
    inside, outside, logits = slow(gains, blocks, performance)
    assert found.in_sample.tolist() == pytest.approx(inside, abs=1e-9)
    assert found.out_of_sample.tolist() == pytest.approx(outside, abs=1e-9)
    assert found.logits.tolist() == pytest.approx(logits, abs=1e-9)
    assert found.probability == pytest.approx(np.mean(np.array(logits) <= 1e-12))


def test_the_best_of_worthless_trials_is_overfitted_and_a_real_one_is_not() -> None:
    rng = np.random.default_rng(6)
    noise = [
        cross_validated_overfitting(rng.normal(size=(800, 20)), blocks=10).probability
        for _ in range(30)
    ]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.08)
    real = rng.normal(size=(800, 20))
    real[:, 7] += 0.3
    found = cross_validated_overfitting(real)
    assert (found.splits, found.trials, found.blocks) == (12_870, 20, 16)
    assert found.probability < 0.01
    assert found.probability_of_loss < 0.01


def test_trials_that_take_from_each_other_degrade_the_more_the_better_they_looked() -> None:
    # each trial's gains sum to zero over the record: what is won in one half is lost in the other
    gains = np.random.default_rng(2).normal(size=(160, 10))
    found = cross_validated_overfitting(gains - gains.mean(axis=0), performance="mean")
    assert found.slope == pytest.approx(-1.0)
    assert found.intercept == pytest.approx(0.0, abs=1e-9)
    assert found.r_squared == pytest.approx(1.0)
    assert found.probability == 1.0
    assert found.probability_of_loss == 1.0


def test_equal_trials_share_the_middle_rank() -> None:
    column = np.random.default_rng(0).normal(size=(40, 1))
    found = cross_validated_overfitting(np.repeat(column, 3, axis=1), blocks=4)
    assert found.logits.tolist() == [0.0] * 6
    assert found.probability == 1.0


def test_trials_that_never_vary_have_no_ratio_and_no_line() -> None:
    found = cross_validated_overfitting(np.full((32, 2), 0.25))
    assert set(found.in_sample.tolist()) == {0.0}
    assert math.isnan(found.slope)
    assert "logits" not in found.as_json()
    assert found.as_json()["splits"] == 12_870


@pytest.mark.parametrize(
    ("gains", "blocks", "said"),
    [
        (np.zeros((40, 1)), 4, r"two bars or more by 2 trials or more"),
        (np.zeros((40, 2)), 5, "the number must be even"),
        (np.zeros((30, 2)), 16, "use at most 15 blocks"),
        (np.full((40, 2), np.inf), 4, "not finite"),
    ],
)
def test_what_cannot_be_split_is_refused(gains: np.ndarray, blocks: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cross_validated_overfitting(gains, blocks=blocks)
