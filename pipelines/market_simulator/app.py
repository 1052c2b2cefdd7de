"""The HTTP application: routes of every dialect, rate limits, faults of the answer, administration.

Beside the venues' API it answers ``GET`` and ``POST /_simulator/clock`` (``{"now": "2024-06-01T14:00Z",
"speed": 0}``) and ``POST`` and ``DELETE /_simulator/faults`` (a fault script), so that tests and
replays can move the clock and break things at run time.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from pipelines.clock import parse_instant
from pipelines.errors import ConfigError
from pipelines.market_simulator import binance_spot, binance_usdm, publishers, upbit
from pipelines.market_simulator.exchange import (
    Dialect,
    Endpoint,
    RateLimiter,
    SimulatedExchange,
    VenueError,
)
from pipelines.market_simulator.faults import Fault, parse_faults

DIALECTS = (
    binance_spot.DIALECT,
    binance_usdm.DIALECT,
    binance_usdm.COIN_DIALECT,
    upbit.DIALECT,
    publishers.DIALECT,
)
_HTML = "<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"


def build_app(
    exchange: SimulatedExchange, *, weight_limits: Mapping[str, int] | None = None
) -> Starlette:
    """Return the application that serves `exchange`.

    Parameters
    ----------
    exchange : SimulatedExchange
    weight_limits : mapping, optional
        Dialect name (``binance_spot``, ``binance_perp``, ``upbit_spot``) to request weight a window;
        the venues' own by default.
    """
    routes = []
    for dialect in DIALECTS:
        limit = (weight_limits or {}).get(dialect.name, dialect.limit)
        limiter = RateLimiter(limit, dialect.window)
        routes += [_route(exchange, dialect, limiter, endpoint) for endpoint in dialect.endpoints]
    return Starlette(routes=[*routes, *_admin_routes(exchange)])


def _route(
    exchange: SimulatedExchange, dialect: Dialect, limiter: RateLimiter, endpoint: Endpoint
) -> Route:
    async def get(http: HttpRequest) -> Response:
        now = exchange.clock.now_ms()
        query = {**http.query_params, **http.path_params}
        fault = exchange.faults.of_answer(
            http.url.path, _symbols(exchange, dialect, endpoint, query, now), now
        )
        if fault is not None and fault.kind == "slow":
            await _dawdle(http, fault.options["seconds"])
        wait = limiter.charge(endpoint.weight(query))
        headers = dialect.headers(limiter.used, limiter.limit)
        if wait is not None:
            headers["Retry-After"] = str(int(wait) + 1)
            return _json(dialect.too_many(limiter.limit), 429, headers)
        if fault is not None and fault.kind not in ("slow", "truncated"):
            return _broken(dialect, fault, limiter.limit, headers)
        try:
            body = endpoint.answer(exchange, query, now)
        except VenueError as error:
            return _json(error.body, error.status, headers)
        if fault is not None and fault.kind == "truncated":
            body = body[: len(body) * 2 // 3]
        return _json(body, 200, headers)

    return Route(endpoint.path, get, methods=["GET"])


async def _dawdle(http: HttpRequest, seconds: float) -> None:
    # In short naps, so that a client that gave up does not hold up the server's end.
    end = asyncio.get_running_loop().time() + seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(min(left, 0.05))
        if await http.is_disconnected():
            return


def _symbols(
    exchange: SimulatedExchange,
    dialect: Dialect,
    endpoint: Endpoint,
    query: Mapping[str, str],
    now: int,
) -> tuple[str, ...]:
    asked = query.get(endpoint.symbol_key, "")
    item = exchange.find(dialect.name, asked, now)
    return (asked,) if item is None else (asked, item.symbol)


def _json(body: str, status: int, headers: Mapping[str, str]) -> Response:
    return Response(body, status, dict(headers), "application/json;charset=UTF-8")


def _broken(dialect: Dialect, fault: Fault, limit: int, headers: dict[str, str]) -> Response:
    if fault.kind == "html":
        return Response(_HTML, fault.options["status"], headers, "text/html")
    if fault.kind == "server_error":
        return Response("", fault.options["status"], headers, "text/plain")
    headers["Retry-After"] = str(fault.options["retry_after"])
    status = 429 if fault.kind == "rate_limited" else 418
    return _json(dialect.too_many(limit), status, headers)


def _admin_routes(exchange: SimulatedExchange) -> list[Route]:
    async def clock(http: HttpRequest) -> Response:
        if http.method == "POST":
            wanted = json.loads(await http.body())
            now = wanted.get("now")
            exchange.clock.set(
                now=None if now is None else parse_instant(now), speed=wanted.get("speed")
            )
        state = {
            "now": exchange.clock.now().isoformat(),
            "speed": exchange.clock.speed,
        }
        return _json(json.dumps(state), 200, {})

    async def faults(http: HttpRequest) -> Response:
        if http.method == "DELETE":
            exchange.faults.clear()
            return _json("{}", 200, {})
        added = parse_faults(json.loads(await http.body()))
        exchange.faults.add(added)
        return _json(json.dumps({"added": len(added)}), 200, {})

    return [
        Route("/_simulator/clock", _refusing(clock), methods=["GET", "POST"]),
        Route("/_simulator/faults", _refusing(faults), methods=["POST", "DELETE"]),
    ]


def _refusing(handler: Any) -> Any:
    async def guarded(http: HttpRequest) -> Response:
        try:
            return await handler(http)  # type: ignore[no-any-return]
        except (ConfigError, ValueError, TypeError, AttributeError) as error:
            return _json(json.dumps({"error": str(error)}), 400, {})

    return guarded
