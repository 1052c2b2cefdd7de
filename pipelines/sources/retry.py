"""How a source waits: its venue's rate limit, back-off with full jitter, and a circuit breaker.

One `Patience` is shared by all requests of a source, from any thread. Time is monotonic and never
reaches the data.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipelines.errors import SourceUnavailable

T = TypeVar("T")


class TransientFailure(Exception):
    """The venue did not answer this attempt; another may succeed.

    Parameters
    ----------
    reason : str
        What happened, for the message of the last attempt.
    retry_after : float or None
        Seconds the venue asked to be left alone.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True)
class Clockwork:
    """Where waiting takes its time from: the machine's own, or a test's."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = random.uniform


class RateLimit:
    """A token bucket over the venue's own weights.

    Parameters
    ----------
    per_second : float
        Weight the venue allows a second.
    burst : float
        Weight that may be spent at once after a rest.
    """

    def __init__(self, per_second: float, burst: float, clockwork: Clockwork) -> None:
        self._rate = per_second
        self._burst = burst
        self._clockwork = clockwork
        self._held = burst
        self._filled_at = clockwork.monotonic()
        self._paused_until = self._filled_at
        self._lock = threading.Lock()

    def wait(self, weight: float) -> None:
        """Wait until `weight` may be spent, and spend it."""
        with self._lock:
            now = self._clockwork.monotonic()
            self._held = min(self._burst, self._held + (now - self._filled_at) * self._rate)
            self._filled_at = now
            self._held -= weight
            pause = max(0.0, -self._held / self._rate, self._paused_until - now)
        if pause > 0:
            self._clockwork.sleep(pause)

    def pause(self, seconds: float) -> None:
        """Let nobody pass for `seconds`: the venue said so."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clockwork.monotonic() + seconds)


class CircuitBreaker:
    """Stop asking a venue that does not answer.

    Opens after `failures` failed attempts in a row over all requests; after `pause_seconds` one
    attempt is let through (half-open), which closes it or opens it again.
    """

    def __init__(self, failures: int, pause_seconds: float, clockwork: Clockwork) -> None:
        self._limit = failures
        self._pause = pause_seconds
        self._clockwork = clockwork
        self._failures = 0
        self._opened_at: float | None = None
        self._lock = threading.Lock()

    def check(self, venue: str) -> None:
        """Refuse while open.

        Raises
        ------
        SourceUnavailable
        """
        with self._lock:
            if self._opened_at is None:
                return
            left = self._opened_at + self._pause - self._clockwork.monotonic()
            if left <= 0:
                # Half-open: this attempt goes; whoever comes meanwhile still waits.
                self._opened_at = self._clockwork.monotonic()
                return
        raise SourceUnavailable(
            f"{venue} failed {self._failures} times in a row (bound {self._limit}): not asked again "
            f"for {left:.0f} s",
            remedy="check exchange.base_url, the network and the venue's status, then run again",
        )

    def succeeded(self) -> None:
        """Close: the venue answered."""
        with self._lock:
            self._failures, self._opened_at = 0, None

    def failed(self) -> None:
        """Count a failed attempt; open at the limit."""
        with self._lock:
            self._failures += 1
            if self._failures >= self._limit:
                self._opened_at = self._clockwork.monotonic()


class Patience:
    """Ask until the venue answers, within bounds.

    Parameters
    ----------
    venue : str
    max_attempts : int
        Attempts at one request.
    backoff_seconds, max_backoff_seconds : float
        Pause n is uniform on (0, min(max, backoff * 2 ** n)): full jitter, so that many clients do
        not come back together. A pause the venue asks for wins, up to `5 * max_backoff_seconds`;
        a longer one is given up at once.
    """

    def __init__(
        self,
        venue: str,
        *,
        max_attempts: int,
        backoff_seconds: float,
        max_backoff_seconds: float,
        rate_limit: RateLimit,
        breaker: CircuitBreaker,
        clockwork: Clockwork,
    ) -> None:
        self._venue = venue
        self._max_attempts = max_attempts
        self._backoff = backoff_seconds
        self._max_backoff = max_backoff_seconds
        self._rate_limit = rate_limit
        self._breaker = breaker
        self._clockwork = clockwork

    def ask(self, request: Callable[[], T], *, weight: float, what: str) -> T:
        """Return the answer of `request`.

        Raises
        ------
        SourceUnavailable
            When attempts run out, the breaker is open, or the venue asks for a pause too long to
            wait for.
        """
        for attempt in range(1, self._max_attempts + 1):
            self._breaker.check(self._venue)
            self._rate_limit.wait(weight)
            try:
                answer = request()
            except TransientFailure as failure:
                self._breaker.failed()
                self._pause_after(failure, attempt, what)
            else:
                self._breaker.succeeded()
                return answer
        raise AssertionError("unreachable: the last attempt raises")

    def _pause_after(self, failure: TransientFailure, attempt: int, what: str) -> None:
        asked = failure.retry_after
        too_long = asked is not None and asked > 5 * self._max_backoff
        if attempt == self._max_attempts or too_long:
            wait = f"; the venue asks to wait {asked:.0f} s" if asked is not None else ""
            raise SourceUnavailable(
                f"{self._venue} did not answer {what} in {attempt} "
                f"attempt{'s' if attempt > 1 else ''}: {failure.reason}{wait}",
                remedy="check the network, exchange.base_url and the venue's status, then run the same "
                "command again",
            )
        if asked is not None:
            self._rate_limit.pause(asked)
        else:
            ceiling = min(self._max_backoff, self._backoff * 2 ** (attempt - 1))
            self._clockwork.sleep(self._clockwork.uniform(0, ceiling))
