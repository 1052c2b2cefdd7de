"""`hourglass demo`: the whole pipeline on the simulated market, then one hour through Airflow.

Set-up is over when this begins. In order: the market simulator, a backfill, features, a training
whose model becomes the champion, a replay into the ledger, the stack, one hour through Airflow, and a
summary. Everything it starts, it stops.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table as RichTable

from pipelines import clock
from pipelines.airflow.client import trigger_hour
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import SourceUnavailable
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.stack import lifecycle as stack
from pipelines.status import status
from pipelines.steps.backfill import backfill
from pipelines.steps.build_features import build_features
from pipelines.steps.train import train

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "ADA/USDT", "BNB/USDT")
HISTORY = timedelta(days=400)
REPLAYED = timedelta(days=14)
# Twice the simulator's own dial: 9 % of the variance of a day's return can be foreseen, at best.
SIGNAL = "0.3"
_LONGEST_WAIT_SECONDS = 60.0

Draw = Callable[[str], Any]


def run_demo(settings: Settings, *, headless: bool, console: Console, draw: Draw) -> dict[str, Any]:
    """Run the demo and return its summary as plain JSON types.

    Parameters
    ----------
    settings : Settings
        `home` keeps the demo's state: running the demo again goes on from it.
    headless : bool
        Stop everything at the end instead of waiting for Ctrl-C.
    console : rich.console.Console
        Where the story is told.
    draw : callable
        Title to a context manager that yields `progress(done, total, text)`.
    """
    began = time.perf_counter()
    settings = _for_the_demo(settings, scheduled=not headless)
    with ExitStack() as cleanup:
        cleanup.enter_context(_simulator(settings, console))
        with Context(settings) as context:
            _prepare(context, console, draw)
        console.rule("the stack: PostgreSQL, MLflow, Airflow")
        cleanup.callback(stack.down, settings, say=console.print)
        stack.up(settings, say=console.print)
        as_of = clock.floor_to_grid(clock.now(), settings.timeframe)
        console.rule(f"one hour through Airflow: {format_instant(as_of)}")
        run = trigger_hour(settings, as_of)
        with Context(settings) as context:
            summary = _summarise(context, run, time.perf_counter() - began)
        _draw_summary(summary, console)
        if run["state"] != "success":
            raise SourceUnavailable(
                f"the hour through Airflow ended in {run['state']}", remedy=f"look at {run['url']}"
            )
        if not headless:
            console.print("Everything stays up until Ctrl-C.")
            _wait_for_interrupt()
    return summary


def _for_the_demo(settings: Settings, *, scheduled: bool) -> Settings:
    """Point the settings at a simulator and at free ports; a demo that stays up trades on by itself."""
    ports = settings.stack.model_copy(
        update={
            "airflow_port": _free_port(settings.stack.host, settings.stack.airflow_port),
            "mlflow_port": _free_port(settings.stack.host, settings.stack.mlflow_port),
            "scheduled": scheduled,
        }
    )
    exchange = settings.exchange.model_copy(
        update={"base_url": f"http://127.0.0.1:{_free_port('127.0.0.1', 8070)}"}
    )
    universe = (
        tuple(symbol for symbol in SYMBOLS if symbol in settings.universe) or settings.universe
    )
    return settings.model_copy(update={"stack": ports, "exchange": exchange, "universe": universe})


def _prepare(context: Context, console: Console, draw: Draw) -> None:
    """Bring the home up to the newest hour but one, which is left to Airflow."""
    timeframe = context.settings.timeframe
    step = clock.timeframe_delta(timeframe)
    newest = clock.floor_to_grid(clock.now(), timeframe) - step
    traded = context.ledger.last_traded_at()
    if traded is None:
        trained_at = clock.floor_to_grid(newest - REPLAYED, timeframe)
        console.rule(f"history up to {format_instant(trained_at)}")
        with draw("backfill") as progress:
            backfill(context, trained_at - HISTORY, trained_at, progress=progress)
        console.print("features ...")
        build_features(context, trained_at)
        console.rule("training")
        with draw("training") as progress:
            train(context, trained_at, progress=progress)
        traded = trained_at
    if traded < newest:
        console.rule(f"replay {format_instant(traded)} to {format_instant(newest)}")
        with draw("replay") as progress:
            replay(context, traded, newest, progress=progress)


@contextmanager
def _simulator(settings: Settings, console: Console) -> Iterator[None]:
    """Run `hourglass exchange` in real time, as its own process, and stop it at the end."""
    url = str(settings.exchange.base_url)
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    console.rule(f"market simulator on {url}")
    program = "from pipelines.cli import main; main()"
    words = (
        "exchange",
        "--synthetic",
        "--signal",
        SIGNAL,
        "--speed",
        "1",
        "--port",
        url.rpartition(":")[2],
    )
    with (logs / "exchange.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *words], stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_it_answers(f"{url}/api/v3/time", process, logs / "exchange.log")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise SourceUnavailable(f"the simulator did not answer at {url}", remedy=f"read {log}")


def _free_port(host: str, preferred: int) -> int:
    """Return `preferred` if nobody listens on it, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SourceUnavailable(f"no free port on {host}", remedy="stop what listens there")


def _summarise(context: Context, run: dict[str, Any], seconds: float) -> dict[str, Any]:
    standing = status(context)
    states = {each.book.name: each for each in context.ledger.standings() if each.state}
    for book in standing["books"]:
        traded = states.get(book["book"])
        money = traded.state["money"] if traded and traded.state else {}
        initial = float(traded.book.initial_cash) if traded else book["equity"]
        book["return"] = book["equity"] / initial - 1.0
        book["fees"] = float(money.get("fees", 0.0))
        book["traded"] = float(money.get("traded", 0.0))
    settings = context.settings
    urls = {
        "airflow": stack.airflow_url(settings),
        "mlflow": f"{stack.mlflow_url(settings)}/#/experiments?workflowType=machine_learning",
        "exchange": settings.exchange.base_url,
    }
    return {**standing, "airflow_run": run, "urls": urls, "seconds": round(seconds, 1)}


def _draw_summary(summary: dict[str, Any], console: Console) -> None:
    champion, ledger, run = summary["champion"] or {}, summary["ledger"], summary["airflow_run"]
    console.rule("summary")
    table = RichTable(
        "book", "role", "equity", "return", "orders", "fills", "traded", "fees", box=None
    )
    for book in summary["books"]:
        table.add_row(
            book["book"],
            book["role"],
            f"{book['equity']:,.2f}",
            f"{book['return']:+.2%}",
            str(book["orders"]),
            str(book["fills"]),
            f"{book['traded']:,.0f}",
            f"{book['fees']:,.2f}",
        )
    console.print(table)
    console.print(f"champion      version {champion.get('version')} since {champion.get('since')}")
    console.print(
        f"ledger        {'balanced' if ledger['balanced'] else 'NOT BALANCED'}, audit chain "
        f"{'intact' if ledger['audit_chain'] else 'BROKEN'}"
    )
    console.print(f"Airflow run   {run['state']} in {run['seconds']} s", highlight=False)
    console.print(f"              {run['url']}", soft_wrap=True)
    for name, url in summary["urls"].items():
        console.print(f"{name:<13} {url}", soft_wrap=True)
    console.print(f"took          {summary['seconds']:.0f} s")


def _wait_for_interrupt() -> None:
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(1.0)
