"""The clock of a simulated exchange: frozen, in real time, or faster, and movable at run time."""

from datetime import UTC, datetime, timedelta

from pipelines import clock
from pipelines.errors import ConfigError


class SimulatedClock:
    """An instant that moves `speed` times as fast as the wall clock.

    Parameters
    ----------
    now : datetime or None
        Where it starts; None means the wall clock's instant.
    speed : float
        0 freezes it, 1 is real time, N is faster.

    Raises
    ------
    ConfigError
        If `speed` is negative: time falls one way.
    """

    def __init__(self, now: datetime | None = None, speed: float = 0.0) -> None:
        self._state = (now or clock.now(), clock.now(), 0.0)
        self.set(speed=speed)

    @property
    def speed(self) -> float:
        """How many times as fast as the wall clock it moves."""
        return self._state[2]

    def now(self) -> datetime:
        """Return the simulated instant, UTC."""
        start, set_at, speed = self._state
        return start if speed == 0.0 else start + (clock.now() - set_at) * speed

    def now_ms(self) -> int:
        """Return the simulated instant in whole milliseconds since 1970."""
        return milliseconds(self.now())

    def set(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """Move the clock to `now` and, or, change its speed from here on."""
        speed = self.speed if speed is None else speed
        if not 0.0 <= speed < float("inf"):
            raise ConfigError(
                f"clock speed {speed} is not a finite number >= 0",
                remedy="0 freezes it, 1 is real time",
            )
        start = self.now() if now is None else now.astimezone(UTC)
        self._state = (start, clock.now(), speed)


def milliseconds(instant: datetime) -> int:
    """Return an instant as whole milliseconds since 1970, rounded down."""
    return (instant - _EPOCH) // MILLISECOND


def instant_of(ms: int) -> datetime:
    """Return milliseconds since 1970 as a UTC instant."""
    return _EPOCH + ms * MILLISECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
