import math

import numpy as np
import pytest

from evaluation import metrics
from evaluation.overfitting import deflate, deflate_record, independent_trials

EXAMPLE = {"skewness": -3.0, "kurtosis": 7.0, "observations": 1250}


def test_the_published_example_of_a_sharpe_ratio_of_two_and_a_half() -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example": annual Sharpe 2.5 on 1,250 days, variance
    # of the trials 1/2, skewness -3, kurtosis 10: 0.9004 after 100 trials, and with 46 it would pass.
    found = deflate(2.5 / math.sqrt(250), **EXAMPLE, trials=100, trial_variance=0.5 / 250)
    assert found.expected_maximum == pytest.approx(0.1132, abs=5e-5)
    assert found.probability == pytest.approx(0.9004, abs=5e-5)
    fewer = deflate(2.5 / math.sqrt(250), **EXAMPLE, trials=46, trial_variance=0.5 / 250)
    assert fewer.probability == pytest.approx(0.9505, abs=5e-5)
    assert fewer.as_json()["trials"] == 46


def test_a_record_is_deflated_as_its_moments_are_where_bars_are_independent() -> None:
    record = np.random.default_rng(3).normal(0.001, 0.02, 4000)
    whole = deflate_record(record, 8760, trials=40, trial_variance=3.0)
    moments = deflate(
        metrics.sharpe(record, 1.0),
        skewness=metrics.skew(record),
        kurtosis=metrics.kurtosis(record),
        observations=4000,
        trials=40,
        trial_variance=3.0 / 8760,
    )
    assert whole.sharpe == pytest.approx(moments.sharpe * math.sqrt(8760))
    assert whole.expected_maximum == pytest.approx(moments.expected_maximum * math.sqrt(8760))
    assert whole.probability == pytest.approx(moments.probability, abs=0.02)


def test_one_observation_is_refused() -> None:
    with pytest.raises(ValueError, match="1 observations; an error needs two"):
        deflate(1.0, skewness=0.0, kurtosis=0.0, observations=1, trials=2, trial_variance=1.0)


def families(noise: float, seed: int = 0) -> np.ndarray:
    """Three ideas of 1,000 bars in 5, 3 and 2 variants."""
    rng = np.random.default_rng(seed)
    ideas = rng.normal(size=(1000, 3))
    return np.repeat(ideas, [5, 3, 2], axis=1) + noise * rng.normal(size=(1000, 10))


def test_variants_of_one_idea_are_one_trial() -> None:
    found = independent_trials(families(0.3))
    assert found.count == 3
    assert len({tuple(found.group[a:b]) for a, b in ((0, 5), (5, 8), (8, 10))}) == 3
    assert [len(set(found.group[a:b])) for a, b in ((0, 5), (5, 8), (8, 10))] == [1, 1, 1]
    assert found.variance == pytest.approx(np.var(found.sharpe, ddof=1))
    # with as much noise as signal their correlation is one half; beyond it they count one by one
    assert independent_trials(families(2.0)).count == 10


def test_the_ratio_of_a_group_is_that_of_its_mean_weighted_by_inverse_variance() -> None:
    base = np.random.default_rng(1).normal(0.1, 1.0, 500)
    found = independent_trials(np.column_stack([base, 4.0 * base]))
    assert found.count == 1
    assert found.sharpe.tolist() == pytest.approx([metrics.sharpe(base, 1.0)])
    assert found.variance == 0.0


def test_a_trial_that_never_traded_is_one_of_its_own() -> None:
    moving = np.random.default_rng(1).normal(size=(50, 1))
    found = independent_trials(np.hstack([moving, moving, np.zeros((50, 1))]))
    assert found.count == 2
    assert found.sharpe[found.group[2]] == 0.0
    assert independent_trials(moving).count == 1


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
        (np.array([[0.0, 1.0], [1.0, np.nan]]), "trial 1 hold values that are not finite"),
    ],
)
def test_trials_that_cannot_be_compared_are_refused(returns: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        independent_trials(returns)
