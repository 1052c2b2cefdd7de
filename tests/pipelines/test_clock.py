from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import clock
from pipelines.errors import ConfigError

instants = st.datetimes(
    min_value=datetime(2009, 1, 3), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)
)


@given(instants, st.sampled_from(sorted(clock.TIMEFRAMES)))
def test_the_floor_is_the_last_grid_instant_at_or_before(instant: datetime, timeframe: str) -> None:
    floor = clock.floor_to_grid(instant, timeframe)
    assert clock.is_on_grid(floor, timeframe)
    assert timedelta(0) <= instant - floor < clock.timeframe_delta(timeframe)


@given(instants)
def test_an_instant_survives_being_written_and_read(instant: datetime) -> None:
    instant = instant.replace(microsecond=0)
    assert clock.parse_instant(clock.format_instant(instant)) == instant


def test_an_offset_is_converted_and_a_naive_instant_is_utc() -> None:
    assert clock.parse_instant("2024-06-01T16:00+02:00") == datetime(2024, 6, 1, 14, tzinfo=UTC)
    assert clock.parse_instant("2024-06-01T14:00") == datetime(2024, 6, 1, 14, tzinfo=UTC)
    assert clock.format_instant(datetime(2024, 6, 1, 14, tzinfo=UTC)) == "2024-06-01T14:00Z"


def test_as_of_off_the_grid_or_in_the_future_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2024, 6, 1, 14, 20, tzinfo=UTC))
    with pytest.raises(ConfigError, match=r"off the 1h grid; use 2024-06-01T13:00Z"):
        clock.check_as_of(datetime(2024, 6, 1, 13, 30, tzinfo=UTC), "1h")
    with pytest.raises(ConfigError, match=r"in the future.*use 2024-06-01T14:00Z or earlier"):
        clock.check_as_of(datetime(2024, 6, 1, 15, tzinfo=UTC), "1h")
    newest = datetime(2024, 6, 1, 14, tzinfo=UTC)
    assert clock.check_as_of(newest, "1h") == newest


def test_what_is_not_an_instant_or_a_timeframe_is_refused() -> None:
    with pytest.raises(ConfigError, match="'yesterday' is not an instant"):
        clock.parse_instant("yesterday")
    with pytest.raises(ConfigError, match="timeframe '7m' is not known"):
        clock.timeframe_delta("7m")
