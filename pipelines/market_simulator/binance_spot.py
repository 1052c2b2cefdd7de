"""Binance spot as ccxt reads it: exchangeInfo, klines, time, ping.

What a replayed file does not know (null quote volume, trades, taker columns) is an empty string:
``""`` where the venue sends ``"123.45"`` or ``123``. The real ccxt client passes it through
`publicGetKlines` untouched; a reader must take ``""`` as null, never as zero. A corrupt bar's NaN
price is the string ``"NaN"``.
"""

import json
import re
from typing import Any

import numpy as np

from pipelines.market_simulator.bars import Bars, Request
from pipelines.market_simulator.exchange import (
    INTERVALS,
    Dialect,
    Endpoint,
    Query,
    SimulatedExchange,
    VenueError,
)
from pipelines.market_simulator.instruments import Instrument

EXCHANGE = "binance_spot"
KLINES_LIMIT = 1000
_INTEGER = re.compile(r"[0-9]{1,20}")
_NAMES = re.compile(r'\["[A-Z0-9_.-]{1,20}"(,"[A-Z0-9_.-]{1,20}")*\]')
# Intervals the venue has and the simulator does not: valid there, so the refusal says so.
_OTHER_INTERVALS = ("1s", "3m", "30m", "2h", "6h", "8h", "12h", "3d", "1w", "1M")


def refuse(code: int, message: str, status: int = 400) -> VenueError:
    """Return a refusal in Binance's form."""
    return VenueError(status, json.dumps({"code": code, "msg": message}))


def integer(query: Query, key: str) -> int | None:
    """Return an integer parameter, None where it was not sent; refuse what is not a number."""
    text = query.get(key)
    if text is None:
        return None
    if not _INTEGER.fullmatch(text):
        raise refuse(
            -1100,
            f"Illegal characters found in parameter '{key}'; legal range is '^[0-9]{{1,20}}$'.",
        )
    return int(text)


def required(query: Query, key: str) -> str:
    """Return a parameter that must be sent."""
    if not query.get(key):
        raise refuse(
            -1102, f"Mandatory parameter '{key}' was not sent, was empty/null, or malformed."
        )
    return query[key]


def find(exchange: SimulatedExchange, name: str, query: Query, now: int) -> Instrument:
    """Return the market the query names; -1121 if there is none."""
    found = exchange.find(name, required(query, "symbol"), now)
    if found is None:
        raise refuse(-1121, "Invalid symbol.")
    return found


def timeframe_of(query: Query) -> int:
    """Return the length of the interval the query names [ms]; -1120 if it is invalid."""
    interval = required(query, "interval")
    if interval not in INTERVALS:
        known = ", ".join(INTERVALS) if interval in _OTHER_INTERVALS else ""
        raise refuse(-1120, f"Invalid interval.{known and f' The simulator serves {known}.'}")
    return INTERVALS[interval]


def time_range(query: Query, limit: int, now: int) -> Request:
    """Return the page that startTime, endTime and `limit` ask for, as Binance reads them.

    With a startTime the oldest `limit` rows from there on, else the newest up to endTime.
    """
    start, end = integer(query, "startTime"), integer(query, "endTime")
    return Request(
        first=-(2**62) if start is None else start,
        last=now if end is None else min(end, now),
        limit=limit,
        newest=start is None,
        now=now,
    )


def kline_rows(bars: Bars, price_decimals: int, volume_decimals: int, quote_decimals: int) -> str:
    """Write bars as the JSON of Binance's klines: rows of twelve columns."""
    p, v, q = (f'"%.{max(0, n)}f"' for n in (price_decimals, volume_decimals, quote_decimals))
    row = f'[%d,{p},{p},{p},{p},{v},%d,{q},%d,{v},{q},"0"]'
    if np.isnan(bars.values).any():
        return _rows_with_gaps(bars, (p, p, p, p, v, q, "%d", v, q))
    values = bars.values.tolist()
    close_time = (bars.open_time + bars.timeframe - 1).tolist()
    columns = (bars.open_time.tolist(), *values[:5], close_time, *values[5:])
    return f"[{','.join([row % line for line in zip(*columns, strict=True)])}]"


def _rows_with_gaps(bars: Bars, patterns: tuple[str, ...]) -> str:
    columns = []
    for index, (pattern, values) in enumerate(zip(patterns, bars.values.tolist(), strict=True)):
        missing = '"NaN"' if index < 4 else '""'
        columns.append([missing if x != x else pattern % x for x in values])  # noqa: PLR0124
    opened = [str(t) for t in bars.open_time.tolist()]
    closed = [str(t) for t in (bars.open_time + bars.timeframe - 1).tolist()]
    lines = zip(opened, *columns[:5], closed, *columns[5:], strict=True)
    return "[" + ",".join([f'[{",".join(line)},"0"]' for line in lines]) + "]"


def _klines(exchange: SimulatedExchange, query: Query, now: int) -> str:
    item = find(exchange, EXCHANGE, query, now)
    timeframe = timeframe_of(query)
    limit = min(integer(query, "limit") or 500, KLINES_LIMIT)
    bars = exchange.bars("/api/v3/klines", item, timeframe, time_range(query, limit, now))
    return kline_rows(bars, 8, 8, 8)


def _exchange_info(exchange: SimulatedExchange, query: Query, now: int) -> str:
    if "symbol" in query:
        items = [find(exchange, EXCHANGE, query, now)]
    elif "symbols" in query:
        names = _names(query["symbols"])
        items = [find(exchange, EXCHANGE, {"symbol": name}, now) for name in names]
    else:
        items = exchange.listed(EXCHANGE, now)
    symbols = [_describe(item, exchange.is_trading(item, now)) for item in items]
    return json.dumps(
        {
            "timezone": "UTC",
            "serverTime": now,
            "rateLimits": [
                {
                    "rateLimitType": "REQUEST_WEIGHT",
                    "interval": "MINUTE",
                    "intervalNum": 1,
                    "limit": DIALECT.limit,
                }
            ],
            "exchangeFilters": [],
            "symbols": symbols,
        }
    )


def _names(text: str) -> list[str]:
    if not _NAMES.fullmatch(text):
        raise refuse(
            -1100,
            "Illegal characters found in parameter 'symbols'; "
            f"legal range is '^{_NAMES.pattern}$'.",
        )
    return [str(name) for name in json.loads(text)]


def _describe(item: Instrument, trading: bool) -> dict[str, Any]:
    return {
        "symbol": item.id,
        "status": "TRADING" if trading else "BREAK",
        "baseAsset": item.base,
        "baseAssetPrecision": 8,
        "quoteAsset": item.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": trading,
        "isMarginTradingAllowed": False,
        "filters": _filters(item),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _filters(item: Instrument) -> list[dict[str, Any]]:
    tick, lot = f"{item.tick:.8f}", f"{item.lot:.8f}"
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": "1000000.00000000",
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": lot,
            "maxQty": "9000000.00000000",
            "stepSize": lot,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": f"{item.minimum_notional:.8f}",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ]


def server_time(_exchange: SimulatedExchange, _query: Query, now: int) -> str:
    """Answer with the simulated clock."""
    return json.dumps({"serverTime": now})


def pong(_exchange: SimulatedExchange, _query: Query, _now: int) -> str:
    """Answer a ping."""
    return "{}"


def weight_headers(used: int, _limit: int) -> dict[str, str]:
    """Return the headers that tell the weight used in this minute."""
    return {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}


def too_many(limit: int) -> str:
    """Return the body of a 429."""
    return json.dumps(
        {
            "code": -1003,
            "msg": f"Too much request weight used; current limit is {limit} request weight per 1 "
            "MINUTE. Please use WebSocket Streams for live updates to avoid polling the API.",
        }
    )


DIALECT = Dialect(
    name=EXCHANGE,
    endpoints=(
        Endpoint("/api/v3/ping", pong),
        Endpoint("/api/v3/time", server_time),
        Endpoint("/api/v3/exchangeInfo", _exchange_info, lambda _query: 20),
        Endpoint("/api/v3/klines", _klines, lambda _query: 2),
    ),
    limit=6000,
    window=60.0,
    headers=weight_headers,
    too_many=too_many,
)
