"""Publishers of daily indices as they answer: alternative.me's Fear & Greed, Yahoo's charts.

As the real ones do, Yahoo hands out the day that still trades, here at the last close: what it ends at is
not known.
"""

import json
from typing import Any

import numpy as np

from pipelines.market_simulator.bars import DAY, HOUR
from pipelines.market_simulator.exchange import (
    Dialect,
    Endpoint,
    Query,
    SimulatedExchange,
    VenueError,
)

# Yahoo's name to series, and the time of day its rows are stamped with [ms].
_CHARTS = {"^VIX": ("VIX", 13 * HOUR + HOUR // 2), "DX-Y.NYB": ("DXY", 4 * HOUR)}
_CLOSES_AT = 22 * HOUR
_MOODS = (
    (25, "Extreme Fear"),
    (46, "Fear"),
    (55, "Neutral"),
    (75, "Greed"),
    (101, "Extreme Greed"),
)


def _fear_greed(exchange: SimulatedExchange, query: Query, now: int) -> str:
    limit = int(query.get("limit", "1"))
    dates, values = exchange.market.index("FEAR_GREED", now)
    newest = len(dates) - limit if 0 < limit < len(dates) else 0
    rows = [
        {
            "value": f"{value:.0f}",
            "value_classification": next(mood for bound, mood in _MOODS if value < bound),
            "timestamp": str(date // 1000),
        }
        for date, value in zip(dates[newest:].tolist(), values[newest:].tolist(), strict=True)
    ]
    body: dict[str, Any] = {"name": "Fear and Greed Index", "data": rows[::-1]}
    return json.dumps({**body, "metadata": {"error": None}})


def _chart(exchange: SimulatedExchange, query: Query, now: int) -> str:
    if query["name"] not in _CHARTS:
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        raise VenueError(404, json.dumps({"chart": {"result": None, "error": error}}))
    series, stamped = _CHARTS[query["name"]]
    dates, values = exchange.market.index(series, now)
    today = now - now % DAY
    if len(dates) and dates[-1] < today and _trades(today, stamped, now):
        dates, values = np.append(dates, today), np.append(values, values[-1])
    first, last = int(query.get("period1", "0")) * 1000, int(query.get("period2", str(now))) * 1000
    stamps = dates + stamped
    asked = (stamps >= first) & (stamps < last)
    result = {
        "meta": {"symbol": query["name"], "dataGranularity": "1d"},
        "timestamp": (stamps[asked] // 1000).tolist(),
        "indicators": {"quote": [{"close": values[asked].tolist()}]},
    }
    return json.dumps({"chart": {"result": [result], "error": None}})


def _trades(today: int, stamped: int, now: int) -> bool:
    weekday = (today // DAY + 3) % 7
    return weekday < 5 and today + stamped <= now < today + _CLOSES_AT


def _headers(_used: int, _limit: int) -> dict[str, str]:
    return {}


def _too_many(_limit: int) -> str:
    return json.dumps({"error": "Too Many Requests"})


DIALECT = Dialect(
    name="publishers",
    endpoints=(
        Endpoint("/fng/", _fear_greed),
        Endpoint("/v8/finance/chart/{name}", _chart, symbol_key="name"),
    ),
    limit=600,
    window=60.0,
    headers=_headers,
    too_many=_too_many,
)
