from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipelines import clock
from pipelines.errors import ConfigError, ContractViolation, SourceUnavailable
from pipelines.settings import ExchangeConfig
from pipelines.sources.client import KLINE_VENUES, UnknownSymbol, VenueClient, seconds_to_wait
from pipelines.sources.exchange import ExchangeSource, MarketFilters
from pipelines.sources.retry import Clockwork

END = datetime(2024, 6, 1, 14, tzinfo=UTC)
STEP = timedelta(hours=1)
TRUTH = ["venue", "symbol", "known_at", "open_time", "open", "high", "low", "close", "volume"]


@pytest.fixture
def connect():
    """`connect(base_url, venue)`: a source that gives up quickly."""
    sources = []

    def make(base_url, venue="binance", **config):
        quick = {"max_attempts": 2, "backoff_seconds": 0.01, "max_backoff_seconds": 0.2}
        config = ExchangeConfig(**{"base_url": base_url, "timeout_seconds": 2.0, **quick, **config})
        sources.append(ExchangeSource(venue, config))
        return sources[-1]

    yield make
    for source in sources:
        source.close()


@pytest.mark.parametrize(
    ("venue", "symbol"),
    [("binance", "BTC/USDT"), ("binanceusdm", "BTC/USDT:USDT"), ("upbit", "BTC/KRW")],
)
def test_every_venue_gives_the_markets_bars_over_many_pages(
    venue, symbol, simulate, connect, truth
):
    start = END - 2500 * STEP
    with simulate() as simulator:
        bars = connect(simulator.base_url, venue).fetch_bars(symbol, "1h", start=start, end=END)
    assert_frame_equal(bars.select(TRUTH), truth(start, END, (symbol,), venue))
    told = {"binance": 0, "binanceusdm": 0, "upbit": 2500}[venue]
    assert bars["trades"].null_count() == bars["taker_buy_volume"].null_count() == told


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h", "1d"])
def test_bars_of_every_timeframe_lie_on_its_grid(timeframe, simulate, connect):
    step = {"1m": timedelta(minutes=1), "5m": timedelta(minutes=5), "1h": STEP}.get(
        timeframe, timedelta(days=1)
    )
    with simulate() as simulator:
        source = connect(simulator.base_url)
        bars = source.fetch_bars("ETH/USDT", timeframe, start=END - 30 * step, end=END)
    assert bars.height == 30
    assert (bars["known_at"] - bars["open_time"]).unique().to_list() == [step]


def test_a_bar_that_is_not_closed_never_comes(simulate, connect):
    with simulate() as simulator:
        source = connect(simulator.base_url)
        bars = source.fetch_bars("BTC/USDT", "1h", start=END - 2 * STEP, end=END + 5 * STEP)
        # Ten minutes past the hour: the clock of the venue decides, not what was asked.
        assert bars["known_at"].to_list() == [END - STEP, END]
        simulator.clock.set(now=END + 5 * STEP)
        later = source.fetch_bars("BTC/USDT", "1h", start=END, end=END + 5 * STEP)
    assert later.height == 5


def test_an_unknown_symbol_names_the_nearest(simulate, connect):
    with simulate() as simulator:
        source = connect(simulator.base_url)
        with pytest.raises(UnknownSymbol, match="did you mean 'BTC/USDT'"):
            source.fetch_bars("BTC/USDX", "1h", start=END - STEP, end=END)
        with pytest.raises(ConfigError, match="does not list 'BTCUSDT'"):
            source.check_symbols(["ETH/USDT", "BTCUSDT"])
        source.check_symbols(["ETH/USDT"])


def test_one_unknown_symbol_does_not_lose_the_others(simulate, connect, truth):
    with simulate() as simulator:
        fetched = connect(simulator.base_url).fetch_panel(
            ["BTC/USDT", "NOPE/USDT"], "1h", start=END - 3 * STEP, end=END
        )
    assert_frame_equal(fetched.rows.select(TRUTH), truth(END - 3 * STEP, END, ("BTC/USDT",)))
    assert list(fetched.unknown) == ["NOPE/USDT"]


@pytest.mark.parametrize("parallel", [1, 4])
def test_requests_side_by_side_give_what_one_after_another_give(parallel, simulate, connect, truth):
    symbols = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
    with simulate() as simulator:
        source = connect(simulator.base_url, parallel_requests=parallel)
        fetched = source.fetch_panel(symbols, "1h", start=END - 1500 * STEP, end=END)
    assert_frame_equal(fetched.rows.select(TRUTH), truth(END - 1500 * STEP, END))


def test_duplicates_are_dropped_and_counted(simulate, connect):
    fault = {"kind": "duplicate", "symbol": "BTCUSDT"}
    with simulate(faults=[fault]) as simulator:
        fetched = connect(simulator.base_url).fetch_panel(
            ["BTC/USDT", "ETH/USDT"], "1h", start=END - 5 * STEP, end=END
        )
    assert fetched.rows.height == 10
    assert fetched.duplicates == {"BTC/USDT": 5}


def test_a_page_that_stays_wrong_is_refused(simulate, connect):
    fault = {"kind": "unfinished", "stamp": "ahead"}
    with simulate(faults=[fault]) as simulator:
        source = connect(simulator.base_url)
        with pytest.raises(ContractViolation, match="outside the span that was asked, 3 times"):
            source.fetch_bars("BTC/USDT", "1h", start=END - 5 * STEP, end=END)


def test_the_weight_limit_of_the_venue_is_waited_out(simulate, connect):
    with simulate(weight_limits={"binance_spot": 6}) as simulator:
        source = connect(simulator.base_url, parallel_requests=1, max_backoff_seconds=0.1)
        with pytest.raises(SourceUnavailable, match="the venue asks to wait"):
            source.fetch_bars("BTC/USDT", "1h", start=END - 9000 * STEP, end=END)


def test_nobody_there_is_unavailable(connect):
    with pytest.raises(SourceUnavailable, match="did not answer the time in 2 attempts"):
        connect("http://127.0.0.1:9").fetch_bars("BTC/USDT", "1h", start=END - STEP, end=END)


def test_an_open_breaker_asks_no_more(connect):
    source = connect("http://127.0.0.1:9", circuit_failures=2)
    with pytest.raises(SourceUnavailable):
        source.server_time()
    with pytest.raises(SourceUnavailable, match=r"failed 2 times in a row \(bound 2\)"):
        source.server_time()


def test_the_venues_clock_and_filters(simulate, connect):
    with simulate() as simulator:
        source = connect(simulator.base_url)
        assert source.server_time() == END + timedelta(minutes=10)
        filters = source.filters(["BTC/USDT"])
    assert filters == {"BTC/USDT": MarketFilters(lot=1e-05, tick=0.01, minimum_notional=5.0)}


@pytest.mark.parametrize("venue", ["binance", "upbit"])
def test_a_market_says_whether_it_ever_had_a_bar(venue, simulate, connect):
    symbol = {"binance": "BTC/USDT", "upbit": "BTC/KRW"}[venue]
    with simulate() as simulator:
        source = connect(simulator.base_url, venue)
        assert source.has_bars(symbol, "1h", end=END)
        assert not source.has_bars(symbol, "1h", end=datetime(2016, 1, 1, tzinfo=UTC))
        with pytest.raises(UnknownSymbol):
            source.has_bars("NOPE/KRW", "1h", end=END)


def test_a_venue_or_timeframe_that_does_not_exist_is_wrong_usage(connect):
    with pytest.raises(ConfigError, match="did you mean 'binance'"):
        connect("http://127.0.0.1:9", "binanse")
    with pytest.raises(ConfigError, match="binance has no 7m bars"):
        connect("http://127.0.0.1:9").fetch_bars("BTC/USDT", "7m", start=END - STEP, end=END)


def test_retry_after_is_read_as_seconds_or_as_a_date():
    assert seconds_to_wait("2.5") == 2.5
    assert seconds_to_wait("-1") == 0.0
    soon = clock.now() + timedelta(seconds=60)
    assert 50 < seconds_to_wait(soon.strftime("%a, %d %b %Y %H:%M:%S GMT")) <= 60
    assert seconds_to_wait("Sat, 01 Jun 2024 14:00:00 GMT") == 0.0
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None


@pytest.mark.parametrize(
    ("venue", "limit", "weight"),
    [("binance", 1000, 0.4), ("binanceusdm", 1000, 5.0), ("binanceusdm", 48, 1.0)],
)
def test_a_page_costs_what_the_venue_says(venue, limit, weight):
    client = VenueClient(venue, ExchangeConfig(base_url="http://127.0.0.1:9"), Clockwork())
    assert client.kline_weight(KLINE_VENUES[venue], limit) == weight
    client.close()


def test_a_configured_limit_counts_requests(simulate):
    slept = []
    clockwork = Clockwork(monotonic=lambda: 0.0, sleep=slept.append)
    with simulate() as simulator:
        config = ExchangeConfig(
            base_url=simulator.base_url, rate_limit_per_minute=30, parallel_requests=1
        )
        source = ExchangeSource("binance", config, clockwork)
        source.fetch_bars("BTC/USDT", "1h", start=END - 2500 * STEP, end=END)
        source.close()
    # The venue's time, then three pages, two seconds apart; the clock stands still.
    assert slept == [2.0, 4.0, 6.0]


@pytest.mark.market
def test_real_gaps_of_the_venue_stay_gaps(market_folder, connect):
    from pipelines.market_simulator import ReplayMarket, running_simulator

    start, end = datetime(2018, 2, 7, tzinfo=UTC), datetime(2018, 2, 11, tzinfo=UTC)
    with running_simulator(ReplayMarket(market_folder), now=end) as simulator:
        bars = connect(simulator.base_url).fetch_bars("BTC/USDT", "1h", start=start, end=end)
    file = pl.read_parquet(market_folder / "ohlcv_1h/binance_spot/BTCUSDT.parquet")
    opened = pl.col("open_time").cast(pl.Datetime("us", "UTC"))
    expected = file.filter((opened >= start) & (opened < end))
    # Binance was down for 33 hours.
    assert bars.height == expected.height == 96 - 33
    assert bars["close"].to_list() == expected["close"].to_list()
    assert bars["trades"].to_list() == expected["trades"].to_list()
