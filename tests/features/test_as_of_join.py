"""A reading is on a bar only if it had been published by then and is not stale; nothing else decides."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.as_of_join import Readings, join_as_of, per_eight_hours, reading, with_readings
from features.pieces import Panel

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def bars_at(*hours: int, symbols: tuple[str, ...] = ("BTC/USDT",)) -> pl.DataFrame:
    rows = [(s, START + h * HOUR) for s in symbols for h in hours]
    return pl.DataFrame(rows, schema={"symbol": pl.String, "known_at": INSTANT}, orient="row")


def rows_at(*told: tuple[float, float | None]) -> pl.DataFrame:
    rows = [(START + hour * HOUR, value) for hour, value in told]
    return pl.DataFrame(rows, schema={"known_at": INSTANT, "value": pl.Float64}, orient="row")


def test_a_bar_has_the_newest_reading_known_at_it_until_that_is_stale() -> None:
    rows = rows_at((2, 10.0), (4.5, 20.0))
    joined = join_as_of(bars_at(*range(1, 10)), rows, "vix", stale_after=3 * HOUR)
    assert joined["vix"].to_list() == [None, 10.0, 10.0, 10.0, 20.0, 20.0, 20.0, None, None]


def test_a_reading_known_at_the_very_instant_counts_and_one_a_moment_later_does_not() -> None:
    rows = rows_at((1, 1.0), (2 + 1e-6, 2.0))
    assert join_as_of(bars_at(1, 2, 3), rows, "x", stale_after=9 * HOUR)["x"].to_list() == [1, 1, 2]


def test_a_reading_that_says_nothing_leaves_the_one_before_it() -> None:
    rows = rows_at((1, 1.0), (2, None))
    assert join_as_of(bars_at(3), rows, "x", stale_after=5 * HOUR)["x"].to_list() == [1.0]


def test_every_symbol_has_its_own_readings_and_the_order_of_bars_stays() -> None:
    bars = bars_at(3, 1, 2, symbols=("ETH/USDT", "BTC/USDT"))
    rows = rows_at((1, 5.0)).with_columns(symbol=pl.lit("ETH/USDT"))
    joined = join_as_of(bars, rows, "x", stale_after=HOUR)
    assert joined.select("symbol", "known_at").equals(bars)
    assert joined["x"].to_list() == [None, 5.0, 5.0, None, None, None]


def test_joining_again_replaces_the_column() -> None:
    first = Readings("x", rows_at((0, 1.0)), 9 * HOUR)
    bars = with_readings(bars_at(1), [first, Readings("x", rows_at((0, 2.0)), 9 * HOUR)])
    assert bars.columns == ["symbol", "known_at", "x"]
    assert bars["x"].to_list() == [2.0]


def test_the_future_of_a_source_can_be_taken_away_and_changed() -> None:
    told = Readings("x", rows_at((1, 1.0), (2, 2.0)), HOUR)
    assert told.until(START + HOUR).rows["value"].to_list() == [1.0]
    early, late = told.shaken_after(START + HOUR).rows["value"].to_list()
    assert (early, late) == (1.0, 3e6)


def test_rates_of_any_interval_are_those_of_eight_hours() -> None:
    hours = [0, 8, 12, 14, 15, 31]
    rates = pl.DataFrame(
        {
            "symbol": ["BTC"] * 6,
            "known_at": [START + h * HOUR + timedelta(seconds=h % 3) for h in hours],
            "funding_rate": [8e-4] * 6,
        },
        schema_overrides={"known_at": INSTANT},
    )
    # The first has none before it; then eight, four, two and one hour, and a payment after a hole.
    assert [round(v, 10) for v in per_eight_hours(rates)["value"]] == [
        8e-4, 8e-4, 16e-4, 32e-4, 64e-4, 8e-4
    ]  # fmt: skip


def test_bars_without_the_column_read_as_nothing_known() -> None:
    ones = {name: pl.lit(1.0) for name in ("open", "high", "low", "close", "volume")}
    bars = bars_at(1, 2).with_columns(venue=pl.lit("binance"), **ones)
    grid = Panel.of(bars, HOUR).grid()
    assert str(reading(grid, "vix").tolist()) == "[[nan, nan]]"
    told = Readings("vix", rows_at((2, 7.0)), HOUR).onto(bars)
    assert str(reading(Panel.of(told, HOUR).grid(), "vix").tolist()) == "[[nan, 7.0]]"


@given(
    told=st.dictionaries(st.integers(0, 60), st.floats(-9, 9), max_size=12),
    asked=st.lists(st.integers(0, 60), min_size=1, max_size=12, unique=True),
    limit=st.integers(1, 20),
)
def test_the_join_equals_looking_each_bar_up(told: dict[int, float], asked, limit: int) -> None:
    rows = rows_at(*((hour / 2, value) for hour, value in told.items()))
    bars = bars_at().clear() if not asked else bars_at(*(hour // 2 for hour in set(asked)))
    joined = join_as_of(bars, rows, "x", stale_after=limit * HOUR / 2)
    for known_at, value in joined.select("known_at", "x").iter_rows():
        now = (known_at - START) / HOUR * 2
        known = [hour for hour in told if now - limit <= hour <= now]
        assert value == (told[max(known)] if known else None)


def test_cutting_the_future_of_both_changes_nothing_that_was_known() -> None:
    bars, rows = bars_at(*range(24)), rows_at(*((h + 0.5, float(h)) for h in range(24)))
    told = Readings("x", rows, 2 * HOUR)
    whole = told.onto(bars)
    for cut in (START, START + 7 * HOUR, START + 23 * HOUR):
        past = pl.col("known_at") <= cut
        assert told.until(cut).onto(bars.filter(past)).equals(whole.filter(past))
        assert told.shaken_after(cut).onto(bars).filter(past).equals(whole.filter(past))
