import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.market_simulator.bars import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    QUOTE_VOLUME,
    TAKER_QUOTE,
    TAKER_VOLUME,
    TRADES,
    VOLUME,
)
from pipelines.market_simulator.bridge import minutes_of_hour


@st.composite
def hours(draw):
    low, rise = draw(st.integers(1, 10**7)), draw(st.integers(0, 10**5))
    inside = st.integers(low, low + rise)
    volume, quote = draw(st.integers(0, 10**11)), draw(st.integers(0, 10**15))
    trades = draw(st.integers(1, 10**6)) if volume else 0
    taker, taker_quote = draw(st.integers(0, volume)), draw(st.integers(0, quote))
    values = [
        draw(inside),
        low + rise,
        low,
        draw(inside),
        volume,
        quote,
        trades,
        taker,
        taker_quote,
    ]
    return np.array(values, dtype=np.int64)


@given(hour=hours(), seed=st.integers(0, 2**32))
def test_minutes_add_up_to_their_hour_exactly(hour, seed):
    minutes = minutes_of_hour(hour, np.random.default_rng(seed))
    assert minutes[OPEN, 0] == hour[OPEN]
    assert minutes[CLOSE, -1] == hour[CLOSE]
    assert minutes[HIGH].max() == hour[HIGH]
    assert minutes[LOW].min() == hour[LOW]
    for row in (VOLUME, QUOTE_VOLUME, TRADES, TAKER_VOLUME, TAKER_QUOTE):
        assert minutes[row].sum() == hour[row]


@given(hour=hours(), seed=st.integers(0, 2**32))
def test_every_minute_is_a_valid_bar(hour, seed):
    minutes = minutes_of_hour(hour, np.random.default_rng(seed))
    assert (minutes[HIGH] >= minutes[[OPEN, CLOSE, LOW]].max(axis=0)).all()
    assert (minutes[LOW] <= minutes[[OPEN, CLOSE, HIGH]].min(axis=0)).all()
    assert (minutes >= 0).all()
    assert (minutes[TAKER_VOLUME] <= minutes[VOLUME]).all()
    assert (minutes[TAKER_QUOTE] <= minutes[QUOTE_VOLUME]).all()
    assert (minutes[OPEN, 1:] == minutes[CLOSE, :-1]).all()


def test_the_same_stream_gives_the_same_minutes():
    hour = np.array([100, 120, 90, 110, 6000, 600_000, 300, 2500, 250_000])
    first = minutes_of_hour(hour, np.random.default_rng(3))
    again = minutes_of_hour(hour, np.random.default_rng(3))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first[CLOSE])) > 10
