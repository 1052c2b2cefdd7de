"""The life of the HTTP server: in a thread for tests, in the foreground for the command line."""

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

from pipelines.clock import format_instant
from pipelines.errors import ConfigError
from pipelines.market_simulator.app import build_app
from pipelines.market_simulator.bars import Market
from pipelines.market_simulator.clock import SimulatedClock
from pipelines.market_simulator.exchange import SimulatedExchange
from pipelines.market_simulator.faults import Faults, parse_faults, read_faults
from pipelines.market_simulator.replay import ReplayMarket
from pipelines.market_simulator.synthetic import DEFAULT_SIGNAL, SyntheticMarket
from pipelines.settings import Settings
from pipelines.symbols import perpetual_of

DEFAULT_SYMBOLS = (
    *Settings().universe,
    *(perpetual_of(symbol) for symbol in Settings().universe),
    "BTC/KRW",
    "ETH/KRW",
    "XRP/KRW",
)


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
    signal: float | None = None,
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
        See `SyntheticMarket`; without `signal` its default. Not for a replay.
    faults_file : Path, optional
        A fault script.

    Raises
    ------
    ConfigError
        If the port is taken, or the folder, the script or a symbol cannot be used.
    """
    faults = Faults(read_faults(faults_file) if faults_file else ())
    dial = DEFAULT_SIGNAL if signal is None else signal
    market: Market = (
        ReplayMarket(replay) if replay else SyntheticMarket(symbols, seed=seed, signal=dial)
    )
    exchange = SimulatedExchange(market, SimulatedClock(now, speed), faults)
    with _listen(host, port) as listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        clock = f"{format_instant(exchange.clock.now())}, speed {speed:g}"
        source = f"replay of {replay}" if replay else f"synthetic, seed {seed}, signal {dial:g}"
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
