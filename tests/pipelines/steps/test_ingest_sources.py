"""What is read beside the bars: asked for when it is due, missed without harm, and features that know it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from features.matrix import build_matrix
from pipelines.errors import ConfigError
from pipelines.feature_inputs import read_inputs
from pipelines.market_simulator.faults import parse_faults
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features, feature_names
from pipelines.steps.ingest_bars import ingest_bars
from pipelines.steps.ingest_sources import ingest_sources

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(2024, 6, 1, 14, tzinfo=UTC)
ALL = ("funding", "open_interest", "premium", "fear_greed", "macro")
TABLES = ("funding", "open_interest", "premiums", "indices")
FAMILIES = ["funding", "open_interest", "basis", "sentiment", "macro"]
NEEDS = ("funding_rate", "open_interest", "premium", "fear_greed", "vix", "dxy")
BTC = "BTC/USDT:USDT"


@pytest.fixture
def venue(simulate):
    with simulate() as simulator:
        yield simulator


@pytest.fixture
def context(venue, open_context):
    return open_context(
        venue.base_url,
        universe=["BTC/USDT", "ETH/USDT"],
        sources__enabled=list(ALL),
        features__families=FAMILIES,
    )


def versions(context):
    return {info.name: info.version for info in context.lake.describe()}


def noted(context, **where):
    rows = context.lake.read("quality", end=NOW + DAY)
    return rows.filter(~pl.col("passed"), **where)


def stored(context, table, end=NOW, column="known_at"):
    return context.lake.read(table, end=end)[column].to_list()


def law_holds(context, end):
    """Say whether `features` is what the builder gives from all bars and readings there are now."""
    lake, settings = context.lake, context.settings
    start = datetime(2020, 1, 1, tzinfo=UTC)
    inputs = read_inputs(lake, settings, start=start, end=end, needs=NEEDS)
    expected = build_matrix(inputs, timeframe=HOUR, names=feature_names(settings))
    return lake.read("features", end=end).equals(expected)


def test_the_first_hour_fetches_two_days_of_everything_and_a_second_run_changes_nothing(context):
    report = ingest_sources(context, NOW)
    assert report.detail["rows"] == {
        "binanceusdm funding": 6,
        "binanceusdm open_interest": 48,
        "binanceusdm premiums": 48,
        "alternative.me indices": 2,
        "yahoo indices": 4,
    }
    before = versions(context)
    assert not ingest_sources(context, NOW).changed
    assert versions(context) == before
    assert noted(context).is_empty()


def test_a_pair_without_a_perpetual_is_told_once_a_day(context, venue):
    venue.clock.set(now=NOW + 12 * HOUR)
    for hour in range(9, 12):
        ingest_sources(context, NOW + hour * HOUR)
    rows = noted(context)
    assert set(rows.select("check", "symbol", "known_at").rows()) == {
        ("listed", "ETH/USDT:USDT", NOW + 10 * HOUR)
    }
    assert sorted(rows["table"]) == ["funding", "open_interest", "premiums"]


def test_only_what_is_due_is_asked_for(context, venue):
    ingest_sources(context, NOW - 3 * HOUR)
    asked = {}
    for back in (2, 1, 0):
        asked |= {back: set(ingest_sources(context, NOW - back * HOUR).detail["rows"])}
    hourly = {"binanceusdm open_interest", "binanceusdm premiums"}
    assert asked == {2: hourly, 1: hourly, 0: hourly}
    venue.clock.set(now=NOW + 12 * HOUR)
    # Funding at 16:00, Fear & Greed at 01:00; on Sunday and Monday no close is due.
    due = {
        h: set(ingest_sources(context, NOW + h * HOUR).detail["rows"]) for h in (2, 3, 10, 11, 12)
    }
    assert due[2] - hourly == {"binanceusdm funding"}
    assert due[3] == due[12] == hourly
    assert due[10] - hourly == {"binanceusdm funding"}
    assert due[11] - hourly == {"alternative.me indices"}


def test_a_silent_source_stops_nothing_and_says_so(context, venue):
    broken = [{"kind": "server_error", "path": p} for p in ("/fng/*", "/futures/data/*")]
    venue.faults.add(parse_faults(broken))
    report = ingest_sources(context, NOW)
    assert report.detail["rows"]["binanceusdm premiums"] == 48
    assert report.detail["rows"]["alternative.me indices"] == 0
    rows = noted(context, check="source_answers")
    assert set(rows.select("table", "venue").rows()) == {
        ("indices", "alternative.me"),
        ("open_interest", "binanceusdm"),
    }
    assert "did not answer" in rows["observed"][0]
    assert not context.lake.exists("open_interest")
    venue.faults.clear()
    context.close()  # a client that met a dead venue leaves it alone for a while
    ingest_sources(context, NOW)
    assert len(stored(context, "open_interest")) == 48


def test_what_breaks_the_contract_is_quarantined_and_the_hour_goes_on(context, venue):
    wrong = {"kind": "corrupt", "path": "/fapi/v1/premiumIndexKlines", "symbol": "BTCUSDT"}
    at = (NOW - 5 * HOUR).isoformat()
    venue.faults.add(parse_faults([{**wrong, "from": at, "until": at}]))
    report = ingest_sources(context, NOW)
    assert report.detail["rows"]["binanceusdm premiums"] == 0
    assert report.detail["rows"]["binanceusdm open_interest"] == 48
    refused = context.lake.read("quarantine", end=NOW)
    assert refused.select("table", "symbol", "known_at").rows() == [
        ("premiums", BTC, NOW - 4 * HOUR)
    ]
    assert noted(context, check="source_agrees")["table"].to_list() == ["premiums"]
    # The next hour leaves the row out and goes on.
    venue.clock.set(now=NOW + HOUR + 10 * HOUR / 60)
    assert ingest_sources(context, NOW + HOUR).detail["rows"]["binanceusdm premiums"] == 47


def test_features_hour_by_hour_equal_one_pass_whatever_came_late(context, venue):
    venue.clock.set(now=NOW + 9 * HOUR)
    backfill(context, NOW - 9 * DAY, NOW - HOUR)
    build_features(context, NOW - HOUR)
    at = (NOW - HOUR).isoformat()
    late = [{"kind": "gap", "path": "/fapi/v1/premiumIndexKlines", "from": at, "until": at}]
    venue.faults.add(parse_faults(late))
    for hour in range(4):
        if hour == 2:
            venue.faults.clear()
        as_of = NOW + hour * HOUR
        ingest_bars(context, as_of)
        ingest_sources(context, as_of)
        assert build_features(context, as_of).detail["rebuilt_because"] is None
        assert hour == 0 or law_holds(context, as_of)
    # A premium was missing when its hour was traded, and is in the row of that hour now.
    assert noted(context, check="late").select("table", "failing_rows").rows() == [("premiums", 1)]


def test_readings_older_than_the_usual_window_rebuild_the_columns_they_feed(context, venue):
    dead = [{"kind": "server_error", "path": "/fng/*"}]
    venue.faults.add(parse_faults(dead))
    report = backfill(context, NOW - 40 * DAY, NOW)
    assert list(report.detail["refused"]) == ["alternative.me indices"]
    build_features(context, NOW)
    before = context.lake.read("features", end=NOW)
    assert before["fear_greed"].null_count() == before.height
    venue.faults.clear()
    assert backfill(context, NOW - 40 * DAY, NOW).detail["readings_added"] == 40
    report = build_features(context, NOW)
    assert report.detail["rebuilt_because"] == "columns changed"
    # Fear & Greed and the macro closes stand in one table.
    assert report.detail["columns_rebuilt"] == 6 + 12
    after = context.lake.read("features", end=NOW)
    assert after["fear_greed"].null_count() < after.height / 10
    kept = [name for name in before.columns if not name.startswith("fear_greed")]
    assert after.select(kept).equals(before.select(kept))
    assert law_holds(context, NOW)
    assert not build_features(context, NOW).changed


def test_a_reading_counts_until_it_is_stale(context, venue):
    backfill(context, NOW - 3 * DAY, NOW)
    venue.faults.add(parse_faults([{"kind": "server_error", "path": "/fapi/*"}]))
    venue.clock.set(now=NOW + 9 * HOUR)
    for hour in range(1, 9):
        ingest_bars(context, NOW + hour * HOUR)
        ingest_sources(context, NOW + hour * HOUR)
    inputs = read_inputs(
        context.lake, context.settings, start=NOW - HOUR, end=NOW + 8 * HOUR, needs=NEEDS
    ).filter(pl.col("symbol") == "BTC/USDT")
    known = inputs["premium"].is_not_null().to_list()
    assert known == [True] * 7 + [False] * 2
    assert inputs["premium"].n_unique() == 2  # the last that was said, and null
    assert inputs["funding_rate"].null_count() == 0


def test_history_comes_once_and_gaps_of_weekends_are_remembered(context):
    assert backfill(context, NOW - 70 * DAY, NOW).detail["refused"] == {}
    assert min(stored(context, "open_interest", column="observed_at")) > NOW - 30 * DAY
    assert len(stored(context, "funding")) == 210
    before = versions(context)
    assert not backfill(context, NOW - 70 * DAY, NOW).changed
    assert versions(context) == before


def test_a_source_that_is_off_is_neither_asked_nor_in_the_set(venue, open_context):
    context = open_context(venue.base_url, sources__enabled=["premium"])
    assert list(ingest_sources(context, NOW).detail["rows"]) == ["binanceusdm premiums"]
    names = feature_names(context.settings)
    assert "basis_level" in names
    assert not {"basis_minus_funding_8", "funding_level", "vix_level"} & set(names)
    off = open_context(venue.base_url, sources__enabled=["premium"], features__families=["macro"])
    with pytest.raises(ConfigError, match="family 'macro' can be computed: source 'macro' is not"):
        feature_names(off.settings)


def test_another_age_limit_rebuilds_the_columns_it_is_of(context, open_context, venue):
    backfill(context, NOW - 3 * DAY, NOW)
    build_features(context, NOW)
    other = open_context(
        venue.base_url,
        universe=["BTC/USDT", "ETH/USDT"],
        sources__enabled=list(ALL),
        sources__fear_greed_stale_hours=5.0,
        features__families=FAMILIES,
    )
    report = build_features(other, NOW)
    assert (report.detail["rebuilt_because"], report.detail["columns_rebuilt"]) == (
        "columns changed", 6,
    )  # fmt: skip
    assert law_holds(other, NOW)
