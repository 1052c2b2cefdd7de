"""History comes whole, once, and after any interruption as if there had been none."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.market_simulator import ReplayMarket, running_simulator
from pipelines.market_simulator.faults import parse_faults
from pipelines.steps import backfill as module
from pipelines.steps.backfill import backfill

START, END = datetime(2024, 1, 15, tzinfo=UTC), datetime(2024, 5, 20, 7, tzinfo=UTC)
STEP = timedelta(hours=1)
TRUTH = ["venue", "symbol", "known_at", "open_time", "open", "high", "low", "close", "volume"]


def stored(context, end=END):
    return context.lake.read("bars", end=end).select(TRUTH)


def versions(context):
    return {info.name: info.version for info in context.lake.describe()}


@pytest.fixture
def small_chunks(monkeypatch):
    """Two months a chunk instead of twenty-seven."""
    monkeypatch.setattr(module, "_CHUNK_ROWS", 2 * 3 * 720)


def test_history_is_the_markets_own_and_a_second_run_changes_nothing(simulate, open_context, truth):
    seen = []
    with simulate() as venue:
        context = open_context(venue.base_url)
        report = backfill(context, START, END, progress=lambda *state: seen.append(state))
        before = versions(context)
        assert not backfill(context, START, END).changed
    assert_frame_equal(stored(context), truth(START, END))
    assert report.detail["bars_added"] == 3 * ((END - START) // STEP)
    assert before == {"bars": 0}
    assert versions(context) == before
    assert seen[0] == (0, 5, "binance 1h 2024-01")
    assert seen[-1] == (5, 5, "done")


@pytest.mark.usefixtures("small_chunks")
def test_after_an_interruption_it_continues_with_what_is_missing(simulate, open_context, truth):
    with simulate() as venue:
        context = open_context(venue.base_url)
        # The first chunk needs six requests; then the venue dies.
        venue.faults.add(
            parse_faults([{"kind": "server_error", "path": "/api/v3/klines", "after": 9}])
        )
        with pytest.raises(SourceUnavailable):
            backfill(context, START, END)
        first = stored(context)
        venue.faults.clear()
        backfill(context, START, END)
    assert 0 < first.height < stored(context).height
    assert_frame_equal(stored(context), truth(START, END))
    assert versions(context) == {"bars": 2}


def test_widening_the_span_asks_only_for_the_rest(simulate, open_context, truth):
    with simulate() as venue:
        context = open_context(venue.base_url)
        backfill(context, datetime(2024, 3, 1, tzinfo=UTC), END)
        report = backfill(context, START, END)
    assert report.detail["bars_added"] == 3 * (46 * 24)
    assert_frame_equal(stored(context), truth(START, END))


def test_a_gap_is_asked_for_once_and_then_remembered(simulate, open_context, truth):
    gap = {"kind": "gap", "symbol": "ETHUSDT", "from": "2024-02-08T00:00Z"}
    gap |= {"until": "2024-02-09T08:00Z"}
    with simulate(faults=[gap]) as venue:
        context = open_context(venue.base_url)
        backfill(context, START, END)
        before = versions(context)
        # Whoever asks again meets this.
        venue.faults.add(parse_faults([{"kind": "server_error", "path": "/api/v3/klines"}]))
        assert not backfill(context, START, END).changed
    asked = pl.col("open_time").is_between(
        datetime(2024, 2, 8, tzinfo=UTC), datetime(2024, 2, 9, 8, tzinfo=UTC)
    )
    missing = (pl.col("symbol") == "ETH/USDT") & asked
    assert_frame_equal(stored(context), truth(START, END).filter(~missing))
    assert versions(context) == before
    notes = context.lake.read("quality", end=END).filter(pl.col("check") == "gap_confirmed")
    assert notes.select("symbol", "known_at", "failing_rows").rows() == [
        ("ETH/USDT", datetime(2024, 3, 1, tzinfo=UTC), 33)
    ]


def test_a_gap_younger_than_the_repair_window_is_asked_for_again(simulate, open_context, truth):
    late = (END - 3 * STEP).isoformat()
    with simulate(faults=[{"kind": "gap", "from": late, "until": late}]) as venue:
        context = open_context(venue.base_url)
        backfill(context, START, END)
        venue.faults.clear()
        assert backfill(context, START, END).detail["bars_added"] == 3
    assert_frame_equal(stored(context), truth(START, END))


def test_a_refused_chunk_is_in_quarantine_and_the_next_run_leaves_it_out(
    simulate, open_context, truth
):
    bad = {"kind": "corrupt", "value": "crossed", "symbol": "BTCUSDT"}
    bad |= {"from": "2024-03-03T03:00Z", "until": "2024-03-03T03:00Z"}
    with simulate(faults=[bad]) as venue:
        context = open_context(venue.base_url)
        with pytest.raises(ContractViolation, match="high below open, close or low"):
            backfill(context, START, END)
        assert not context.lake.exists("bars")
        backfill(context, START, END)
    missing = (pl.col("symbol") == "BTC/USDT") & (
        pl.col("open_time") == datetime(2024, 3, 3, 3, tzinfo=UTC)
    )
    assert_frame_equal(stored(context), truth(START, END).filter(~missing))


def test_a_market_that_opens_midway_begins_where_it_begins(simulate, open_context, truth):
    # The synthetic markets open on 2017-08-17T04:00Z.
    start, end = datetime(2017, 6, 20, tzinfo=UTC), datetime(2017, 9, 20, tzinfo=UTC)
    with simulate() as venue:
        context = open_context(venue.base_url)
        backfill(context, start, end)
        before = versions(context)
        assert not backfill(context, start, end).changed
        assert versions(context) == before
    bars = stored(context, end)
    assert_frame_equal(bars, truth(start, end))
    assert bars["known_at"].min() == datetime(2017, 8, 17, 5, tzinfo=UTC)


def test_other_symbols_venues_and_timeframes_come_when_configured(simulate, open_context, truth):
    extra = [{"venue": "upbit", "timeframe": "1h", "symbols": ["BTC/KRW"]}]
    start = END - timedelta(days=3)
    with simulate() as venue:
        context = open_context(venue.base_url, extra_markets=extra)
        backfill(context, start, END, symbols=["ETH/USDT"])
        assert_frame_equal(stored(context), truth(start, END, ("ETH/USDT",)))
        backfill(context, start, END)
    korean = stored(context).filter(pl.col("venue") == "upbit")
    assert_frame_equal(korean, truth(start, END, ("BTC/KRW",), "upbit"))


def test_minute_bars_are_traded_by_configuration(simulate, open_context):
    start = END - timedelta(hours=30)
    with simulate() as venue:
        context = open_context(venue.base_url, timeframe="1m", universe=["BTC/USDT"])
        backfill(context, start, END)
    bars = context.lake.read("bars", end=END)
    assert bars.height == 1800
    assert bars["known_at"].diff().unique().drop_nulls().to_list() == [timedelta(minutes=1)]


def test_an_empty_market_is_wrong_usage(simulate, open_context):
    start, end = datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 2, 1, tzinfo=UTC)
    with simulate() as venue:
        context = open_context(venue.base_url)
        with pytest.raises(ConfigError, match="no 1h bar of BTC/USDT up to 2017-02-01T00:00Z"):
            backfill(context, start, end)
    assert versions(context) == {}


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (END, START, "is empty"),
        (START, END + timedelta(minutes=1), "off the 1h grid"),
        (START, datetime(2200, 1, 1, tzinfo=UTC), "in the future"),
    ],
)
def test_a_span_that_cannot_be_is_wrong_usage(start, end, message, open_context):
    with pytest.raises(ConfigError, match=message):
        backfill(open_context("http://127.0.0.1:1"), start, end)


@pytest.mark.market
@pytest.mark.slow
def test_four_replayed_years_of_ten_pairs_are_the_parquet_files_bar_for_bar(
    market_folder, open_context
):
    start, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    with running_simulator(ReplayMarket(market_folder), now=end + STEP) as venue:
        context = open_context(venue.base_url)
        backfill(context, start, end)
    bars = context.lake.read("bars", end=end)
    for symbol in context.settings.universe:
        name = symbol.replace("/", "")
        file = pl.read_parquet(market_folder / f"ohlcv_1h/binance_spot/{name}.parquet")
        expected = file.with_columns(pl.col("open_time").cast(pl.Datetime("us", "UTC"))).filter(
            (pl.col("open_time") >= start) & (pl.col("open_time") < end)
        )
        got = bars.filter(pl.col("symbol") == symbol).select(
            "open_time", "open", "high", "low", "close", "volume", "quote_volume", "trades",
            taker_buy_base="taker_buy_volume",
        )  # fmt: skip
        assert_frame_equal(got, expected.select(got.columns), check_dtypes=False, check_exact=True)
        # Binance was down on 2021-04-25, 2021-08-13 and 2021-09-29 among others.
        assert got.height == 35_050
        assert (end - start) // STEP - got.height == 14
    assert (bars["known_at"] - bars["open_time"]).unique().to_list() == [STEP]
