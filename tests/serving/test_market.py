from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.market import (
    NEW_DAY,
    NEW_MONTH,
    NEW_WEEK,
    Filters,
    build_panel,
    calendar_of,
    check_capital,
)

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def bars_of(*rows: tuple, **columns) -> pl.DataFrame:
    """Rows of (symbol, hour); prices 100."""
    frame = pl.DataFrame(
        [
            {
                "venue": "binance", "symbol": symbol, "known_at": START + hour * HOUR,
                "open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 5.0,
            }
            for symbol, hour in rows
        ],
        schema_overrides={"known_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    return frame.with_columns(**{k: pl.Series(v, dtype=pl.Float64) for k, v in columns.items()})


TWO = (("ADA/USDT", 0), ("ADA/USDT", 2), ("BTC/USDT", 0), ("BTC/USDT", 1))


def test_a_panel_is_a_full_grid_in_which_missing_bars_are_nan() -> None:
    panel = build_panel(bars_of(*TWO, close=[99.0, 99.5, 100.5, 100.0]), timeframe=HOUR)
    assert panel.symbols == ("ADA/USDT", "BTC/USDT")
    assert panel.bars == 3
    expected = [[99.0, 100.5], [np.nan, 100.0], [99.5, np.nan]]
    assert np.array_equal(panel.market.close, expected, equal_nan=True)
    assert panel.instants().to_list() == [START, START + HOUR, START + 2 * HOUR]


def test_universe_and_span_can_be_wider_than_the_bars() -> None:
    panel = build_panel(
        bars_of(("BTC/USDT", 1)),
        timeframe=HOUR,
        symbols=("ETH/USDT", "BTC/USDT"),
        first=START,
        last=START + 3 * HOUR,
    )
    assert panel.market.close.shape == (4, 2)
    assert np.isnan(panel.market.close[:, 1]).all()


def test_an_hour_without_any_bar_is_a_panel_of_gaps() -> None:
    empty = bars_of(("BTC/USDT", 0)).clear()
    panel = build_panel(empty, timeframe=HOUR, symbols=("BTC/USDT",), first=START, last=START)
    assert np.isnan(panel.market.open).all()
    with pytest.raises(ValueError, match="no rows and no span"):
        build_panel(empty, timeframe=HOUR)


def test_filters_become_counts_and_a_lot_of_zero_is_one_count() -> None:
    filters = {"ADA/USDT": Filters(lot=0.1, tick=0.0001, minimum_notional=5.0)}
    market = build_panel(bars_of(*TWO), timeframe=HOUR, filters=filters).market
    assert market.lot.tolist() == [10_000_000, 1]
    assert market.tick.tolist() == [0.0001, 0.0]
    assert market.minimum_notional.tolist() == [500_000_000, 0]


def test_funding_is_placed_on_its_bar_and_zero_elsewhere() -> None:
    funding = pl.DataFrame(
        {"symbol": ["BTC/USDT"], "known_at": [START + HOUR], "funding_rate": [1e-4]}
    )
    panel = build_panel(bars_of(*TWO), timeframe=HOUR, funding=funding)
    assert panel.market.funding_rate.tolist() == [[0, 0], [0, 1e-4], [0, 0]]


def funding_of(*rates: tuple[str, float, float]) -> pl.DataFrame:
    """Return payments of (symbol, hours after START, rate)."""
    symbols, hours, values = zip(*rates, strict=True)
    instants = pl.Series([START + hour * HOUR for hour in hours], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"symbol": symbols, "known_at": instants, "funding_rate": values})


def test_a_payment_between_two_bars_is_the_later_ones_and_payments_of_one_bar_add_up() -> None:
    funding = funding_of(
        ("ADA/USDT", -1.0, 9.0),
        ("ADA/USDT", -0.5, 0.25),
        ("ADA/USDT", 0.0, 0.5),
        ("BTC/USDT", 1.25, -0.125),
        ("BTC/USDT", 2.0, 0.25),
        ("BTC/USDT", 2.01, 9.0),
        ("ETH/USDT", 1.0, 9.0),
    )
    panel = build_panel(bars_of(*TWO), timeframe=HOUR, funding=funding)
    assert panel.market.funding_rate.tolist() == [[0.75, 0], [0, 0], [0, 0.125]]


@given(st.lists(st.integers(-400, 1300), min_size=1, max_size=12, unique=True))
def test_every_payment_of_a_span_is_paid_once_however_it_is_cut(minutes: list[int]) -> None:
    funding = funding_of(*(("ADA/USDT", m / 60, 2.0**i) for i, m in enumerate(sorted(minutes))))

    def paid(first: int, last: int) -> list[float]:
        empty = bars_of(*TWO).clear()
        span = {"first": START + first * HOUR, "last": START + last * HOUR}
        panel = build_panel(empty, timeframe=HOUR, symbols=["ADA/USDT"], funding=funding, **span)
        return panel.market.funding_rate[:, 0].tolist()

    whole = paid(0, 20)
    assert whole == [paid(hour, hour)[0] for hour in range(21)]
    inside = [2.0**i for i, m in enumerate(sorted(minutes)) if -60 < m <= 1200]
    assert sum(whole) == sum(inside)


def test_a_funding_rate_that_is_no_number_is_refused_by_name() -> None:
    funding = funding_of(("ADA/USDT", 0.0, 0.5), ("BTC/USDT", 1.0, float("nan")))
    with pytest.raises(ValueError, match=r"BTC/USDT at 2024-.*: the funding rate is not a finite"):
        build_panel(bars_of(*TWO), timeframe=HOUR, funding=funding)


def test_only_a_symbol_that_is_settled_is_a_contract() -> None:
    bars = bars_of(("BTC/USDT", 0), ("BTC/USDT:USDT", 0))
    assert build_panel(bars, timeframe=HOUR).market.contract.tolist() == [False, True]


def test_the_calendar_knows_midnights_mondays_and_firsts() -> None:
    # 2024-01-01 was a Monday; 2024-02-01 a Thursday.
    calendar = calendar_of(START, 32 * 24, HOUR)
    assert calendar[0] == NEW_DAY + NEW_WEEK + NEW_MONTH
    assert calendar[1:24].tolist() == [0] * 23
    assert calendar[24] == NEW_DAY
    assert calendar[7 * 24] == NEW_DAY + NEW_WEEK
    assert calendar[31 * 24] == NEW_DAY + NEW_MONTH


def test_every_daily_bar_begins_a_day() -> None:
    assert calendar_of(START, 3, timedelta(days=1)).tolist() == [7, 1, 1]


def test_features_of_other_symbols_and_hours_are_passed_over() -> None:
    panel = build_panel(bars_of(*TWO), timeframe=HOUR)
    features = pl.DataFrame(
        {
            "symbol": ["BTC/USDT", "BTC/USDT", "XRP/USDT"],
            "known_at": [START + HOUR, START + 9 * HOUR, START],
            "x": [1.5, 2.5, None],
        }
    )
    (placed,) = panel.place(features, "x")
    assert np.array_equal(
        placed, [[np.nan, np.nan], [np.nan, 1.5], [np.nan, np.nan]], equal_nan=True
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"close": [100, np.nan, 100, 100]}, r"ADA/USDT at 2024-01-01T02:00Z: close is not a positive"),
        ({"close": [100, 100, None, 100]}, r"BTC/USDT at 2024-01-01T00:00Z: close is not a positive"),
        ({"low": [0, 99, 99, 99]}, "low is not a positive"),
        ({"open": [100, np.inf, 100, 100]}, "open is not a positive"),
        ({"high": [98, 101, 101, 101]}, "high below low"),
        ({"high": [99.5, 101, 101, 101]}, "open or close outside low and high"),
        ({"volume": [5, 5, -1, 5]}, r"BTC/USDT at .*: volume is negative or missing \(-1; 1 such"),
        ({"volume": [5, 5, None, 5]}, "volume is negative or missing"),
    ],
)  # fmt: skip
def test_what_no_market_can_have_said_is_refused_by_name(columns, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_panel(bars_of(*TWO, **columns), timeframe=HOUR)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((("BTC/USDT", 1), ("BTC/USDT", 0)), "BTC/USDT at .*00:00Z: not after the bar before it"),
        ((("BTC/USDT", 0), ("BTC/USDT", 0)), "unsorted or duplicate"),
        ((("BTC/USDT", 0), ("ADA/USDT", 0), ("BTC/USDT", 1)), "rows of one symbol are apart"),
        ((("BTC/USDT", 0), ("BTC/USDT", 0.5)), "off the 1:00:00 grid"),
    ],
)
def test_unsorted_duplicate_and_off_grid_bars_are_refused(rows, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_panel(bars_of(*rows), timeframe=HOUR)


def test_an_unknown_symbol_is_refused_with_the_nearest_known() -> None:
    with pytest.raises(ValueError, match="BTC/USD is not in the universe; did you mean BTC/USDT"):
        build_panel(bars_of(("BTC/USD", 0)), timeframe=HOUR, symbols=("BTC/USDT", "ETH/USDT"))


def test_bars_of_two_venues_are_refused() -> None:
    bars = bars_of(*TWO).with_columns(venue=pl.Series(["binance", "binance", "upbit", "upbit"]))
    with pytest.raises(ValueError, match=r"2 venues \(binance, upbit\)"):
        build_panel(bars, timeframe=HOUR)


def test_a_capital_whose_quantities_do_not_fit_is_refused_with_the_bound() -> None:
    price = [1e-6] * 4
    panel = build_panel(
        bars_of(*TWO, open=price, high=price, low=price, close=price), timeframe=HOUR
    )
    check_capital(panel, 9_000.0)
    with pytest.raises(ValueError, match=r"ADA/USDT's price 1e-06 .* use at most 10000"):
        check_capital(panel, 20_000.0)
