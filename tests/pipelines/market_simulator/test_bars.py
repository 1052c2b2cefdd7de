import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.market_simulator.bars import (
    CLOSE,
    HIGH,
    HOUR,
    LOW,
    OPEN,
    QUOTE_VOLUME,
    VOLUME,
    Bars,
    Request,
    aggregate,
    flat_bar,
    page,
)


def bars_at(hours, timeframe=HOUR):
    times = np.array(hours, dtype=np.int64) * timeframe
    values = np.tile(np.arange(len(hours), dtype=float), (9, 1)) + 100.0
    return Bars(times, values, timeframe)


def ask(closed, progress=None, **wanted):
    request = Request(
        **{"first": 0, "last": 2**60, "limit": 3, "newest": False, "now": 2**60, **wanted}
    )
    return (page(closed, progress, request).open_time // HOUR).tolist()


def test_a_page_with_a_start_holds_the_oldest_bars_from_there():
    assert ask(bars_at([1, 2, 4, 5, 6]), first=2 * HOUR) == [2, 4, 5]


def test_a_page_without_a_start_holds_the_newest_bars():
    assert ask(bars_at([1, 2, 4, 5, 6]), newest=True) == [4, 5, 6]


def test_both_ends_of_a_page_are_included():
    assert ask(bars_at([1, 2, 4, 5, 6]), first=2 * HOUR, last=4 * HOUR) == [2, 4]


def test_a_bar_is_closed_exactly_at_its_end():
    assert ask(bars_at([1, 2, 3]), now=3 * HOUR) == [1, 2]
    assert ask(bars_at([1, 2, 3]), now=3 * HOUR - 1) == [1]


def test_the_bar_in_progress_is_the_last_row():
    progress = flat_bar(3 * HOUR, 9.0, HOUR, np.zeros(9))
    closed = bars_at([0, 1, 2, 3])
    assert ask(closed, progress, newest=True, now=3 * HOUR + 5) == [1, 2, 3]
    assert ask(closed, progress, newest=False, now=3 * HOUR + 5) == [0, 1, 2]
    assert ask(closed, progress, first=HOUR, now=3 * HOUR + 5) == [1, 2, 3]
    assert ask(closed, progress, first=HOUR, last=2 * HOUR, now=3 * HOUR + 5) == [1, 2]


def test_a_flat_bar_keeps_what_is_unknown_unknown():
    like = np.array([1.0, 2, 3, 4, 5, np.nan, np.nan, 8, 9])
    flat = flat_bar(0, 7.0, HOUR, like).values[:, 0]
    np.testing.assert_array_equal(flat, [7, 7, 7, 7, 0, np.nan, np.nan, 0, 0])


def test_aggregation_opens_first_closes_last_and_sums_volume():
    fine = Bars(
        np.array([0, 1, 2, 5]) * HOUR,
        np.array(
            [
                [10, 11, 12, 20],
                [13, 12, 15, 22],
                [9, 10, 11, 19],
                [11, 12, 14, 21],
                *[[1, 2, 3, 4]] * 5,
            ],
            dtype=float,
        ),
        HOUR,
    )
    coarse = aggregate(fine, 4 * HOUR)
    assert coarse.open_time.tolist() == [0, 4 * HOUR]
    assert coarse.values[[OPEN, HIGH, LOW, CLOSE, VOLUME]].T.tolist() == [
        [10, 15, 9, 14, 6],
        [20, 22, 19, 21, 4],
    ]


def test_a_sum_with_an_unknown_part_is_unknown():
    fine = bars_at([0, 1, 4])
    fine.values[QUOTE_VOLUME, 0] = np.nan
    coarse = aggregate(fine, 4 * HOUR)
    np.testing.assert_array_equal(np.isnan(coarse.values[QUOTE_VOLUME]), [True, False])
    assert not np.isnan(coarse.values[VOLUME]).any()


@given(
    hours=st.sets(st.integers(0, 60), min_size=1),
    first=st.integers(-5, 65),
    length=st.integers(0, 40),
    limit=st.integers(1, 20),
    newest=st.booleans(),
    now=st.integers(1, 70),
)
def test_a_page_equals_the_slow_reading_of_the_request(hours, first, length, limit, newest, now):
    closed = bars_at(sorted(hours))
    inside = [h for h in sorted(hours) if first <= h <= first + length and h + 1 <= now]
    expected = inside[-limit:] if newest else inside[:limit]
    request = Request(first * HOUR, (first + length) * HOUR, limit, newest, now * HOUR)
    assert (page(closed, None, request).open_time // HOUR).tolist() == expected


@pytest.mark.parametrize("timeframe", [HOUR, 4 * HOUR])
def test_aggregating_nothing_gives_nothing(timeframe):
    empty = Bars(np.empty(0, dtype=np.int64), np.empty((9, 0)), HOUR)
    assert len(aggregate(empty, timeframe)) == 0
    assert aggregate(empty, timeframe).timeframe == timeframe
