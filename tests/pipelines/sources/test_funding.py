from datetime import UTC, datetime, timedelta

import pytest
import requests

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.market_simulator import ReplayMarket, SyntheticMarket, running_simulator
from pipelines.settings import ExchangeConfig
from pipelines.sources import funding
from pipelines.sources.client import UnknownSymbol
from pipelines.sources.exchange import ExchangeSource, MarketFilters
from pipelines.sources.pages import BadPage
from pipelines.tables import FUNDING

END = datetime(2024, 6, 1, 14, tzinfo=UTC)
PAID = datetime(2024, 6, 1, 8, tzinfo=UTC)
EIGHT_HOURS = timedelta(hours=8)
PERPETUAL = "BTC/USDT:USDT"
RATES = "/fapi/v1/fundingRate"


@pytest.fixture
def connect():
    sources = []

    def make(base_url, venue="binanceusdm"):
        quick = {"max_attempts": 2, "backoff_seconds": 0.01, "max_backoff_seconds": 0.2}
        config = ExchangeConfig(base_url=base_url, timeout_seconds=2.0, **quick)
        sources.append(ExchangeSource(venue, config))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def test_the_funding_that_was_paid_comes_exactly_as_the_venue_prints_it(simulate, connect):
    with simulate() as simulator:
        fetched = connect(simulator.base_url).fetch_funding(
            [PERPETUAL], start=END - timedelta(days=2), end=END
        )
        query = {"symbol": "BTCUSDT", "limit": 6}
        told = requests.get(simulator.base_url + RATES, params=query, timeout=5).json()
    rates = fetched.rows
    assert rates.schema == FUNDING.schema
    assert rates["known_at"].to_list() == [PAID - k * EIGHT_HOURS for k in range(5, -1, -1)]
    assert rates["funding_rate"].to_list() == [float(row["fundingRate"]) for row in told]
    assert rates["mark_price"].to_list() == [float(row["markPrice"]) for row in told]
    assert set(rates.select("venue", "symbol").rows()) == {("binanceusdm", PERPETUAL)}


def test_the_start_is_left_out_and_the_end_is_in(simulate, connect):
    with simulate() as simulator:
        fetched = connect(simulator.base_url).fetch_funding(
            [PERPETUAL], start=PAID - EIGHT_HOURS, end=PAID
        )
    assert fetched.rows["known_at"].to_list() == [PAID]


def test_a_rate_that_is_not_yet_paid_never_comes(simulate, connect):
    tomorrow = END + timedelta(days=1)
    with simulate() as simulator:
        source = connect(simulator.base_url)
        fetched = source.fetch_funding([PERPETUAL], start=PAID - EIGHT_HOURS, end=tomorrow)
        assert fetched.rows["known_at"].to_list() == [PAID]
        simulator.clock.set(now=tomorrow)
        later = source.fetch_funding([PERPETUAL], start=PAID, end=tomorrow)
    assert later.rows["known_at"].to_list() == [PAID + k * EIGHT_HOURS for k in (1, 2, 3)]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_pages_of_any_size_give_the_same_history(size, simulate, connect, monkeypatch):
    start = END - timedelta(days=9)
    with simulate() as simulator:
        source = connect(simulator.base_url)
        whole = source.fetch_funding([PERPETUAL], start=start, end=END).rows
        monkeypatch.setattr(funding, "PAGE_RATES", size)
        paged = source.fetch_funding([PERPETUAL], start=start, end=END).rows
    assert whole.height == 27
    assert paged.drop("ingested_at").equals(whole.drop("ingested_at"))


def test_five_years_come_over_many_pages(simulate, connect):
    start = datetime(2019, 1, 1, tzinfo=UTC)
    with simulate() as simulator:
        rates = connect(simulator.base_url).fetch_funding([PERPETUAL], start=start, end=PAID).rows
    assert rates.height == (PAID - start) // EIGHT_HOURS
    assert rates["known_at"].diff().drop_nulls().unique().to_list() == [EIGHT_HOURS]


def test_spot_pairs_have_no_funding_and_cost_no_request(connect):
    nobody = connect("http://127.0.0.1:9", "binance")
    fetched = nobody.fetch_funding(["BTC/USDT", "ETH/USDT"], start=PAID, end=END)
    assert fetched.rows.is_empty()
    assert fetched.rows.schema == FUNDING.schema


def test_a_venue_whose_funding_is_not_read_is_wrong_usage(simulate, connect):
    with simulate() as simulator:
        source = connect(simulator.base_url, "binance")
        with pytest.raises(ConfigError, match="trade contracts on binanceusdm"):
            source.fetch_funding([PERPETUAL], start=PAID, end=END)


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("binance", PERPETUAL), ("binanceusdm", "BTC/USDT"), ("binanceusdm", PERPETUAL + "-240628")],
)
def test_another_market_of_the_same_name_never_answers(venue, symbol, simulate, connect):
    with simulate() as simulator:
        source = connect(simulator.base_url, venue)
        with pytest.raises(UnknownSymbol, match="did you mean 'BTC/USDT"):
            source.fetch_bars(symbol, "1h", start=PAID, end=END)


def test_the_filters_of_a_contract_are_those_of_its_exchange_info(simulate, connect):
    with simulate() as simulator:
        filters = connect(simulator.base_url).filters([PERPETUAL])
    assert filters == {PERPETUAL: MarketFilters(lot=1e-05, tick=0.1, minimum_notional=5.0)}


FAULTS = {
    "duplicates": ({"kind": "duplicate"}, None),
    "a page backwards": ({"kind": "out_of_order"}, None),
    "a rate limit once": ({"kind": "rate_limited", "retry_after": 0, "count": 1}, None),
    "JSON cut once": ({"kind": "truncated", "count": 1}, None),
    "a wrong page once": ({"kind": "unfinished", "stamp": "ahead", "count": 1}, None),
    "a server error": ({"kind": "server_error", "status": 500}, SourceUnavailable),
    "a rate of the future": ({"kind": "unfinished", "stamp": "ahead"}, ContractViolation),
    "a rate to come as if paid": ({"kind": "unfinished"}, ContractViolation),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_leaves_right_rates_or_a_refusal(name, simulate, connect):
    fault, refusal = FAULTS[name]
    start = END - timedelta(days=2)
    with simulate() as simulator:
        right = connect(simulator.base_url).fetch_funding([PERPETUAL], start=start, end=END)
    with simulate(faults=[{**fault, "path": RATES}]) as simulator:
        source = connect(simulator.base_url)
        if refusal is not None:
            with pytest.raises(refusal):
                source.fetch_funding([PERPETUAL], start=start, end=END)
            return
        fetched = source.fetch_funding([PERPETUAL], start=start, end=END)
    assert fetched.rows.drop("ingested_at").equals(right.rows.drop("ingested_at"))
    assert fetched.duplicates == ({PERPETUAL: 6} if name == "duplicates" else {})


def test_a_contract_nobody_knows_is_told_beside_the_others(simulate, connect):
    with simulate() as simulator:
        fetched = connect(simulator.base_url).fetch_funding(
            ["NOPE/USDT:USDT", PERPETUAL], start=PAID - EIGHT_HOURS, end=END
        )
    assert fetched.rows["symbol"].to_list() == [PERPETUAL]
    assert list(fetched.unknown) == ["NOPE/USDT:USDT"]


def row(stamp, rate="0.00010000", mark="43000.10", symbol="BTCUSDT"):
    return {"symbol": symbol, "fundingTime": stamp, "fundingRate": rate, "markPrice": mark}


def test_a_stamp_a_few_milliseconds_late_is_floored_to_its_second():
    rates = funding.parse_rates(
        [row(1717228800005), row(1717257600000, rate="-0.00025", mark="")], "BTCUSDT", 0, 2**62
    )
    assert rates == {1717228800000: (0.0001, 43000.1), 1717257600000: (-0.00025, None)}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"code": 0}, "not a list"),
        ([["1717228800000"]], "not of BTCUSDT"),
        ([row(10_000, symbol="ETHUSDT")], "not of BTCUSDT"),
        ([row(None)], "paid at no instant"),
        ([row(9_999)], "outside the span"),
        ([row(20_001)], "outside the span"),
        ([row("soon")], "'soon', not a number"),
        ([row(10_000, rate="much")], "'much', not a number"),
        ([row(10_000), row(10_005, rate="0.0002")], "disagree"),
    ],
)
def test_a_page_that_cannot_be_is_refused(answer, message):
    with pytest.raises(BadPage, match=message):
        funding.parse_rates(answer, "BTCUSDT", 10_000, 20_000)


def test_a_market_of_contracts_alone_is_read_in_parallel(connect):
    symbols = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
    with running_simulator(SyntheticMarket(symbols), now=END) as simulator:
        source = connect(simulator.base_url)
        rates = source.fetch_funding(symbols, start=PAID - EIGHT_HOURS, end=END).rows
    assert rates["symbol"].to_list() == sorted(symbols)


@pytest.mark.market
def test_real_funding_comes_as_it_was_paid_every_two_hours_in_the_panic(market_folder, connect):
    # While FTX failed, SOL paid every four hours and then every two, shorts up to 2 % a time.
    start, end = datetime(2022, 11, 9, tzinfo=UTC), datetime(2022, 11, 20, tzinfo=UTC)
    with running_simulator(ReplayMarket(market_folder), now=end) as simulator:
        rates = connect(simulator.base_url).fetch_funding(["SOL/USDT:USDT"], start=start, end=end)
    assert rates.rows["funding_rate"].min() == -0.02
    hours = rates.rows["known_at"].diff().drop_nulls().dt.total_hours()
    assert hours.value_counts().sort("known_at").rows() == [(2, 98), (4, 3), (8, 6)]
