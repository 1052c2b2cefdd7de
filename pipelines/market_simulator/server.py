"""The HTTP server: routes of every dialect, rate limits, faults of the answer, and its life.

Beside the venues' API it answers ``GET`` and ``POST /_simulator/clock`` (``{"now": "2024-06-01T14:00Z",
"speed": 0}``) and ``POST`` and ``DELETE /_simulator/faults`` (a fault script), so that tests and
replays can move the clock and break things at run time.
"""

import asyncio
import json
import signal as signal_module
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from pipelines.clock import format_instant, parse_instant
from pipelines.errors import ConfigError
from pipelines.market_simulator import binance_spot, binance_usdm, upbit
from pipelines.market_simulator.bars import Market
from pipelines.market_simulator.clock import SimulatedClock
from pipelines.market_simulator.exchange import (
    Dialect,
    Endpoint,
    RateLimiter,
    SimulatedExchange,
    VenueError,
)
from pipelines.market_simulator.faults import Fault, Faults, parse_faults, read_faults
from pipelines.market_simulator.replay import ReplayMarket
from pipelines.market_simulator.synthetic import DEFAULT_SIGNAL, SyntheticMarket
from pipelines.settings import Settings

DIALECTS = (binance_spot.DIALECT, binance_usdm.DIALECT, binance_usdm.COIN_DIALECT, upbit.DIALECT)
DEFAULT_SYMBOLS = (
    *Settings().universe,
    "BTC/USDT:USDT",
    "ETH/USDT:USDT",
    "SOL/USDT:USDT",
    "BTC/KRW",
    "ETH/KRW",
    "XRP/KRW",
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


@dataclass(frozen=True)
class Simulator:
    """A simulator that runs in this process."""

    base_url: str
    clock: SimulatedClock
    faults: Faults


@contextmanager
def running_simulator(
    market: Market,
    *,
    now: datetime | None = None,
    speed: float = 0.0,
    faults: Iterable[Mapping[str, Any]] = (),
    weight_limits: Mapping[str, int] | None = None,
) -> Iterator[Simulator]:
    """Serve `market` in a thread, on a port of its own on the loopback interface.

    Parameters
    ----------
    market : Market
        A `SyntheticMarket` or a `ReplayMarket`.
    now, speed
        The simulated clock; None is the wall clock's instant, speed 0 is frozen.
    faults : iterable of mappings
        A fault script; see `pipelines.market_simulator.faults`.
    weight_limits : mapping, optional
        See `build_app`.
    """
    exchange = SimulatedExchange(market, SimulatedClock(now, speed), Faults(parse_faults(faults)))
    listening = _listen("127.0.0.1", 0)
    server = _server(build_app(exchange, weight_limits=weight_limits))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        port = listening.getsockname()[1]
        yield Simulator(f"http://127.0.0.1:{port}", exchange.clock, exchange.faults)
    finally:
        server.should_exit = True
        thread.join(10.0)
        listening.close()


def serve(
    *,
    port: int,
    host: str = "127.0.0.1",
    now: datetime | None = None,
    speed: float = 1.0,
    replay: Path | None = None,
    symbols: Sequence[str] = DEFAULT_SYMBOLS,
    seed: int = 7,
    signal: float = DEFAULT_SIGNAL,
    faults_file: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return.

    Parameters
    ----------
    port : int
        0 takes a free one.
    host : str
    now, speed
        The simulated clock; None is the wall clock's instant, speed 1 is real time.
    replay : Path, optional
        Folder of real bars; without it the market is synthetic.
    symbols, seed, signal
        See `SyntheticMarket`; not for a replay.
    faults_file : Path, optional
        A fault script.

    Raises
    ------
    ConfigError
        If the port is taken, or the folder, the script or a symbol cannot be used.
    """
    faults = Faults(read_faults(faults_file) if faults_file else ())
    market: Market = (
        ReplayMarket(replay) if replay else SyntheticMarket(symbols, seed=seed, signal=signal)
    )
    exchange = SimulatedExchange(market, SimulatedClock(now, speed), faults)
    with _listen(host, port) as listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        clock = f"{format_instant(exchange.clock.now())}, speed {speed:g}"
        source = f"replay of {replay}" if replay else f"synthetic, seed {seed}, signal {signal:g}"
        print(f"listening on {address} ({source}; clock {clock})", flush=True)  # noqa: T201
        with _signals_end_quietly():
            _server(build_app(exchange)).run([listening])


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    # uvicorn stops on SIGINT and SIGTERM, then raises the signal again for the handler before it.
    ending = (signal_module.SIGINT, signal_module.SIGTERM)
    before = [signal_module.signal(number, lambda *_: None) for number in ending]
    try:
        yield
    finally:
        for number, handler in zip(ending, before, strict=True):
            signal_module.signal(number, handler)


def _server(app: Starlette) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"port {port} of {host} cannot be used: {error.strerror}",
            remedy="choose another with --port, or stop what listens there",
        ) from None
    listening.listen(128)
    return listening
