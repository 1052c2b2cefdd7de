"""Binance USD-M perpetuals as ccxt reads them: klines, funding, premium index, open interest.

Errors, parameters and nulls as in `binance_spot`. The COIN-M exchangeInfo is answered too, empty, so
that ccxt's `load_markets` works with its default market types.
"""

import json
from typing import Any

import numpy as np

from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    FUNDING_INTERVAL,
    HOUR,
    MINUTE,
    OPEN,
    Request,
    Times,
    Values,
)
from pipelines.market_simulator.binance_spot import (
    find,
    integer,
    kline_rows,
    pong,
    refuse,
    required,
    server_time,
    time_range,
    timeframe_of,
    too_many,
    weight_headers,
)
from pipelines.market_simulator.exchange import Dialect, Endpoint, Query, SimulatedExchange
from pipelines.market_simulator.instruments import Instrument

EXCHANGE = "binance_perp"
KLINES_LIMIT = 1500
FUNDING_LIMIT = 1000
OPEN_INTEREST_LIMIT = 500
_PERIODS = {"5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "12h": 720}
_PERPETUAL_DELIVERY = 4_133_404_800_000


def _limit(query: Query, default: int, most: int) -> int:
    limit = integer(query, "limit") or default
    if limit > most:
        raise refuse(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def _klines_weight(query: Query) -> int:
    text = query.get("limit", "500")
    limit = int(text) if text.isdecimal() else 500
    return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10


def _klines(exchange: SimulatedExchange, query: Query, now: int) -> str:
    item = find(exchange, EXCHANGE, query, now)
    timeframe = timeframe_of(query)
    request = time_range(query, _limit(query, 500, KLINES_LIMIT), now)
    bars = exchange.bars("/fapi/v1/klines", item, timeframe, request)
    return kline_rows(bars, item.price_decimals, item.volume_decimals, 8)


def _within(times: Times, request: Request) -> slice:
    begin = int(np.searchsorted(times, request.first, side="left"))
    end = int(np.searchsorted(times, request.last, side="right"))
    if request.newest:
        return slice(max(begin, end - request.limit), end)
    return slice(begin, min(end, begin + request.limit))


def _prices_at(
    exchange: SimulatedExchange, item: Instrument, times: Times, now: int
) -> list[float | None]:
    """Return the price at each of `times`, the open of the hour, None where there is no bar."""
    if not len(times):
        return []
    first, last = int(times.min()) // HOUR * HOUR, int(times.max())
    bars = exchange.market.bars(item, HOUR, Request(first, last, 2**31, False, now))
    known = dict(zip(bars.open_time.tolist(), bars.values[OPEN].tolist(), strict=True))
    return [known.get(when) for when in (times // HOUR * HOUR).tolist()]


def _funding_rate(exchange: SimulatedExchange, query: Query, now: int) -> str:
    limit = _limit(query, 100, FUNDING_LIMIT)
    request = time_range(query, limit, now)
    if "symbol" in query:
        items = [find(exchange, EXCHANGE, query, now)]
    else:
        items = exchange.listed(EXCHANGE, now)
    pages = [_funding_rows(exchange, item, request) for item in items]
    if len(pages) == 1:
        return json.dumps(pages[0])
    rows = sorted((row for page in pages for row in page), key=lambda row: row["fundingTime"])
    return json.dumps(rows[-limit:] if request.newest else rows[:limit])


def _funding_rows(
    exchange: SimulatedExchange, item: Instrument, request: Request
) -> list[dict[str, Any]]:
    times, rates = exchange.funding("/fapi/v1/fundingRate", item, request)
    prices = _prices_at(exchange, item, times, request.now)
    return [
        {
            "symbol": item.id,
            "fundingTime": when,
            "fundingRate": f"{rate:.8f}",
            "markPrice": "" if price is None else f"{price:.8f}",
        }
        for when, rate, price in zip(times.tolist(), rates.tolist(), prices, strict=True)
    ]


def _premium_index(exchange: SimulatedExchange, query: Query, now: int) -> str:
    if "symbol" in query:
        return json.dumps(_premium(exchange, find(exchange, EXCHANGE, query, now), now))
    items = exchange.listed(EXCHANGE, now)
    return json.dumps([_premium(exchange, item, now) for item in items])


def _premium_klines(exchange: SimulatedExchange, query: Query, now: int) -> str:
    """Answer with the perpetual over the spot pair, its index here; no rows where there is no pair."""
    item = find(exchange, EXCHANGE, query, now)
    timeframe = timeframe_of(query)
    request = time_range(query, _limit(query, 500, KLINES_LIMIT), now)
    spot = exchange.find("binance_spot", item.id, now)
    if spot is None:
        return "[]"
    contract = exchange.bars("/fapi/v1/premiumIndexKlines", item, timeframe, request)
    pair = exchange.market.bars(spot, timeframe, request)
    of_pair = dict(zip(pair.open_time.tolist(), pair.values[[OPEN, CLOSE]].T.tolist(), strict=True))
    rows = []
    for opened, prices in zip(
        contract.open_time.tolist(), contract.values[[OPEN, CLOSE]].T.tolist(), strict=True
    ):
        if opened in of_pair:
            first, last = (own / its - 1 for own, its in zip(prices, of_pair[opened], strict=True))
            told = [f"{x:.8f}" for x in (first, max(first, last), min(first, last), last)]
            rows.append([opened, *told, "0", opened + timeframe - 1, "0", 0, "0", "0", "0"])
    return json.dumps(rows)


def _premium(exchange: SimulatedExchange, item: Instrument, now: int) -> dict[str, Any]:
    mark = _last_price(exchange, item, now)
    spot = exchange.find("binance_spot", item.id, now)
    index = mark if spot is None else _last_price(exchange, spot, now)
    _, rates = exchange.market.funding(item, now)
    return {
        "symbol": item.id,
        "markPrice": mark,
        "indexPrice": index,
        "estimatedSettlePrice": index,
        "lastFundingRate": f"{rates[-1]:.8f}" if len(rates) else "",
        "interestRate": "0.00010000",
        "nextFundingTime": now - now % FUNDING_INTERVAL + FUNDING_INTERVAL,
        "time": now,
    }


def _last_price(exchange: SimulatedExchange, item: Instrument, now: int) -> str:
    bars = exchange.market.bars(item, HOUR, Request(-(2**62), now, 1, True, now))
    return f"{bars.values[CLOSE, -1]:.8f}" if len(bars) else ""


def _open_interest(exchange: SimulatedExchange, query: Query, now: int) -> str:
    item = find(exchange, EXCHANGE, query, now)
    period = _period(required(query, "period"))
    request = time_range(query, _limit(query, 30, OPEN_INTEREST_LIMIT), now)
    oldest = now - 30 * DAY
    if not request.newest and request.first < oldest:
        raise refuse(-1130, "parameter 'startTime' is invalid.")
    hours, interest = exchange.market.open_interest(item, now)
    if not len(hours):
        return "[]"
    begin = max(oldest, int(hours[0]), request.first)
    times = np.arange(begin + -begin % period, request.last + 1, period, dtype=np.int64)
    times = times[_within(times, request)]
    held: Values = interest[np.searchsorted(hours, times, side="right") - 1]
    prices = _prices_at(exchange, item, times, now)
    return json.dumps(
        [
            {
                "symbol": item.id,
                "sumOpenInterest": f"{amount:.8f}",
                "sumOpenInterestValue": "" if price is None else f"{amount * price:.8f}",
                "timestamp": when,
            }
            for when, amount, price in zip(times.tolist(), held.tolist(), prices, strict=True)
        ]
    )


def _period(text: str) -> int:
    if text == "1d":
        return DAY
    if text not in _PERIODS:
        raise refuse(-1130, "Data sent for parameter 'period' is not valid.")
    return _PERIODS[text] * MINUTE


def _exchange_info(exchange: SimulatedExchange, _query: Query, now: int) -> str:
    items = exchange.listed(EXCHANGE, now)
    return json.dumps(
        {
            "timezone": "UTC",
            "serverTime": now,
            "futuresType": "U_MARGINED",
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": DIALECT.limit,
                }
            ],
            "exchangeFilters": [],
            "assets": [],
            "symbols": [_describe(item, exchange.is_trading(item, now)) for item in items],
        }
    )


def _describe(item: Instrument, trading: bool) -> dict[str, Any]:
    tick = f"{item.tick:.{max(0, item.price_decimals)}f}"
    lot = f"{item.lot:.{item.volume_decimals}f}"
    quantity = {"minQty": lot, "maxQty": "1000000", "stepSize": lot}
    return {
        "symbol": item.id,
        "pair": item.id,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_DELIVERY,
        "onboardDate": item.listed_at,
        "status": "TRADING" if trading else "SETTLING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": item.base,
        "quoteAsset": item.quote,
        "marginAsset": item.quote,
        "pricePrecision": max(0, item.price_decimals),
        "quantityPrecision": item.volume_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", **quantity},
            {"filterType": "MARKET_LOT_SIZE", **quantity},
            {"filterType": "MIN_NOTIONAL", "notional": f"{item.minimum_notional:g}"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _no_coin_margined(_exchange: SimulatedExchange, _query: Query, now: int) -> str:
    return json.dumps({"timezone": "UTC", "serverTime": now, "exchangeFilters": [], "symbols": []})


DIALECT = Dialect(
    name=EXCHANGE,
    endpoints=(
        Endpoint("/fapi/v1/ping", pong),
        Endpoint("/fapi/v1/time", server_time),
        Endpoint("/fapi/v1/exchangeInfo", _exchange_info),
        Endpoint("/fapi/v1/klines", _klines, _klines_weight),
        Endpoint("/fapi/v1/fundingRate", _funding_rate),
        Endpoint("/fapi/v1/premiumIndex", _premium_index, lambda q: 1 if "symbol" in q else 10),
        Endpoint("/fapi/v1/premiumIndexKlines", _premium_klines, _klines_weight),
        Endpoint("/futures/data/openInterestHist", _open_interest, lambda _query: 0),
    ),
    limit=2400,
    window=60.0,
    headers=weight_headers,
    too_many=too_many,
)

COIN_DIALECT = Dialect(
    name="binance_coin_perp",
    endpoints=(Endpoint("/dapi/v1/exchangeInfo", _no_coin_margined),),
    limit=2400,
    window=60.0,
    headers=weight_headers,
    too_many=too_many,
)
