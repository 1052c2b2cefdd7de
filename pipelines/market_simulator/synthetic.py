"""A seeded market that looks like one and is a pure function of time.

`signal` is the correlation between the hidden outlook of a coin and its next 24-hour return in units
of its volatility (the information coefficient of the best forecaster; its square is the R^2). At 0.0
returns are a martingale difference and nothing predicts them. Bars show the outlook only through
noise, in the taker flow of the past day and in persistent drift: the mean taker share of 24 hours has
about two thirds of the dial as its correlation with the next day's return. The default of 0.15 (R^2
2 %) lets a patient, cost-aware strategy earn after costs.

Two exceptions, smaller than any cost: the basis of perpetuals (3 bp, half-life 3 days) and the KRW
premium (1.5 %, half-life 10 days) revert to their means at any dial.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from pipelines.errors import ConfigError
from pipelines.market_simulator.bars import (
    CLOSE,
    FUNDING_INTERVAL,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    OPEN,
    QUOTE_VOLUME,
    TAKER_QUOTE,
    TAKER_VOLUME,
    TRADES,
    VOLUME,
    Bars,
    Request,
    Times,
    Values,
    aggregate,
    flat_bar,
    page,
)
from pipelines.market_simulator.bridge import MINUTES, Integers, minutes_of_hour
from pipelines.market_simulator.clock import milliseconds
from pipelines.market_simulator.indices import made_index
from pipelines.market_simulator.instruments import (
    KRW_PER_DOLLAR,
    Instrument,
    coin,
    instrument_of_symbol,
)
from pipelines.market_simulator.price_paths import (
    BLOCK,
    EPOCH,
    AutoRegression,
    CoinPath,
    Factor,
    Floats,
    hours_since_epoch,
    stream,
)

DEFAULT_START = datetime(2017, 8, 17, 4, tzinfo=UTC)
DEFAULT_SIGNAL = 0.15
MAX_SIGNAL = 0.5


class SyntheticMarket:
    """Several correlated symbols, generated on demand.

    Parameters
    ----------
    symbols : sequence of str
        ccxt unified symbols: spot ``BTC/USDT``, perpetual ``BTC/USDT:USDT``, Upbit ``BTC/KRW``.
    seed : int
        Another seed is another history.
    signal : float
        Correlation of the hidden outlook with the next 24-hour return, 0 to 0.5; 0 is none.
    start : datetime
        When the symbols are listed; moving it cuts bars off and changes none.

    Raises
    ------
    ConfigError
        On a symbol that cannot be simulated, a signal out of range, or a start before August 2017.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        seed: int = 7,
        signal: float = DEFAULT_SIGNAL,
        start: datetime = DEFAULT_START,
    ) -> None:
        if not 0.0 <= signal <= MAX_SIGNAL:
            raise ConfigError(
                f"signal {signal} is not within 0 and {MAX_SIGNAL}",
                remedy="0 is a market without signal; 0.15 is the default",
            )
        listed_at = milliseconds(start)
        if listed_at < EPOCH:
            raise ConfigError(
                f"the synthetic market cannot start at {start.isoformat()}",
                remedy="start on 2017-08-01 or later",
            )
        listed_at += -listed_at % HOUR
        unique = dict.fromkeys(symbols)
        self.instruments = tuple(instrument_of_symbol(symbol, listed_at) for symbol in unique)
        self._seed = seed
        self._factor = Factor(seed)
        self._signal = signal
        self._coins: dict[str, CoinPath] = {}
        self._series = {
            item: _Series(self._path(item.base), item, seed) for item in self.instruments
        }

    def _path(self, base: str) -> CoinPath:
        if base not in self._coins:
            self._coins[base] = CoinPath(base, self._factor, self._signal)
        return self._coins[base]

    def bars(self, instrument: Instrument, timeframe: int, request: Request) -> Bars:
        """Return one page of bars; see `Market.bars`."""
        series = self._series[instrument]
        request = replace(request, first=max(request.first, instrument.listed_at))
        if timeframe >= HOUR:
            whole = series.bars(timeframe, request.now)
            found = page(whole, series.in_progress(timeframe, request.now), request)
        else:
            found = series.minutes(timeframe, request)
        return _in_units(found, instrument)

    def funding(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return the funding rates published up to `now`; see `Market.funding`."""
        return self._series[instrument].funding(now)

    def open_interest(self, instrument: Instrument, now: int) -> tuple[Times, Values]:
        """Return the hourly open interest up to `now`; see `Market.open_interest`."""
        return self._series[instrument].open_interest(now)

    def index(self, series: str, now: int) -> tuple[Times, Values]:
        """Return a daily index as far as it had appeared by `now`; see `Market.index`."""
        return made_index(series, self._seed, now)


def _quote_decimals(instrument: Instrument) -> int:
    return 2 if instrument.quote == "KRW" else 5


def _in_units(bars: Bars, instrument: Instrument) -> Bars:
    """Turn whole ticks, lots and quote units into prices, quantities and amounts."""
    decimals = np.zeros(9)
    decimals[[OPEN, HIGH, LOW, CLOSE]] = instrument.price_decimals
    decimals[[VOLUME, TAKER_VOLUME]] = instrument.volume_decimals
    decimals[[QUOTE_VOLUME, TAKER_QUOTE]] = _quote_decimals(instrument)
    up, down = 10.0 ** np.maximum(-decimals, 0), 10.0 ** np.maximum(decimals, 0)
    return Bars(bars.open_time, bars.values * up[:, None] / down[:, None], bars.timeframe)


class _Series:
    """One market of one coin, in whole ticks, lots, quote units and trades."""

    def __init__(self, path: CoinPath, instrument: Instrument, seed: int) -> None:
        self._path, self._instrument, self._seed = path, instrument, seed
        self._turnover = coin(instrument.base).turnover
        start = stream(seed, instrument.symbol, 2**63)
        half_life, scale = {
            "binance_spot": (1.0, 0.0),
            "binance_perp": (72.0, 0.0003),
            "upbit_spot": (240.0, 0.015),
        }[instrument.exchange]
        self._premium = AutoRegression(half_life, scale, start)
        self._heat = AutoRegression(48.0, 1.0, start)
        self._last_premium = 0.0
        self._last_open: int | None = None
        self._blocks: list[Integers] = []
        self._rates: list[Floats] = []
        self._interest: list[Floats] = []
        self._aggregates: dict[int, tuple[int, Bars]] = {}

    def bars(self, timeframe: int, now: int) -> Bars:
        """Return all bars of an hour or longer, through the end of the block of `now`."""
        self._grow(now)
        count, bars = self._aggregates.get(timeframe, (0, None))
        if bars is None or count != len(self._blocks):
            values = np.concatenate(self._blocks, axis=1)
            times = EPOCH + HOUR * np.arange(values.shape[1], dtype=np.int64)
            listed = times >= self._instrument.listed_at
            bars = aggregate(Bars(times[listed], values[:, listed], HOUR), timeframe)
            self._aggregates[timeframe] = (len(self._blocks), bars)
        return bars

    def minutes(self, timeframe: int, request: Request) -> Bars:
        """Return one page of bars shorter than an hour."""
        first, last = request.first, min(request.last, request.now)
        span = (request.limit - 1) * timeframe
        if request.newest:
            first = max(first, last - last % timeframe - span)
        else:
            last = min(last, first + -first % timeframe + span)
        if last < first:
            return Bars(np.empty(0, dtype=np.int64), np.empty((9, 0), dtype=np.int64), timeframe)
        self._grow(request.now)
        hours = range(hours_since_epoch(first), hours_since_epoch(last) + 1)
        values = np.concatenate([self._minutes_of(hour) for hour in hours], axis=1)
        times = EPOCH + HOUR * hours[0] + MINUTE * np.arange(values.shape[1], dtype=np.int64)
        bars = aggregate(self._until(Bars(times, values, MINUTE), request.now), timeframe)
        return bars.take((bars.open_time >= first) & (bars.open_time <= last))

    def in_progress(self, timeframe: int, now: int) -> Bars | None:
        """Return the unfinished bar at `now`: what its minutes up to `now` add up to."""
        begin = now - now % timeframe
        if now < self._instrument.listed_at:
            return None
        hour = now - now % HOUR
        hours = self.bars(HOUR, now)
        done = hours.take((hours.open_time >= begin) & (hours.open_time < hour))
        minutes = self._minutes_of(hours_since_epoch(hour))
        times = hour + MINUTE * np.arange(MINUTES, dtype=np.int64)
        current = aggregate(self._until(Bars(times, minutes, MINUTE), now), HOUR)
        return aggregate(done.followed_by(current), timeframe)

    def _until(self, bars: Bars, now: int) -> Bars:
        minute = now - now % MINUTE
        closed = bars.take(bars.open_time < minute)
        opening = bars.take(bars.open_time == minute)
        if not len(opening):
            return closed
        return closed.followed_by(
            flat_bar(minute, opening.values[OPEN, 0], MINUTE, opening.values[:, 0])
        )

    def _minutes_of(self, hour: int) -> Integers:
        block, within = divmod(hour, BLOCK)
        generator = stream(self._seed, f"{self._instrument.symbol}:minutes", hour)
        return minutes_of_hour(self._blocks[block][:, within], generator)

    def funding(self, now: int) -> tuple[Times, Values]:
        """Return the funding instants and rates up to `now`."""
        self._grow(now)
        return self._published(self._rates, FUNDING_INTERVAL, now)

    def open_interest(self, now: int) -> tuple[Times, Values]:
        """Return the hourly open interest up to `now`."""
        self._grow(now)
        return self._published(self._interest, HOUR, now)

    def _published(self, blocks: Sequence[Floats], interval: int, now: int) -> tuple[Times, Values]:
        values = np.concatenate([np.empty(0), *blocks])
        times = EPOCH + interval * np.arange(1, len(values) + 1, dtype=np.int64)
        known = (times <= now) & (times > self._instrument.listed_at)
        return times[known], values[known]

    def _grow(self, now: int) -> None:
        while len(self._blocks) * BLOCK <= hours_since_epoch(max(now, EPOCH)):
            self._generate(len(self._blocks))

    def _generate(self, index: int) -> None:
        hours = self._path.block(index)
        generator = stream(self._seed, self._instrument.symbol, index)
        premium = self._premium.run(generator.standard_normal(BLOCK))
        edges = np.concatenate([[self._last_premium if index else premium[0]], premium])
        self._last_premium = float(premium[-1])
        heat = self._heat.run(generator.standard_normal(BLOCK))
        if self._instrument.exchange == "binance_perp":
            crowd = 1.5e-4 * (0.5 * hours.outlook + heat) + 0.4 * premium
            rates = 1e-4 + np.where(np.abs(crowd) < 1e-4, 0.0, crowd)
            self._rates.append(np.clip(rates[7::8], -0.0075, 0.0075).round(8))
            dollars = 12.0 * self._turnover * np.exp(0.15 * heat)
            self._interest.append(np.asarray(dollars / np.exp(hours.log_price[1:])))
        block = np.empty((9, BLOCK), dtype=np.int64)
        self._price(block, hours.log_price + edges, hours.log_high, hours.log_low, edges)
        self._trade(block, hours.log_turnover, hours.flow, generator)
        self._blocks.append(block)

    def _price(
        self, block: Integers, log_price: Floats, log_high: Floats, log_low: Floats, edges: Floats
    ) -> None:
        scale = 10.0**self._instrument.price_decimals
        scale *= KRW_PER_DOLLAR if self._instrument.quote == "KRW" else 1.0
        middle = 0.5 * (edges[1:] + edges[:-1])
        block[CLOSE] = _whole(np.exp(log_price[1:]) * scale)
        opened = self._last_open or int(_whole(np.exp(log_price[:1]) * scale)[0])
        block[OPEN] = np.concatenate([[opened], block[CLOSE, :-1]])
        self._last_open = int(block[CLOSE, -1])
        top, bottom = np.maximum(block[OPEN], block[CLOSE]), np.minimum(block[OPEN], block[CLOSE])
        block[HIGH] = np.maximum(top, _whole(np.exp(log_high + middle) * scale))
        block[LOW] = np.minimum(bottom, _whole(np.exp(log_low + middle) * scale))

    def _trade(
        self, block: Integers, log_turnover: Floats, flow: Floats, generator: np.random.Generator
    ) -> None:
        share = {"binance_spot": 0.0, "binance_perp": 1.6, "upbit_spot": -0.7}
        item = self._instrument
        noise = 0.10 * generator.standard_normal((3, BLOCK))
        dollars = np.exp(log_turnover + share[item.exchange] + noise[0])
        money = dollars * (KRW_PER_DOLLAR if item.quote == "KRW" else 1.0)
        prices = block[[OPEN, HIGH, LOW, CLOSE]].mean(axis=0) * 10.0**-item.price_decimals
        block[VOLUME] = np.maximum(1, np.rint(money / prices * 10.0**item.volume_decimals))
        lot_value = prices * 10.0 ** (_quote_decimals(item) - item.volume_decimals)
        block[QUOTE_VOLUME] = np.maximum(1, np.rint(block[VOLUME] * lot_value))
        size = np.sqrt(dollars) * 0.12 * np.exp(noise[1])
        block[TRADES] = np.maximum(1, np.rint(dollars / size))
        taken = 1.0 / (1.0 + np.exp(-flow - 0.2 * noise[2]))
        block[TAKER_VOLUME] = np.floor(block[VOLUME] * taken)
        ratio = block[TAKER_VOLUME] / block[VOLUME]
        block[TAKER_QUOTE] = np.floor(block[QUOTE_VOLUME] * ratio)


def _whole(values: Floats) -> Integers:
    return np.maximum(1, np.rint(values)).astype(np.int64)
