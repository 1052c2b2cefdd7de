"""Exact limits of a rate, against worked values and each other."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.binomial import lower_limit, tail_probability, upper_limit

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_limits_are_those_of_clopper_and_pearson() -> None:
    # Without a hit the upper limit is 1 - 0.05^(1/n): the rule of three.
    assert upper_limit(0, 200) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert upper_limit(4, 200) == pytest.approx(0.0451804, abs=1e-7)
    assert lower_limit(5, 10) == pytest.approx(0.2224411, abs=1e-7)
    assert lower_limit(3, 3) == pytest.approx(0.05 ** (1 / 3))
    assert (lower_limit(0, 7), upper_limit(7, 7), upper_limit(0, 0)) == (0.0, 1.0, 1.0)


def test_a_tail_is_the_sum_of_its_terms() -> None:
    terms = sum(comb(10, k) * 0.3**k * 0.7 ** (10 - k) for k in range(4, 11))
    assert tail_probability(4, 10, 0.3) == pytest.approx(terms)
    assert tail_probability(0, 10, 0.3) == 1.0


@given(COUNTS, st.floats(0.5, 0.999))
def test_the_lower_limit_is_the_rate_at_which_so_many_hits_are_just_too_many(
    counts: tuple[int, int], confidence: float
) -> None:
    hits, trials = counts
    limit = lower_limit(hits, trials, confidence)
    assert 0.0 <= limit <= hits / trials <= upper_limit(hits, trials, confidence) <= 1.0
    if hits:
        assert tail_probability(hits, trials, limit) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("hits", [-1, 4])
def test_more_hits_than_trials_are_refused(hits: int) -> None:
    with pytest.raises(ValueError, match=f"{hits} hits in 3 trials"):
        upper_limit(hits, 3)
