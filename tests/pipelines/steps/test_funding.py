"""The funding of perpetuals from the venue to the lake: waited for, kept, restated, refused."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.errors import ContractViolation, SourceUnavailable
from pipelines.market_simulator import ReplayMarket, SyntheticMarket, running_simulator
from pipelines.market_simulator.faults import parse_faults
from pipelines.steps import backfill as module
from pipelines.steps.backfill import backfill
from pipelines.steps.check_bars import check_bars
from pipelines.steps.ingest_bars import ingest_bars

PAID = datetime(2024, 6, 1, 8, tzinfo=UTC)
STEP = timedelta(hours=1)
EIGHT_HOURS = 8 * STEP
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
CONTRACTS = {"venue": "binanceusdm", "universe": [BTC, ETH]}
RATES = "/fapi/v1/fundingRate"


@pytest.fixture(scope="session")
def contracts():
    return SyntheticMarket((BTC, ETH), seed=7)


@pytest.fixture
def venue(contracts):
    """Ten minutes past the hour in which funding was paid."""
    with running_simulator(contracts, now=PAID + timedelta(minutes=10)) as simulator:
        yield simulator


def truth(market, start, end, symbols=(BTC, ETH)):
    """Return (symbol, known_at, funding_rate) as the market itself tells them."""
    rows = []
    for item in market.instruments:
        times, rates = market.funding(item, round(end.timestamp() * 1000))
        told = zip(times.tolist(), rates.tolist(), strict=True)
        paid = [(datetime.fromtimestamp(time / 1000, UTC), rate) for time, rate in told]
        rows += [(item.symbol, at, r) for at, r in paid if at > start and item.symbol in symbols]
    return sorted(rows)


def stored(context, end=PAID):
    return context.lake.read("funding", end=end).select("symbol", "known_at", "funding_rate").rows()


def versions(context):
    return {info.name: info.version for info in context.lake.describe()}


def noted(context, check):
    rows = context.lake.read("quality", end=PAID + 48 * STEP).filter(pl.col("check") == check)
    return rows.select("table", "symbol", "known_at", "passed").rows()


def silent(*hours):
    """Return the faults of a venue that does not tell what was paid at these hours of the day."""
    days = [PAID.replace(hour=hour % 24) + timedelta(days=hour // 24) for hour in hours]
    gap = {"kind": "gap", "path": RATES, "symbol": "BTCUSDT"}
    return parse_faults([{**gap, "from": d.isoformat(), "until": d.isoformat()} for d in days])


def test_the_funding_of_the_same_window_comes_with_the_bars(venue, open_context, contracts):
    context = open_context(venue.base_url, **CONTRACTS)
    report = ingest_bars(context, PAID)
    assert report.detail["bars"] == {"binanceusdm 1h": 2, "binanceusdm funding": 2}
    assert stored(context) == truth(contracts, PAID - 48 * STEP, PAID)
    assert len(stored(context)) == 12
    before = versions(context)
    assert before == {"bars": 0, "funding": 0}
    assert not ingest_bars(context, PAID).changed
    assert versions(context) == before
    assert check_bars(context, PAID).changed
    assert noted(context, "funding_is_current") == [("funding", "*", PAID, True)]
    assert not check_bars(context, PAID).changed


def test_spot_alone_asks_for_no_funding(simulate, open_context):
    never = {"kind": "server_error", "status": 500, "path": "/fapi/*"}
    with simulate(faults=[never]) as spot:
        context = open_context(spot.base_url)
        ingest_bars(context, PAID)
        check_bars(context, PAID)
    assert not context.lake.exists("funding")
    assert noted(context, "funding_is_current") == []


def test_a_payment_that_is_due_is_waited_for(venue, open_context, contracts):
    context = open_context(venue.base_url, **CONTRACTS)
    ingest_bars(context, PAID - STEP)
    venue.faults.add(silent(8))
    with pytest.raises(SourceUnavailable, match=f"funding of {BTC} due at 2024-06-01T08:00Z yet"):
        ingest_bars(context, PAID)
    assert len(stored(context)) == 12
    venue.faults.clear()
    ingest_bars(context, PAID)
    assert stored(context) == truth(contracts, PAID - 49 * STEP, PAID)
    assert noted(context, "unpaid") == []


def test_a_payment_that_was_never_made_is_noted_and_the_hour_goes_on(venue, open_context):
    context = open_context(venue.base_url, **CONTRACTS)
    ingest_bars(context, PAID - STEP)
    venue.faults.add(silent(8))
    venue.clock.set(now=PAID + STEP)
    ingest_bars(context, PAID)
    check_bars(context, PAID)
    assert noted(context, "unpaid") == [("funding", BTC, PAID, False)]
    before = versions(context)
    assert not ingest_bars(context, PAID).changed
    # Asked for once, at its hour: the next one has nothing to wait for.
    ingest_bars(context, PAID + STEP)
    assert before["quality"] == versions(context)["quality"]
    venue.faults.clear()
    ingest_bars(context, PAID + STEP)
    assert (BTC, PAID) in [row[:2] for row in stored(context)]


def test_funding_that_has_stopped_refuses_the_hour_and_keeps_its_bars(venue, open_context):
    context = open_context(venue.base_url, **CONTRACTS)
    ingest_bars(context, PAID)
    late = PAID + 17 * STEP
    venue.clock.set(now=late + 2 * STEP)
    venue.faults.add(silent(16, 24))
    ingest_bars(context, late)
    told = f"{BTC}: newest rate 2024-06-01T08:00Z, interval 8 h"
    for _ in range(2):
        with pytest.raises(ContractViolation, match=told):
            check_bars(context, late)
    assert set(noted(context, "funding_is_current")) == {
        ("funding", "*", late, False), ("funding", BTC, late, False)
    }  # fmt: skip
    assert context.lake.read("bars", start=late - STEP, end=late).height == 2
    venue.faults.clear()
    ingest_bars(context, late)
    check_bars(context, late)
    assert noted(context, "funding_is_current")[-1] == ("funding", "*", late, True)


def test_a_contract_that_was_delisted_owes_nothing(venue, open_context):
    context = open_context(venue.base_url, **CONTRACTS)
    ingest_bars(context, PAID - STEP)
    at = (PAID - STEP).isoformat()
    venue.faults.add(parse_faults([{"kind": "delisted", "symbol": "BTCUSDT", "at": at}]))
    ingest_bars(context, PAID)
    check_bars(context, PAID)
    assert [row[0] for row in stored(context) if row[1] == PAID] == [ETH]


def test_a_young_restatement_is_overwritten_and_an_old_one_refused(venue, open_context):
    context = open_context(venue.base_url, ingest__restatement_hours=10, **CONTRACTS)
    ingest_bars(context, PAID)
    before = {row[:2]: row[2] for row in stored(context)}
    fault = {"kind": "restated", "factor": 2.0, "path": RATES, "symbol": "BTCUSDT"}
    venue.faults.add(parse_faults([{**fault, "from": PAID.isoformat()}]))
    ingest_bars(context, PAID)
    after = {row[:2]: row[2] for row in stored(context)}
    assert after == before | {(BTC, PAID): pytest.approx(2 * before[BTC, PAID], abs=1e-8)}
    assert noted(context, "restated") == [("funding", BTC, PAID, False)]
    old = (PAID - 16 * STEP).isoformat()
    venue.faults.add(parse_faults([{**fault, "from": old, "until": old}]))
    with pytest.raises(
        ContractViolation, match=f"funding: 1 rows differ .* {BTC} known at 2024-05"
    ):
        ingest_bars(context, PAID)


@pytest.mark.parametrize(("factor", "value"), [(1e4, None), (1.0, "nan")])
def test_a_rate_beyond_any_cap_is_in_quarantine(factor, value, venue, open_context):
    fault = {"path": RATES, "symbol": "ETHUSDT", "from": PAID.isoformat()}
    fault |= (
        {"kind": "corrupt", "value": value} if value else {"kind": "restated", "factor": factor}
    )
    venue.faults.add(parse_faults([fault]))
    context = open_context(venue.base_url, **CONTRACTS)
    with pytest.raises(ContractViolation, match="1 row of ETH/USDT:USDT: funding_rate"):
        ingest_bars(context, PAID)
    assert not context.lake.exists("funding")
    kept = context.lake.read("quarantine", end=PAID)
    assert kept.select("table", "symbol", "known_at").rows() == [("funding", ETH, PAID)]


def test_after_an_outage_the_funding_between_is_caught_up(venue, open_context, contracts):
    context = open_context(venue.base_url, **CONTRACTS)
    ingest_bars(context, PAID - 200 * STEP)
    ingest_bars(context, PAID)
    assert stored(context) == truth(contracts, PAID - 248 * STEP, PAID)


def test_a_backfill_brings_funding_once(venue, open_context, contracts):
    start, end = datetime(2024, 2, 10, 3, tzinfo=UTC), datetime(2024, 5, 20, 19, tzinfo=UTC)
    context = open_context(venue.base_url, **CONTRACTS)
    report = backfill(context, start, end)
    paid = truth(contracts, datetime(2024, 2, 10, tzinfo=UTC), end)
    assert stored(context, end) == paid
    assert report.detail["rates_added"] == len(paid) == 2 * 302
    before = versions(context)
    venue.faults.add(parse_faults([{"kind": "server_error", "path": RATES}]))
    assert not backfill(context, start, end).changed
    assert versions(context) == before


def test_a_lake_that_has_the_bars_gets_the_funding_it_lacks(
    venue, open_context, contracts, monkeypatch
):
    start = PAID - timedelta(days=40)
    context = open_context(venue.base_url, **CONTRACTS)
    monkeypatch.setattr(module, "with_funding", list)
    backfill(context, start, PAID)
    monkeypatch.undo()
    assert not context.lake.exists("funding")
    report = backfill(context, start, PAID)
    assert (report.detail["bars_added"], report.detail["rates_added"]) == (0, 240)
    assert stored(context) == truth(contracts, start, PAID)


def test_payments_that_were_never_made_are_asked_for_once(venue, open_context):
    start, end = datetime(2024, 4, 1, tzinfo=UTC), datetime(2024, 5, 20, tzinfo=UTC)
    gap = {"kind": "gap", "path": RATES, "symbol": "BTCUSDT", "from": "2024-04-03T08:00Z"}
    venue.faults.add(parse_faults([{**gap, "until": "2024-04-04T00:00Z"}]))
    context = open_context(venue.base_url, **CONTRACTS)
    backfill(context, start, end)
    before = versions(context)
    venue.faults.add(parse_faults([{"kind": "server_error", "path": RATES}]))
    assert not backfill(context, start, end).changed
    assert versions(context) == before
    rows = context.lake.read("quality", end=end).filter(pl.col("check") == "gap_confirmed")
    assert rows.select("table", "symbol", "failing_rows").rows() == [("funding", BTC, 3)]


@pytest.mark.market
def test_real_funding_is_the_parquet_file_rate_for_rate(market_folder, open_context):
    start, end = datetime(2022, 10, 1, tzinfo=UTC), datetime(2022, 12, 1, tzinfo=UTC)
    with running_simulator(ReplayMarket(market_folder), now=end + STEP) as venue:
        symbols = [BTC, ETH, "SOL/USDT:USDT"]
        context = open_context(venue.base_url, venue="binanceusdm", universe=symbols)
        backfill(context, start, end)
        assert not backfill(context, start, end).changed
    for symbol in symbols:
        name = symbol.split("/", maxsplit=1)[0]
        file = pl.read_parquet(market_folder / f"funding/binance_perp/{name}USDT.parquet")
        paid = file.filter((pl.col("funding_time") > start) & (pl.col("funding_time") <= end))
        rates = context.lake.read("funding", end=end, symbols=[symbol])
        assert rates["funding_rate"].to_list() == paid["funding_rate"].to_list()
        assert rates["known_at"].to_list() == paid["funding_time"].to_list()
        # An hour's open stands for the price at the payment.
        assert rates["mark_price"].null_count() == 0
