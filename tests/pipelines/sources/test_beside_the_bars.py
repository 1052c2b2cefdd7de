"""Open interest, premiums, Fear & Greed and macro closes: as they were published, as of when they were known."""

from datetime import UTC, datetime, timedelta

import pytest
import requests

from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.market_simulator.faults import parse_faults
from pipelines.settings import ExchangeConfig
from pipelines.sources.client import VenueClient
from pipelines.sources.exchange import ExchangeSource
from pipelines.sources.fear_greed import parse_fear_greed, read_fear_greed
from pipelines.sources.macro import parse_closes, read_closes
from pipelines.sources.open_interest import parse_open_interest, read_open_interest
from pipelines.sources.pages import BadPage
from pipelines.sources.premium import parse_premiums, read_premiums
from pipelines.sources.retry import Clockwork
from pipelines.tables import INDICES, OPEN_INTEREST, PREMIUMS

END = datetime(2024, 6, 1, 14, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LAG = timedelta(minutes=5)
PERPETUAL = "BTC/USDT:USDT"
MS = 3_600_000
QUICK = {"max_attempts": 2, "backoff_seconds": 0.01, "max_backoff_seconds": 0.2}


@pytest.fixture
def venue(simulate):
    """`venue(faults)` serves the market; gives the host, a source of perpetuals and publishers' clients."""
    opened = []
    with simulate() as simulator:

        def config() -> ExchangeConfig:
            return ExchangeConfig(base_url=simulator.base_url, timeout_seconds=2.0, **QUICK)

        def publisher(name: str) -> VenueClient:
            opened.append(VenueClient(name, config(), Clockwork()))
            return opened[-1]

        opened.append(ExchangeSource("binanceusdm", config()))
        yield simulator, opened[0], publisher
    for one in opened:
        one.close()


def test_open_interest_is_what_the_venue_prints_known_five_minutes_later(venue) -> None:
    simulator, source, _ = venue
    fetched = source.fetch_series(
        read_open_interest, OPEN_INTEREST, [PERPETUAL], start=END - 3 * HOUR, end=END, lag=LAG
    )
    query = {"symbol": "BTCUSDT", "period": "1h", "limit": 4}
    address = f"{simulator.base_url}/futures/data/openInterestHist"
    told = requests.get(address, params=query, timeout=5).json()
    rows = fetched.rows
    # That of 14:00 is known at 14:05, so not at 14:00.
    assert rows["known_at"].to_list() == [END - k * HOUR + LAG for k in (3, 2, 1)]
    assert rows["observed_at"].to_list() == [END - k * HOUR for k in (3, 2, 1)]
    assert rows["open_interest"].to_list() == [float(row["sumOpenInterest"]) for row in told[:3]]


def test_open_interest_older_than_the_venue_serves_is_not_asked_for(venue) -> None:
    _, source, _ = venue
    asked = {"start": END - 90 * DAY, "end": END, "lag": LAG}
    rows = source.fetch_series(read_open_interest, OPEN_INTEREST, [PERPETUAL], **asked).rows
    assert END - 30 * DAY < rows["observed_at"].min() < END - 29 * DAY
    assert rows.height == rows["known_at"].n_unique() > 500  # more than one page


def test_premiums_are_closes_over_the_spot_pair_at_the_instant_their_hour_closed(
    venue, truth
) -> None:
    _, source, _ = venue
    start = END - 1100 * HOUR
    rows = source.fetch_series(read_premiums, PREMIUMS, [PERPETUAL], start=start, end=END).rows
    assert (rows.height, rows["known_at"].max()) == (1100, END)
    own = truth(start, END, (PERPETUAL,), "binanceusdm")["close"]
    its = truth(start, END, ("BTC/USDT",))["close"]
    assert rows["premium"].to_list() == pytest.approx((own / its - 1).to_list(), abs=1e-8)


def test_a_contract_the_venue_does_not_list_is_told_and_raises_nothing(venue) -> None:
    _, source, _ = venue
    fetched = source.fetch_series(
        read_premiums, PREMIUMS, [PERPETUAL, "SOL/USDT:USDT"], start=END - HOUR, end=END
    )
    assert list(fetched.unknown) == ["SOL/USDT:USDT"]
    assert fetched.rows["symbol"].to_list() == [PERPETUAL]


def test_a_venue_without_these_endpoints_is_refused(simulate) -> None:
    with simulate() as simulator:
        spot = ExchangeSource("upbit", ExchangeConfig(base_url=simulator.base_url, **QUICK))
        asked = {"start": END - HOUR, "end": END}
        with pytest.raises(ConfigError, match="the open interest of upbit is not read"):
            spot.fetch_series(read_open_interest, OPEN_INTEREST, [PERPETUAL], lag=LAG, **asked)
        with pytest.raises(ConfigError, match="the premium index of upbit is not read"):
            spot.fetch_series(read_premiums, PREMIUMS, [PERPETUAL], **asked)
        spot.close()


def test_fear_and_greed_of_a_date_is_known_an_hour_into_it(venue, market) -> None:
    simulator, _, publisher = venue
    rows = read_fear_greed(
        publisher("alternative.me"), simulator.base_url,
        start=END - 3 * DAY, end=END, now=END, lag=HOUR,
    )  # fmt: skip
    midnight = END.replace(hour=0)
    assert rows.schema == INDICES.schema
    assert rows["date"].to_list() == [midnight - k * DAY for k in (2, 1, 0)]
    assert rows["known_at"].to_list() == [midnight - k * DAY + HOUR for k in (2, 1, 0)]
    truth = market.index("FEAR_GREED", round(END.timestamp() * 1000))[1][-3:]
    assert rows["value"].to_list() == truth.tolist()


def test_a_close_is_never_known_on_its_own_day_though_the_publisher_hands_it_out(
    venue, market
) -> None:
    simulator, _, publisher = venue
    # Friday 31 May at 15:00: the publisher shows the day that still trades.
    friday = datetime(2024, 5, 31, 15, tzinfo=UTC)
    simulator.clock.set(now=friday)
    address = f"{simulator.base_url}/v8/finance/chart/%5EVIX"
    forming = requests.get(address, timeout=5).json()["chart"]["result"][0]
    assert datetime.fromtimestamp(forming["timestamp"][-1], UTC).day == 31
    client, lag = publisher("yahoo"), timedelta(hours=30)
    asked = {"start": friday - 5 * DAY, "lag": lag}
    seen = read_closes(client, simulator.base_url, "VIX", end=friday, **asked)
    assert [d.day for d in seen["date"]] == [27, 28, 29, 30]
    simulator.clock.set(now=END)
    later = read_closes(client, simulator.base_url, "VIX", end=END, **asked)
    assert later["known_at"].to_list()[-1] == datetime(2024, 6, 1, 6, tzinfo=UTC)
    assert later["value"][-1] == market.index("VIX", round(END.timestamp() * 1000))[1][-1]
    assert later.head(4).drop("ingested_at").equals(seen.drop("ingested_at"))


def test_a_publisher_that_does_not_answer_is_unavailable(venue) -> None:
    simulator, _, publisher = venue
    simulator.faults.add(parse_faults([{"kind": "server_error", "path": "/fng/*"}]))
    with pytest.raises(SourceUnavailable, match=r"alternative\.me did not answer the Fear & Greed"):
        read_fear_greed(
            publisher("alternative.me"), simulator.base_url,
            start=END - DAY, end=END, now=END, lag=HOUR,
        )  # fmt: skip


def test_a_publisher_that_answers_something_else_is_refused(venue) -> None:
    simulator, _, publisher = venue
    host = f"{simulator.base_url}/api/v3/time?"
    with pytest.raises(ContractViolation, match="yahoo answered the closes of VIX with"):
        read_closes(publisher("yahoo"), host, "VIX", start=END - 5 * DAY, end=END, lag=30 * HOUR)


def chart(*rows: tuple[object, object], name: str = "^VIX") -> dict:
    told = {"meta": {"symbol": name}, "timestamp": [row[0] for row in rows]}
    told["indicators"] = {"quote": [{"close": [row[1] for row in rows]}]}
    return {"chart": {"result": [told], "error": None}}


FIRST, LAST = 0, 10 * 24 * MS


def test_a_day_without_a_close_is_missing_and_noise_is_rounded_away() -> None:
    found = parse_closes(chart((48_600, 16.100000381), (135_000, None)), "^VIX", FIRST, LAST)
    assert found == {0: 16.1}


@pytest.mark.parametrize(
    ("parse", "message"),
    [
        (lambda: parse_closes(chart((0, 1.0), (9, 2.0)), "^VIX", FIRST, LAST), "disagree"),
        (lambda: parse_closes(chart((0, 1.0)), "DX-Y.NYB", FIRST, LAST), "not of DX-Y.NYB"),
        (lambda: parse_closes({"chart": None}, "^VIX", FIRST, LAST), "not a chart"),
        (lambda: parse_fear_greed({"data": [{"value": "4"}]}, FIRST, LAST), "without a date"),
        (lambda: parse_fear_greed({"data": [{"timestamp": "60"}]}, FIRST, LAST), "no midnight"),
        (lambda: parse_fear_greed([], FIRST, LAST), "not a list of index values"),
        (lambda: parse_premiums([[MS, 0, 0, 0, "x"]], FIRST, LAST), "not a number"),
        (lambda: parse_premiums([[MS + 1, 0, 0, 0, "0"]], FIRST, LAST), "off the hour"),
        (lambda: parse_premiums([[LAST, 0, 0, 0, "0"]], FIRST, LAST), "outside the span"),
        (lambda: parse_premiums({}, FIRST, LAST), "not a list of klines"),
        (lambda: parse_open_interest([{"symbol": "X"}], "Y", FIRST, LAST), "not of Y"),
        (
            lambda: parse_open_interest([{"symbol": "Y", "timestamp": 5}], "Y", FIRST, LAST),
            "off the hour",
        ),
        (lambda: parse_open_interest([{"symbol": "Y"}], "Y", FIRST, LAST), "at no instant"),
    ],
)
def test_answers_that_are_not_what_was_asked_are_bad_pages(parse, message: str) -> None:
    with pytest.raises(BadPage, match=message):
        parse()
