import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.comparison.planning import (
    blocks_to_decision,
    detectable_ratio,
    expected_wealths,
)
from evaluation.comparison.wealth import SHARES, log_e_values

START = np.zeros(len(SHARES))


def test_a_bettor_gains_his_rate_times_the_mean_less_half_its_square() -> None:
    # The boldest bets 0.9 / 6 = 0.15 scales: 100 (0.15 0.2 - 0.15^2 / 2) = 1.875.
    assert expected_wealths(START, 100, 0.2, 6.0)[0] == pytest.approx(1.875)


def test_days_to_a_verdict_are_what_the_detectable_difference_says() -> None:
    for ratio in (0.08, 0.15, 0.3):
        blocks = blocks_to_decision(START, ratio, 0.025, 6.0)
        assert blocks is not None
        assert detectable_ratio(blocks, 0.025, 6.0) == pytest.approx(ratio, rel=0.02)


def test_the_wait_of_a_tenth_of_a_deviation_a_day_is_about_two_and_a_half_years() -> None:
    # No test of level 2.5 % can expect less than log(40) / (0.1^2 / 2) = 738 days; mixing costs the rest.
    assert blocks_to_decision(START, 0.1, 0.025, 6.0) == 957.0


def test_records_take_as_long_as_was_planned() -> None:
    planned = blocks_to_decision(START, 0.2, 0.025, 6.0)
    assert planned == 279.0
    rng = np.random.default_rng(3)
    took = []
    for _ in range(80):
        seen = log_e_values(rng.normal(0.2, 1.0, 1_000), cap=6.0, scale_blocks=5) >= math.log(40)
        assert seen.any()
        took.append(int(seen.argmax()) + 1)
    assert np.mean(took) == pytest.approx(planned, rel=0.15)


def test_what_is_decided_waits_no_longer_and_what_never_is_has_no_date() -> None:
    assert blocks_to_decision(START + 4.0, 0.1, 0.025, 6.0) == 0.0
    assert blocks_to_decision(START, 0.0, 0.025, 6.0) is None
    assert blocks_to_decision(START, 1e-4, 0.025, 6.0) is None


def test_nothing_can_be_seen_before_a_bet_is_made() -> None:
    assert detectable_ratio(0, 0.025, 6.0) is None
    assert detectable_ratio(-3, 0.025, 6.0) is None
    assert detectable_ratio(1, 1e-9, 6.0) is None


@given(st.integers(50, 2_000), st.floats(0.001, 0.4))
def test_longer_horizons_and_laxer_levels_see_smaller_differences(n: int, level: float) -> None:
    now = detectable_ratio(n, level, 6.0)
    assert now is not None
    longer, laxer = detectable_ratio(2 * n, level, 6.0), detectable_ratio(n, 2 * level, 6.0)
    assert longer is not None
    assert laxer is not None
    assert longer < now
    assert laxer < now
    assert math.isfinite(now)
