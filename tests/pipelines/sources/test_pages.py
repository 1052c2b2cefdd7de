from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.pages import (
    CANDLE_COLUMNS,
    KLINE_COLUMNS,
    BadPage,
    Page,
    parse_page,
    split_pages,
    to_milliseconds,
)

HOUR = timedelta(hours=1)
T0 = datetime(2024, 6, 1, tzinfo=UTC)
PAGE = Page("BTC/USDT", T0, T0 + 2 * HOUR)


def kline(hours, close="67500.01000000", trades=1234, **changed):
    opened = to_milliseconds(T0 + hours * HOUR)
    row = [
        opened,
        "67490.00000000",
        "67555.55000000",
        "67400.10000000",
        close,
        "512.34500000",
        opened + 3_599_999,
        "34579123.45000000",
        trades,
        "250.10000000",
        "16881234.50000000",
        "0",
    ]
    for at, value in changed.items():
        row[int(at[1:])] = value
    return row


def parse(answer, page=PAGE, columns=KLINE_COLUMNS, clip=False):
    return parse_page(answer, page, columns=columns, step=HOUR, clip=clip)


def test_all_columns_of_a_kline_are_parsed_exactly():
    bars, duplicates = parse([kline(0)])
    assert duplicates == 0
    assert bars.rows(named=True) == [
        {
            "open_time": T0,
            "open": 67490.0,
            "high": 67555.55,
            "low": 67400.1,
            "close": 67500.01,
            "volume": 512.345,
            "quote_volume": 34579123.45,
            "trades": 1234,
            "taker_buy_volume": 250.1,
        }
    ]


def test_what_the_venue_does_not_say_is_null_and_never_zero():
    bars, _ = parse([kline(0, trades="", _7="", _9=None)])
    assert bars.select("quote_volume", "trades", "taker_buy_volume").row(0) == (None, None, None)


def test_a_unified_candle_has_no_more_than_six_columns():
    opened = to_milliseconds(T0)
    bars, _ = parse([[opened, 1.5, 2.0, 1.0, 1.75, 10.0]], columns=CANDLE_COLUMNS)
    assert bars["close"].to_list() == [1.75]
    assert bars.select("quote_volume", "trades", "taker_buy_volume").row(0) == (None, None, None)


def test_pages_are_sorted_and_identical_duplicates_counted():
    bars, duplicates = parse([kline(2), kline(0), kline(2), kline(0), kline(0)])
    assert bars["open_time"].to_list() == [T0, T0 + 2 * HOUR]
    assert duplicates == 3


def test_an_empty_page_is_an_empty_frame_of_the_same_columns():
    bars, _ = parse([])
    assert bars.schema == parse([kline(0)])[0].schema
    assert bars.is_empty()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            [kline(1), kline(1, close="67500.02")],
            "two bars that open 2024-06-01T01:00Z and disagree",
        ),
        ([kline(3)], "opens 2024-06-01T03:00Z, outside the span"),
        ([kline(-1)], "opens 2024-05-31T23:00Z, outside the span"),
        ([kline(0.5)], "off the grid of 1:00:00"),
        ([kline(0, close="67x")], "close = '67x', not a number"),
        ([kline(0, trades="1.5")], "trades = '1.5', not a number"),
        ([kline(0)[:5]], "not 10 values"),
        ([kline(0, _0="now")], "an open time of 'now'"),
        ({"code": 0}, "an answer of dict"),
        ([None], "a bar of None"),
    ],
)
def test_a_page_that_cannot_be_what_was_asked_is_refused(answer, message):
    with pytest.raises(BadPage, match=message):
        parse(answer)


def test_venues_that_count_from_a_start_may_answer_past_the_page():
    bars, _ = parse([kline(0), kline(7)], clip=True)
    assert bars["open_time"].to_list() == [T0]


def test_pages_split_a_window_of_closes_into_opens():
    pages = split_pages("X", T0, T0 + 5 * HOUR, HOUR, limit=2)
    spans = [((p.first_open - T0) / HOUR, (p.last_open - T0) / HOUR) for p in pages]
    assert spans == [(0, 1), (2, 3), (4, 4)]


@given(
    offset=st.integers(0, 3599),
    seconds=st.integers(-5000, 500_000),
    limit=st.integers(1, 50),
)
def test_pages_hold_every_bar_of_the_window_once(offset, seconds, limit):
    start = T0 + timedelta(seconds=offset)
    end = start + timedelta(seconds=seconds)
    opens = []
    for page in split_pages("X", start, end, HOUR, limit):
        span = (page.last_open - page.first_open) // HOUR
        assert 0 <= span < limit
        opens += [page.first_open + i * HOUR for i in range(span + 1)]
    hours = [T0 + i * HOUR for i in range(-3, 200)]
    assert opens == [o for o in hours if start < o + HOUR <= end]
