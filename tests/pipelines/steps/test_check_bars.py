from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.errors import ContractViolation
from pipelines.market_simulator.faults import parse_faults
from pipelines.steps.check_bars import check_bars
from pipelines.steps.ingest_bars import ingest_bars
from pipelines.tables import BARS

AS_OF = datetime(2024, 6, 1, 14, tzinfo=UTC)
STEP = timedelta(hours=1)


def versions(context):
    return {info.name: info.version for info in context.lake.describe()}


def outcomes(context):
    rows = context.lake.read("quality", end=AS_OF, start=AS_OF - STEP)
    return {
        (check, symbol): passed
        for check, symbol, passed in rows.select("check", "symbol", "passed").iter_rows()
    }


def put(context, frame):
    """Write bars past the ingestion, as a damaged copy of a lake would hold them."""
    known = frame["known_at"].sort()
    where = {"symbol": frame["symbol"].unique().to_list()}
    context.lake.replace(BARS, frame, start=known[0] - STEP, end=known[-1], where=where)


def test_a_healthy_hour_passes_every_check_and_a_second_run_changes_nothing(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF)
    assert check_bars(context, AS_OF).changed
    assert outcomes(context) == {
        (check, "*"): True
        for check in (
            "contract",
            "freshness",
            "completeness",
            "sane_ratio",
            "wide_range",
            "jump",
            "zero_volume",
            "constant_price",
            "quote_volume_agrees",
            "trades_agree",
        )
    }
    before = versions(context)
    assert not check_bars(context, AS_OF).changed
    assert versions(context) == before


def test_a_missing_symbol_is_named_and_the_rest_goes_on(simulate, open_context):
    hour = (AS_OF - STEP).isoformat()
    gap = {"kind": "gap", "symbol": "ETHUSDT", "from": hour, "until": hour}
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF - STEP)
        venue.faults.add(parse_faults([gap]))
        ingest_bars(context, AS_OF)
    check_bars(context, AS_OF)
    found = outcomes(context)
    assert found["freshness", "ETH/USDT"] is False
    assert found["completeness", "ETH/USDT"] is False
    assert ("freshness", "BTC/USDT") not in found


def test_a_misplaced_decimal_is_withdrawn_into_quarantine(simulate, open_context):
    with simulate() as venue:
        context = open_context(venue.base_url)
        ingest_bars(context, AS_OF)
        wrong = context.lake.read("bars", start=AS_OF - STEP, end=AS_OF, symbols=["ETH/USDT"])
        prices = [pl.col(name) * 100 for name in ("open", "high", "low", "close")]
        put(context, wrong.with_columns(prices))
        with pytest.raises(ContractViolation, match=r"1 row of ETH/USDT: .* log return \+4\.6"):
            check_bars(context, AS_OF)
        left = context.lake.read("bars", start=AS_OF - STEP, end=AS_OF)
        assert left["symbol"].to_list() == ["BTC/USDT", "SOL/USDT"]
        kept = context.lake.read("quarantine", end=AS_OF)
        assert kept.select("symbol", "known_at").rows() == [("ETH/USDT", AS_OF)]
        before = versions(context)
        with pytest.raises(ContractViolation, match="in quarantine"):
            check_bars(context, AS_OF)
        assert versions(context) == before
        # The venue says otherwise: the hour is mended by running it again.
        ingest_bars(context, AS_OF)
        check_bars(context, AS_OF)
    assert outcomes(context)["sane_ratio", "*"] is True


def test_without_bars_of_the_hour_there_is_nothing_to_check(open_context):
    with pytest.raises(
        ContractViolation, match="run `hourglass ingest-bars --as-of 2024-06-01T14:00Z` first"
    ):
        check_bars(open_context("http://127.0.0.1:1"), AS_OF)


def test_the_page_and_the_data_docs_are_written_at_midnight_and_the_first_time(
    simulate, open_context
):
    midnight = datetime(2024, 6, 1, tzinfo=UTC)
    with simulate() as venue:
        context = open_context(venue.base_url)
        for hours in (-1, 0, 1):
            ingest_bars(context, midnight + hours * STEP)
        written = [
            "page" in check_bars(context, midnight + hours * STEP).detail for hours in (-1, 0, 1)
        ]
    assert written == [True, True, False]
    folder = context.settings.home / "quality"
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "Quality as of 2024-06-01T00:00Z" in page
    assert "http" not in page
    assert list((folder / "data_docs" / "validations").rglob("*.html"))
    assert not list(folder.glob("*.tmp"))
