from datetime import UTC, datetime, timedelta

import pytest

from pipelines import clock
from pipelines.errors import ConfigError
from pipelines.market_simulator.clock import SimulatedClock, instant_of, milliseconds

START = datetime(2024, 6, 1, 14, tzinfo=UTC)


@pytest.fixture
def wall(monkeypatch):
    """A wall clock that the test moves."""
    hands = [datetime(2026, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(clock, "now", lambda: hands[0])
    return hands


def test_a_frozen_clock_stands_still(wall):
    frozen = SimulatedClock(START)
    wall[0] += timedelta(days=3)
    assert frozen.now() == START


def test_without_an_instant_it_starts_at_the_wall_clock(wall):
    assert SimulatedClock().now() == wall[0]


def test_a_fast_clock_moves_speed_times_as_fast(wall):
    fast = SimulatedClock(START, speed=60.0)
    wall[0] += timedelta(seconds=90)
    assert fast.now() == START + timedelta(minutes=90)


def test_changing_the_speed_does_not_jump(wall):
    moving = SimulatedClock(START, speed=10.0)
    wall[0] += timedelta(seconds=6)
    moving.set(speed=0.0)
    wall[0] += timedelta(seconds=6)
    assert moving.now() == START + timedelta(minutes=1)


def test_it_can_be_moved_while_it_runs(wall):
    moved = SimulatedClock(START, speed=1.0)
    moved.set(now=START + timedelta(days=1))
    wall[0] += timedelta(seconds=5)
    assert moved.now() == START + timedelta(days=1, seconds=5)


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_time_never_runs_backwards_nor_infinitely_fast(speed):
    with pytest.raises(ConfigError, match="clock speed"):
        SimulatedClock(START, speed=speed)


def test_milliseconds_and_instants_are_inverse():
    assert milliseconds(START) == 1_717_250_400_000
    assert instant_of(1_717_250_400_000) == START
    assert milliseconds(START + timedelta(microseconds=1999)) == 1_717_250_400_001
