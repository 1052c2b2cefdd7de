"""The hold-out: nothing before it knows it, and nothing after it is left to know."""

from datetime import UTC, datetime, timedelta

import pytest

from training.config import TrainingConfig
from training.holdout import final_span, plan_holdout, spent_share
from training.walk_forward import history_needed, plan_windows, study_end

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AS_OF = datetime(2024, 12, 1, tzinfo=UTC)
FIRST = datetime(2023, 1, 1, 1, tzinfo=UTC)


def config(**split):
    return TrainingConfig.model_validate({"split": split})


def test_without_a_holdout_everything_goes_up_to_now():
    assert study_end(AS_OF, config()) == AS_OF
    assert plan_holdout(AS_OF, FIRST, config(), timeframe=HOUR) is None
    assert final_span(AS_OF, FIRST, config(), timeframe=HOUR) == (AS_OF - 365 * DAY, AS_OF)


def test_no_window_and_no_label_reaches_into_the_holdout():
    held = config(holdout_days=60)
    windows = plan_windows(AS_OF, FIRST, held, timeframe=HOUR)
    holdout = plan_holdout(AS_OF, FIRST, held, timeframe=HOUR)
    assert holdout is not None
    # the outcome of the newest test row is known one horizon later, when the hold-out begins
    assert windows[-1].test_end + 24 * HOUR == holdout.test_start == AS_OF - 60 * DAY
    assert holdout.test_end == AS_OF - 24 * HOUR
    assert (holdout.number, holdout.train_start) == (4, AS_OF - 425 * DAY)
    assert final_span(AS_OF, FIRST, held, timeframe=HOUR) == (
        holdout.train_start,
        holdout.test_start,
    )
    assert history_needed(held, timeframe=HOUR) == timedelta(days=365 + 120 + 60 + 1)


def test_a_holdout_shifts_the_windows_and_changes_nothing_else():
    held = plan_windows(AS_OF, FIRST, config(holdout_days=60), timeframe=HOUR)
    assert held == plan_windows(AS_OF - 60 * DAY, FIRST, config(), timeframe=HOUR)


def test_expanding_spans_begin_where_the_oldest_does_the_final_one_too():
    expanding = config(expanding=True, train_days=200)
    windows = plan_windows(AS_OF, FIRST, expanding, timeframe=HOUR)
    oldest = AS_OF - 24 * HOUR - 320 * DAY
    assert {window.train_start for window in windows} == {oldest}
    assert [w.test_start - w.train_start for w in windows] == [
        d * DAY for d in (200, 230, 260, 290)
    ]
    assert final_span(AS_OF, FIRST, expanding, timeframe=HOUR) == (oldest, AS_OF)
    assert AS_OF - history_needed(expanding, timeframe=HOUR) <= oldest
    late = AS_OF - 300 * DAY
    assert final_span(AS_OF, late, expanding, timeframe=HOUR)[0] == late - HOUR


def test_a_holdout_no_longer_than_a_label_is_refused():
    with pytest.raises(
        ValueError, match=r"hold-out of 1 days is no longer than the label's horizon"
    ):
        plan_holdout(AS_OF, FIRST, config(holdout_days=1), timeframe=HOUR)


def test_days_that_were_looked_at_are_spent_once():
    holdout = plan_holdout(AS_OF, FIRST, config(holdout_days=11), timeframe=HOUR)
    assert holdout is not None
    start, end = holdout.test_start, holdout.test_end
    assert end - start == 10 * DAY
    assert spent_share(holdout, []) == 0.0
    assert spent_share(holdout, [(start - 9 * DAY, start), (end, end + DAY)]) == 0.0
    assert spent_share(holdout, [(start - DAY, start + 2 * DAY)]) == pytest.approx(0.2)
    twice = [(start + DAY, start + 4 * DAY), (start, start + 2 * DAY), (end - DAY, end + DAY)]
    assert spent_share(holdout, twice) == pytest.approx(0.5)
    assert spent_share(holdout, [(start - DAY, end + DAY), *twice]) == 1.0
