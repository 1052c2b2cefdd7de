import pytest

from pipelines.errors import SourceUnavailable
from pipelines.sources.retry import (
    CircuitBreaker,
    Clockwork,
    Patience,
    RateLimit,
    TransientFailure,
)


class Time:
    """A clock that moves only when somebody sleeps; jitter is the ceiling itself."""

    def __init__(self):
        self.now = 100.0
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(round(seconds, 9))
        self.now += seconds

    @property
    def clockwork(self):
        return Clockwork(lambda: self.now, self.sleep, lambda low, high: high)


@pytest.fixture
def time():
    return Time()


def make_patience(time, *, attempts=4, failures=100, max_backoff=3.0):
    clockwork = time.clockwork
    return Patience(
        "binance",
        max_attempts=attempts,
        backoff_seconds=1.0,
        max_backoff_seconds=max_backoff,
        rate_limit=RateLimit(1000.0, 1000.0, clockwork),
        breaker=CircuitBreaker(failures, 30.0, clockwork),
        clockwork=clockwork,
    )


def failing(times, failure=None):
    left = [failure or TransientFailure("503")] * times

    def request():
        if left:
            raise left.pop()
        return "answer"

    return request


def test_pauses_double_up_to_the_bound(time):
    assert make_patience(time).ask(failing(3), weight=1, what="bars") == "answer"
    assert time.slept == [1.0, 2.0, 3.0]


def test_the_last_failure_is_told_with_its_count(time):
    with pytest.raises(SourceUnavailable, match=r"did not answer bars in 4 attempts: 503"):
        make_patience(time).ask(failing(4), weight=1, what="bars")
    assert time.slept == [1.0, 2.0, 3.0]


def test_a_pause_the_venue_asks_for_wins_for_everybody(time):
    patience = make_patience(time)
    asked = TransientFailure("429", retry_after=7.0)
    assert patience.ask(failing(1, asked), weight=1, what="bars") == "answer"
    assert time.slept == [7.0]


def test_a_pause_too_long_to_wait_for_is_given_up_at_once(time):
    with pytest.raises(SourceUnavailable, match="in 1 attempt: 418; the venue asks to wait 3600 s"):
        make_patience(time).ask(failing(1, TransientFailure("418", 3600.0)), weight=1, what="bars")
    assert time.slept == []


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_through_later(time):
    patience = make_patience(time, attempts=2, failures=3)
    with pytest.raises(SourceUnavailable, match="in 2 attempts"):
        patience.ask(failing(2), weight=1, what="bars")
    with pytest.raises(SourceUnavailable, match=r"3 times in a row \(bound 3\).* for 29 s"):
        patience.ask(failing(2), weight=1, what="bars")
    with pytest.raises(SourceUnavailable, match="not asked again"):
        patience.ask(lambda: "never asked", weight=1, what="bars")
    time.now += 30.0
    # Half-open: the one that goes fails, and it is open again.
    with pytest.raises(SourceUnavailable, match="4 times in a row"):
        patience.ask(failing(5), weight=1, what="bars")
    time.now += 30.0
    assert patience.ask(lambda: "answer", weight=1, what="bars") == "answer"
    assert patience.ask(failing(1), weight=1, what="bars") == "answer"


def test_one_success_forgets_the_failures_before(time):
    patience = make_patience(time, attempts=3, failures=3)
    for _ in range(5):
        assert patience.ask(failing(2), weight=1, what="bars") == "answer"


def test_a_burst_is_free_and_then_the_venues_pace_holds(time):
    limit = RateLimit(2.0, 10.0, time.clockwork)
    for _ in range(10):
        limit.wait(1.0)
    assert time.slept == []
    limit.wait(1.0)
    limit.wait(4.0)
    assert time.slept == [0.5, 2.0]
    time.now += 100.0
    limit.wait(10.0)
    assert time.slept == [0.5, 2.0]


def test_the_real_jitter_stays_between_zero_and_the_ceiling():
    draws = [Clockwork().uniform(0, 4.0) for _ in range(200)]
    assert 0 <= min(draws) < 1
    assert 3 < max(draws) <= 4
