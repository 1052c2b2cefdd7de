"""The only module that reads the wall clock, and the arithmetic of the bar grid.

All instants are timezone-aware UTC `datetime`. A bar that opens at `t` with timeframe `tf` is
known at `t + tf`; the grid of a timeframe is the whole multiples of it since 1970-01-01T00:00Z.
"""

from datetime import UTC, datetime, timedelta

from pipelines.errors import ConfigError

TIMEFRAMES: dict[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAR_FUTURE = datetime(9999, 12, 31, tzinfo=UTC)
"""The end of a look at all there is."""


def microseconds(instant: datetime) -> int:
    """Return an instant as microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def now() -> datetime:
    """Read the wall clock: to choose `as_of` and to stamp audit columns, never inside logic."""
    return datetime.now(UTC)


def timeframe_delta(timeframe: str) -> timedelta:
    """Return the length of one bar of `timeframe` ("1m" ... "1d")."""
    try:
        return TIMEFRAMES[timeframe]
    except KeyError:
        raise ConfigError(
            f"timeframe {timeframe!r} is not known", remedy=f"use one of {', '.join(TIMEFRAMES)}"
        ) from None


def floor_to_grid(instant: datetime, timeframe: str) -> datetime:
    """Return the last grid instant at or before `instant`."""
    step = timeframe_delta(timeframe)
    return instant - (instant - _EPOCH) % step


def is_on_grid(instant: datetime, timeframe: str) -> bool:
    """Say whether `instant` is a whole multiple of `timeframe` since the epoch."""
    return (instant - _EPOCH) % timeframe_delta(timeframe) == timedelta(0)


def parse_instant(text: str | datetime) -> datetime:
    """Parse an ISO-8601 instant; a naive one is read as UTC.

    Raises
    ------
    ConfigError
        If `text` is not an instant.
    """
    if isinstance(text, datetime):
        instant = text
    else:
        try:
            instant = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ConfigError(
                f"{text!r} is not an instant", remedy="write it as 2024-06-01T14:00Z"
            ) from None
    return (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).astimezone(UTC)


def format_instant(instant: datetime) -> str:
    """Write an instant as `2024-06-01T14:00Z` (seconds only where they are not zero)."""
    timespec = "seconds" if instant.second or instant.microsecond else "minutes"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def check_as_of(as_of: datetime, timeframe: str) -> datetime:
    """Refuse an `as_of` off the grid of `timeframe` or later than the wall clock.

    Raises
    ------
    ConfigError
        Naming the instant, the bound and the nearest instant that would be accepted.
    """
    if not is_on_grid(as_of, timeframe):
        nearest = format_instant(floor_to_grid(as_of, timeframe))
        raise ConfigError(
            f"as_of {format_instant(as_of)} is off the {timeframe} grid", remedy=f"use {nearest}"
        )
    clock = now()
    if as_of > clock:
        newest = format_instant(floor_to_grid(clock, timeframe))
        raise ConfigError(
            f"as_of {format_instant(as_of)} is in the future (now {format_instant(clock)})",
            remedy=f"use {newest} or earlier",
        )
    return as_of
