"""Upbit as ccxt reads it: market/all and candles of minutes and days.

Candles come newest first, at most 200; `to` is exclusive. What a replayed file does not know
(candle_acc_trade_price) is null.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.market_simulator.bars import (
    CLOSE,
    DAY,
    HIGH,
    LOW,
    MINUTE,
    OPEN,
    QUOTE_VOLUME,
    VOLUME,
    Bars,
    Request,
)
from pipelines.market_simulator.clock import instant_of, milliseconds
from pipelines.market_simulator.exchange import (
    INTERVALS,
    Dialect,
    Endpoint,
    Query,
    SimulatedExchange,
    VenueError,
)
from pipelines.market_simulator.instruments import Instrument

EXCHANGE = "upbit_spot"
CANDLES_LIMIT = 200
_UNITS = sorted(ms // MINUTE for ms in INTERVALS.values() if ms < DAY)
_KOREA = timedelta(hours=9)


def _refuse(status: int, name: int | str, message: str) -> VenueError:
    return VenueError(status, json.dumps({"error": {"name": name, "message": message}}))


def _markets(exchange: SimulatedExchange, query: Query, now: int) -> str:
    detailed = query.get("is_details", query.get("isDetails", "")).lower() == "true"
    rows: list[dict[str, Any]] = []
    for item in exchange.listed(EXCHANGE, now):
        if exchange.is_trading(item, now):
            row = {"market": item.id, "korean_name": item.base, "english_name": item.base}
            event = {"market_event": {"warning": False, "caution": {}}}
            rows.append({**row, **event} if detailed else row)
    return json.dumps(rows)


def _minute_candles(exchange: SimulatedExchange, query: Query, now: int) -> str:
    unit = query["unit"]
    if not unit.isdecimal() or int(unit) not in _UNITS:
        known = ", ".join(map(str, _UNITS))
        raise _refuse(400, 400, f"unit {unit} is not valid; the simulator serves {known}")
    path = f"/v1/candles/minutes/{unit}"
    item, bars = _candles(exchange, query, now, path, int(unit) * MINUTE, 0)
    return json.dumps([{**row, "unit": int(unit)} for row in _rows(item, bars, now)])


def _day_candles(exchange: SimulatedExchange, query: Query, now: int) -> str:
    item, bars = _candles(exchange, query, now, "/v1/candles/days", DAY, 1)
    rows = _rows(item, bars, now)
    wanted = _count(query)
    for row, before in zip(rows, [*rows[1:], None], strict=True):
        close, previous = row["trade_price"], before and before["trade_price"]
        row["prev_closing_price"] = previous
        row["change_price"] = previous and close - previous
        row["change_rate"] = previous and (close - previous) / previous
    return json.dumps(rows[:wanted])


def _candles(
    exchange: SimulatedExchange, query: Query, now: int, path: str, timeframe: int, more: int
) -> tuple[Instrument, Bars]:
    market = query.get("market")
    if not market:
        raise _refuse(400, 400, "Missing request parameter error. Check the required parameters!")
    item = exchange.find(EXCHANGE, market, now)
    if item is None:
        raise _refuse(404, 404, "Code not found")
    last = min(now, _to(query) - 1) if query.get("to") else now
    request = Request(-(2**62), last, _count(query) + more, True, now)
    return item, exchange.bars(path, item, timeframe, request)


def _count(query: Query) -> int:
    text = query.get("count", "1")
    if not text.isdecimal() or int(text) == 0:
        raise _refuse(400, 400, "count is not valid")
    return min(int(text), CANDLES_LIMIT)


def _to(query: Query) -> int:
    try:
        moment = datetime.fromisoformat(query["to"].strip())
    except ValueError:
        raise _refuse(400, "invalid_parameter", "to is not a date") from None
    return milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _rows(item: Instrument, bars: Bars, now: int) -> list[dict[str, Any]]:
    values = bars.values.tolist()
    rows = []
    for index, opened in enumerate(bars.open_time.tolist()):
        moment, money = instant_of(opened), values[QUOTE_VOLUME][index]
        rows.append(
            {
                "market": item.id,
                "candle_date_time_utc": moment.strftime("%Y-%m-%dT%H:%M:%S"),
                "candle_date_time_kst": (moment + _KOREA).strftime("%Y-%m-%dT%H:%M:%S"),
                "opening_price": values[OPEN][index],
                "high_price": values[HIGH][index],
                "low_price": values[LOW][index],
                "trade_price": values[CLOSE][index],
                "timestamp": min(now, opened + bars.timeframe - 1),
                "candle_acc_trade_price": None if math.isnan(money) else money,
                "candle_acc_trade_volume": values[VOLUME][index],
            }
        )
    return rows[::-1]


def _headers(used: int, limit: int) -> dict[str, str]:
    return {"Remaining-Req": f"group=candles; min={limit * 60}; sec={max(0, limit - used)}"}


DIALECT = Dialect(
    name=EXCHANGE,
    endpoints=(
        Endpoint("/v1/market/all", _markets, symbol_key="market"),
        Endpoint("/v1/candles/minutes/{unit}", _minute_candles, symbol_key="market"),
        Endpoint("/v1/candles/days", _day_candles, symbol_key="market"),
    ),
    limit=10,
    window=1.0,
    headers=_headers,
    too_many=lambda _limit: json.dumps({"name": "too_many_requests"}),
)
