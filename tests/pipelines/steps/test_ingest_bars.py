"""Every fault a venue can show: the hour is ingested right or refused with the right class."""

from datetime import UTC, datetime, timedelta

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.market_simulator.faults import parse_faults
from pipelines.steps.check_bars import check_bars
from pipelines.steps.ingest_bars import ingest_bars

AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
STEP = timedelta(hours=1)
UNIVERSE = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
TRUTH = ["venue", "symbol", "known_at", "open_time", "open", "high", "low", "close", "volume"]
KLINES = "/api/v3/klines"


def opened(hours_before):
    """The open of the bar known `hours_before` hours before AS_OF."""
    return (AS_OF - (hours_before + 1) * STEP).isoformat()


def versions(context):
    return {info.name: info.version for info in context.lake.describe()}


def stored(context, end=AS_OF):
    return context.lake.read("bars", end=end).select(TRUTH)


def events(context, check):
    rows = context.lake.read("quality", end=AS_OF).filter(pl.col("check") == check)
    return dict(rows.select("symbol", "failing_rows").iter_rows())


# What the lake holds afterwards: "all" is the market's own truth to the hour; "before" is the
# truth up to the hour before; otherwise the bars left out, as (symbol, hours before AS_OF).
FAULTS = {
    "a rate limit is waited for": (
        {"kind": "rate_limited", "retry_after": 1, "count": 1},
        "all",
        None,
    ),
    "a ban is not waited for": (
        {"kind": "banned", "retry_after": 120, "count": 1},
        "before",
        SourceUnavailable,
    ),
    "a passing server error": ({"kind": "server_error", "status": 503, "count": 2}, "all", None),
    "a lasting server error": (
        {"kind": "server_error", "status": 500},
        "before",
        SourceUnavailable,
    ),
    "one answer too late": ({"kind": "slow", "seconds": 1, "count": 1}, "all", None),
    "every answer too late": ({"kind": "slow", "seconds": 1}, "before", SourceUnavailable),
    "JSON cut once": ({"kind": "truncated", "count": 1}, "all", None),
    "JSON cut always": ({"kind": "truncated"}, "before", SourceUnavailable),
    "a proxy's page once": ({"kind": "html", "count": 1}, "all", None),
    "a proxy's page always": ({"kind": "html", "status": 502}, "before", SourceUnavailable),
    "an unfinished candle as if closed": (
        {"kind": "unfinished", "stamp": "closed", "path": KLINES},
        "before",
        ContractViolation,
    ),
    "an unfinished candle once": (
        {"kind": "unfinished", "stamp": "closed", "path": KLINES, "count": 1},
        "all",
        None,
    ),
    "a candle of the future": (
        {"kind": "unfinished", "stamp": "ahead", "path": KLINES},
        "before",
        ContractViolation,
    ),
    "this hour missing for one symbol": (
        {"kind": "gap", "symbol": "ETHUSDT", "from": opened(0), "until": opened(0)},
        [("ETH/USDT", 0)],
        None,
    ),
    "this hour missing for all": (
        {"kind": "gap", "from": opened(0), "until": opened(0)},
        "before",
        SourceUnavailable,
    ),
    "an old bar withdrawn": (
        {"kind": "gap", "symbol": "ETHUSDT", "from": opened(5), "until": opened(4)},
        "all",
        None,
    ),
    "every bar twice": ({"kind": "duplicate"}, "all", None),
    "pages backwards": ({"kind": "out_of_order"}, "all", None),
    "a close that is no number": (
        {"kind": "corrupt", "value": "nan", "symbol": "BTCUSDT", "from": opened(0)},
        "before",
        ContractViolation,
    ),
    "a negative close": (
        {"kind": "corrupt", "value": "negative", "symbol": "BTCUSDT", "from": opened(0)},
        "before",
        ContractViolation,
    ),
    "high and low exchanged": (
        {"kind": "corrupt", "value": "crossed", "from": opened(0)},
        "before",
        ContractViolation,
    ),
    "a symbol that left": (
        {"kind": "delisted", "symbol": "SOLUSDT", "at": opened(0), "gone": True},
        [("SOL/USDT", 0)],
        None,
    ),
    "a symbol that only stopped": (
        {"kind": "delisted", "symbol": "SOLUSDT", "at": opened(0)},
        [("SOL/USDT", 0)],
        None,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_right_bars_or_a_refusal(name, simulate, open_context, truth):
    fault, expected, refusal = FAULTS[name]
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - STEP)
        venue.faults.add(parse_faults([fault]))
        if refusal is None:
            ingest_bars(context, AS_OF)
        else:
            with pytest.raises(refusal):
                ingest_bars(context, AS_OF)
    first = AS_OF - 49 * STEP
    right = truth(first, AS_OF if expected != "before" else AS_OF - STEP)
    for symbol, hours in expected if isinstance(expected, list) else []:
        known_at = AS_OF - hours * STEP
        right = right.filter(~((pl.col("symbol") == symbol) & (pl.col("known_at") == known_at)))
    assert_frame_equal(stored(context), right)


def test_a_second_run_changes_nothing(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        assert ingest_bars(context, AS_OF).changed
        before = versions(context)
        assert not ingest_bars(context, AS_OF).changed
        assert versions(context) == before


def test_the_first_run_fetches_the_repair_window(simulate, open_context, truth):
    with simulate() as venue:
        context = open_context(venue.base_url, ingest__repair_hours=5, ingest__restatement_hours=3)
        ingest_bars(context, AS_OF)
    assert_frame_equal(stored(context), truth(AS_OF - 5 * STEP, AS_OF))


def test_nullable_columns_come_exactly_as_the_venue_prints_them(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF)
        asked = {"symbol": "BTCUSDT", "interval": "1h", "endTime": 1717250399999, "limit": 1}
        rows = httpx.get(f"{venue.base_url}{KLINES}", params=asked).json()
    bar = context.lake.read("bars", end=AS_OF, symbols=["BTC/USDT"]).row(-1, named=True)
    assert bar["known_at"] == AS_OF
    assert bar["quote_volume"] == float(rows[0][7])
    assert bar["trades"] == int(rows[0][8])
    assert bar["taker_buy_volume"] == float(rows[0][9])


def test_a_late_bar_fills_its_gap_and_is_counted(simulate, open_context, truth):
    gap = {"kind": "gap", "symbol": "ETHUSDT", "from": opened(1), "until": opened(1)}
    with simulate(faults=[gap]) as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - STEP)
        venue.faults.clear()
        # One more hour must stand for the gap to lie before the newest bar.
        venue.faults.add(parse_faults([gap]))
        ingest_bars(context, AS_OF)
        venue.faults.clear()
        assert ingest_bars(context, AS_OF).changed
        assert not ingest_bars(context, AS_OF).changed
    assert_frame_equal(stored(context), truth(AS_OF - 49 * STEP, AS_OF))
    assert events(context, "late") == {"ETH/USDT": 1}


def test_a_young_restatement_is_overwritten_and_counted(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - STEP)
        before = stored(context).filter(pl.col("symbol") == "BTC/USDT")["close"][-2:].to_list()
        fault = {"kind": "restated", "factor": 1.01, "symbol": "BTCUSDT"}
        venue.faults.add(parse_faults([{**fault, "from": opened(2), "until": opened(1)}]))
        ingest_bars(context, AS_OF)
        assert not ingest_bars(context, AS_OF).changed
    after = stored(context).filter(pl.col("symbol") == "BTC/USDT")["close"][-3:-1].to_list()
    assert after == pytest.approx([1.01 * close for close in before], rel=1e-4)
    assert events(context, "restated") == {"BTC/USDT": 2}


def test_an_old_restatement_is_refused_by_name(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url, ingest__restatement_hours=3, ingest__repair_hours=10)
        ingest_bars(context, AS_OF - STEP)
        before = versions(context)
        fault = {"kind": "restated", "symbol": "BTCUSDT", "from": opened(6), "until": opened(6)}
        venue.faults.add(parse_faults([fault]))
        with pytest.raises(
            ContractViolation, match="BTC/USDT known at 2024-06-01T08:00Z"
        ) as caught:
            ingest_bars(context, AS_OF)
    assert "older than 3 h at" in str(caught.value)
    assert versions(context) == before


def test_a_refused_hour_is_in_quarantine_and_the_next_hour_goes_on(simulate, open_context, truth):
    fault = {"kind": "corrupt", "value": "negative", "symbol": "BTCUSDT"}
    fault |= {"from": opened(1), "until": opened(1)}
    with simulate(faults=[fault]) as venue:
        context = open_context(venue.base_url)
        with pytest.raises(ContractViolation, match=r"close \[quote\] is not > 0"):
            ingest_bars(context, AS_OF - STEP)
        kept = context.lake.read("quarantine", end=AS_OF)
        before = versions(context)
        with pytest.raises(ContractViolation, match="in quarantine"):
            ingest_bars(context, AS_OF - STEP)
        assert versions(context) == before
        ingest_bars(context, AS_OF)
    assert kept["symbol"].to_list() == ["BTC/USDT"]
    assert kept["known_at"].to_list() == [AS_OF - STEP]
    assert '"close":-' in kept["row"][0]
    missing = (pl.col("symbol") == "BTC/USDT") & (pl.col("known_at") == AS_OF - STEP)
    assert_frame_equal(stored(context), truth(AS_OF - 48 * STEP, AS_OF).filter(~missing))


def test_a_bar_that_is_restated_from_wrong_to_right_leaves_quarantine_behind(
    simulate, open_context, truth
):
    fault = {"kind": "corrupt", "value": "crossed", "symbol": "ETHUSDT", "from": opened(0)}
    with simulate(faults=[fault]) as venue:
        context = open_context(venue.base_url)
        with pytest.raises(ContractViolation):
            ingest_bars(context, AS_OF)
        venue.faults.clear()
        ingest_bars(context, AS_OF)
    assert_frame_equal(stored(context), truth(AS_OF - 48 * STEP, AS_OF))


def test_after_an_outage_the_hours_between_are_caught_up(simulate, open_context, truth):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - 200 * STEP)
        ingest_bars(context, AS_OF)
    assert_frame_equal(stored(context), truth(AS_OF - 248 * STEP, AS_OF))


def test_a_hole_too_long_to_catch_up_is_named(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - 2000 * STEP)
        ingest_bars(context, AS_OF)
    assert events(context, "behind") == {"*": 1}


@pytest.mark.parametrize(
    ("as_of", "message"),
    [
        (AS_OF + timedelta(minutes=30), "off the 1h grid"),
        (datetime(2200, 1, 1, tzinfo=UTC), "in the future"),
    ],
)
def test_an_instant_that_cannot_be_is_wrong_usage(as_of, message, open_context):
    with pytest.raises(ConfigError, match=message):
        ingest_bars(open_context("http://127.0.0.1:1"), as_of)


def test_an_hour_the_venue_has_not_closed_is_not_there_yet(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        with pytest.raises(SourceUnavailable, match="no 1h bar known at 2024-06-01T15:00Z"):
            ingest_bars(context, AS_OF + STEP)
    assert versions(context) == {}


def test_an_hour_that_never_was_is_an_outage_and_the_chain_goes_on(simulate, open_context, truth):
    hour = (AS_OF - 2 * STEP).isoformat()
    with simulate(faults=[{"kind": "gap", "from": hour, "until": hour}]) as venue:
        context = open_context(venue.base_url)
        silent = AS_OF - STEP
        with pytest.raises(ContractViolation, match="holds no bar known at 2024-06-01T13:00Z"):
            check_bars(context, silent)
        ingest_bars(context, silent)
        check_bars(context, silent)
        before = versions(context)
        assert not ingest_bars(context, silent).changed
        assert not check_bars(context, silent).changed
        assert versions(context) == before
        ingest_bars(context, AS_OF)
    assert events(context, "outage") == {"*": 1}
    right = truth(AS_OF - 49 * STEP, AS_OF).filter(pl.col("known_at") != silent)
    assert_frame_equal(stored(context), right)


def test_an_unknown_symbol_is_wrong_usage_and_the_nearest_is_named(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url, universe=["BTC/USDT", "ETH/USTD"])
        with pytest.raises(ConfigError, match="did you mean 'ETH/USDT'"):
            ingest_bars(context, AS_OF)
    assert versions(context) == {}


def test_a_watched_market_is_kept_in_its_own_table_and_cannot_stop_the_traded_one(
    simulate, open_context, truth
):
    extra = [
        {"venue": "upbit", "timeframe": "1h", "symbols": ["BTC/KRW"]},
        {"venue": "binanceusdm", "timeframe": "4h", "symbols": ["BTC/USDT:USDT"]},
    ]
    with simulate() as venue:
        context = open_context(venue.base_url, extra_markets=extra)
        ingest_bars(context, AS_OF)
        bars = context.lake.read("bars", end=AS_OF)
        korean = bars.filter(pl.col("venue") == "upbit")
        asked = truth(AS_OF - 48 * STEP, AS_OF, ("BTC/KRW",), "upbit")
        assert_frame_equal(korean.select(TRUTH), asked)
        assert korean["trades"].null_count() == korean["quote_volume"].null_count() == 48
        perpetual = context.lake.read("bars_4h", end=AS_OF)
        assert perpetual["known_at"][-1] == AS_OF - 2 * STEP
        assert perpetual.height == 12
        before = versions(context)
        assert not ingest_bars(context, AS_OF).changed
        assert versions(context) == before


def test_a_watched_venue_that_is_silent_is_noted(simulate, open_context, truth):
    extra = [{"venue": "upbit", "timeframe": "1h", "symbols": ["BTC/KRW"]}]
    silent = {"kind": "server_error", "status": 503, "path": "/candles/*"}
    silent = [silent, {**silent, "path": "/v1/candles/*"}]
    with simulate(faults=silent) as venue:
        context = open_context(venue.base_url, extra_markets=extra)
        ingest_bars(context, AS_OF)
    assert_frame_equal(stored(context), truth(AS_OF - 48 * STEP, AS_OF))
    assert events(context, "source_answers") == {"*": 1}
