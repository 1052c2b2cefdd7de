import itertools

import numpy as np
import pytest

from evaluation.comparison.blocks import Grid, Record
from evaluation.comparison.config import ComparisonConfig
from evaluation.comparison.verdict import (
    Comparison,
    Terms,
    compare,
    deviation_of,
    level_of_arrival,
)

HOUR = 3_600_000_000
GRID = Grid(24 * HOUR, HOUR, HOUR, 0)
CONFIG = ComparisonConfig(bootstrap_paths=200)


def record(days: int, mean: float = 0.0, seed: int = 1, trades: int = 7) -> Record:
    rng = np.random.default_rng(seed)
    known_at = np.arange(1, 24 * days + 1) * HOUR
    return Record(known_at, mean + rng.normal(0.0, 0.002, known_at.size), trades)


def terms(days: int, prior: float | None = None, level: float = 0.05) -> Terms:
    return Terms(GRID, 24 * days * HOUR, level, 8_760.0, 0.2, prior)


def judged(champion: Record, challenger: Record, days: int, **how: float) -> Comparison:
    return compare(champion, challenger, terms(days, **how), CONFIG)


def test_a_challenger_that_earns_much_more_is_better_and_the_other_way_round_worse() -> None:
    champion, challenger = record(60), record(60, mean=0.0012, seed=2)
    found = judged(champion, challenger, 60)
    assert found.verdict == "better"
    assert found.lower is not None
    assert found.lower > 0
    assert found.e_better is not None
    assert found.e_better >= 40.0
    assert found.days_at_observed == found.days_at_declared == 0.0
    assert found.p_bootstrap == pytest.approx(1 / 201)
    other = judged(challenger, champion, 60)
    assert other.verdict == "worse"
    assert (other.e_better, other.e_worse) == (found.e_worse, found.e_better)
    assert other.upper == pytest.approx(-found.lower)
    assert other.mean_difference == pytest.approx(-found.mean_difference)


def test_equal_books_are_undecided_between_bounds_that_hold_zero() -> None:
    found = judged(record(60), record(60, seed=2), 60)
    assert found.verdict == "undecided"
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower < 0 < found.upper
    assert found.lower < found.mean_difference < found.upper
    assert (found.values, found.blocks) == (1440, 60)
    assert "a verdict takes 40" in found.reason
    assert found.days_at_declared is not None
    assert found.days_at_declared > 365


@pytest.mark.parametrize("days", [15, 40, 90])
@pytest.mark.parametrize("mean", [-0.0012, 0.0, 0.0006, 0.0012])
def test_a_verdict_is_a_bound_beyond_zero(days: int, mean: float) -> None:
    found = judged(record(days), record(days, mean=mean, seed=3), days)
    assert (found.verdict == "better") == (found.lower is not None and found.lower > 0)
    assert (found.verdict == "worse") == (found.upper is not None and found.upper < 0)


def test_looking_again_is_looking_once_and_an_unfinished_day_says_nothing() -> None:
    champion, challenger = record(30), record(30, mean=0.0002, seed=2)
    assert judged(champion, challenger, 30) == judged(champion, challenger, 30)
    early = compare(champion, challenger, terms(30)._replace(until=30 * 24 * HOUR - 1), CONFIG)
    assert early.blocks == 29
    cut = Record(champion.known_at[: 29 * 24], champion.value[: 29 * 24], 7)
    assert early.e_better == judged(cut, challenger, 29).e_better


@pytest.mark.parametrize(
    ("champion", "challenger", "reason"),
    [
        (record(30), record(30)._replace(known_at=record(30).known_at + HOUR // 2), "no overlap"),
        (record(30), record(0), "the challenger has no record"),
        (record(30), record(30, trades=0), "the challenger's book has no trades"),
        (record(30, trades=0), record(30), "the champion's book has no trades"),
        (record(30), record(5), "too few bars: 120 in common make 5 complete blocks of the 10"),
        (
            record(30),
            record(30)._replace(known_at=record(30).known_at[::-1]),
            "the challenger's clock goes backwards",
        ),
    ],
    ids=["no overlap", "no record", "no trades", "idle champion", "too few", "clock"],
)
def test_what_cannot_be_compared_is_a_verdict_with_a_reason(
    champion: Record, challenger: Record, reason: str
) -> None:
    found = judged(champion, challenger, 30, prior=0.0004)
    assert found.verdict == "not_comparable"
    assert found.reason.startswith(reason)
    evidence = (found.mean_difference, found.lower, found.upper, found.e_better, found.p_bootstrap)
    assert evidence == (None,) * 5
    assert found.days_at_declared is not None
    assert all(found.minimum_detectable)


def test_from_the_first_day_on_it_is_known_how_small_a_difference_will_be_seen() -> None:
    champion = record(60)
    deviation = deviation_of(champion, GRID, 24 * 60 * HOUR)
    assert deviation == pytest.approx(0.002 / np.sqrt(24), rel=0.2)
    found = judged(champion, record(0), 60, prior=deviation)
    seen = found.minimum_detectable
    assert all(later < sooner for sooner, later in itertools.pairwise(seen))
    # Without a past of the champion nothing can be said.
    assert judged(champion, record(0), 60).minimum_detectable == (None,) * 4
    assert deviation_of(record(1), GRID, 24 * HOUR) is None


def test_evidence_takes_the_place_of_what_was_expected_of_the_differences() -> None:
    narrow = judged(record(90), record(90, seed=2), 90).minimum_detectable[3]
    pooled = judged(record(90), record(90, seed=2), 90, prior=0.02).minimum_detectable[3]
    early = judged(record(12), record(12, seed=2), 12, prior=0.02).minimum_detectable[3]
    assert narrow < pooled < early


def test_the_level_is_shared_by_all_who_ever_arrive() -> None:
    assert [level_of_arrival(0.06, k) for k in (1, 2, 3)] == [0.03, 0.01, 0.005]
    assert sum(level_of_arrival(0.05, k) for k in range(1, 10_000)) < 0.05
    with pytest.raises(ValueError, match="number 1"):
        level_of_arrival(0.05, 0)


def test_a_later_arrival_needs_more_evidence() -> None:
    champion, challenger = record(60), record(60, mean=0.0009, seed=2)
    first = judged(champion, challenger, 60)
    fifth = judged(champion, challenger, 60, level=level_of_arrival(0.05, 5))
    assert (first.verdict, fifth.verdict) == ("better", "undecided")
    assert first.e_better == fifth.e_better
    assert fifth.lower < first.lower
