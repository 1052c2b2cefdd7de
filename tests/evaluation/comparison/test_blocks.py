import numpy as np
import pytest

from evaluation.comparison.blocks import Grid, Record, block_means, differences

HOUR = 3_600_000_000
DAILY = Grid(24 * HOUR, HOUR, HOUR, 0)
LOSSES = Grid(24 * HOUR, HOUR, 0, 6 * HOUR)


def hours(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64) * HOUR


def test_only_instants_of_both_count_and_more_is_better_for_the_challenger() -> None:
    champion = Record(hours(1, 2, 3, 5), np.array([0.1, 0.2, 0.3, 0.5]))
    challenger = Record(hours(2, 3, 4), np.array([0.5, 0.1, 9.0]))
    known_at, values = differences(champion, challenger)
    assert known_at.tolist() == hours(2, 3).tolist()
    np.testing.assert_allclose(values, [0.3, -0.2])


def test_a_clock_that_goes_backwards_is_refused_by_name() -> None:
    good = Record(hours(1, 2, 3), np.zeros(3))
    for bad in (hours(1, 3, 2), hours(1, 2, 2)):
        with pytest.raises(ValueError, match="challenger's clock goes backwards: record 2"):
            differences(good, Record(bad, np.zeros(3)))
    with pytest.raises(ValueError, match="champion's clock"):
        differences(Record(hours(2, 1), np.zeros(2)), good)


def test_a_number_that_is_none_is_refused() -> None:
    good = Record(hours(1, 2), np.zeros(2))
    with pytest.raises(ValueError, match="challenger's record 1 is nan"):
        differences(good, Record(hours(1, 2), np.array([0.0, np.nan])))


def test_a_bar_belongs_to_the_day_it_ran_in() -> None:
    assert DAILY.slots == 24
    known_at = hours(*range(1, 49))
    values = np.where(known_at <= 24 * HOUR, 1.0, 3.0)
    assert block_means(known_at, values, DAILY, 48 * HOUR).tolist() == [1.0, 3.0]


def test_a_block_counts_once_it_has_ended_and_is_half_full() -> None:
    known_at, values = hours(*range(1, 49)), np.ones(48)
    assert block_means(known_at, values, DAILY, 47 * HOUR).size == 1
    assert block_means(known_at, values, DAILY, 23 * HOUR).size == 0
    assert block_means(known_at[12:], values[12:], DAILY, 48 * HOUR).size == 2
    assert block_means(known_at[13:], values[13:], DAILY, 48 * HOUR).size == 1


def test_a_forecast_counts_only_where_its_outcome_ends_within_the_block() -> None:
    # Of hours 0 .. 23 those up to 18 are known by 24.
    assert LOSSES.slots == 19
    known_at = hours(*range(24))
    values = np.where(known_at <= 18 * HOUR, 2.0, 99.0)
    assert block_means(known_at, values, LOSSES, 24 * HOUR).tolist() == [2.0]
