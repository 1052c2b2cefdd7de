"""Verbs that run things: the simulator, the stack, the demo."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import Home, Json, Set, overrides_of, settings_of
from pipelines.cli.output import console, print_json, progress_bar, quietly, show
from pipelines.errors import ConfigError
from pipelines.settings import resolve_settings

app = typer.Typer()


@app.command("exchange")
def exchange_command(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")
    ] = 8070,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="DIR", help="Serve the real bars of this folder."),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Serve the seeded synthetic market (the default).")
    ] = False,
    now: Annotated[
        str | None,
        typer.Option(
            "--now", metavar="T", help="What time it is there; by default, the wall clock."
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=0, help="0 freezes the clock, 1 is real time.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the synthetic market.")] = 7,
    signal: Annotated[
        float | None,
        typer.Option(
            "--signal",
            min=0,
            help="How much of the synthetic market can be foreseen; 0 is nothing.",
        ),
    ] = None,
    faults: Annotated[
        Path | None, typer.Option("--faults", metavar="FILE", help="A JSON script of faults.")
    ] = None,
) -> None:
    """Serve the market simulator: Binance and Upbit REST."""
    if replay is not None and synthetic:
        raise ConfigError("--replay and --synthetic exclude each other", remedy="give one of them")
    from pipelines.market_simulator.server import serve

    serve(
        host=host,
        port=port,
        now=clock.parse_instant(now) if now else None,
        speed=speed,
        replay=replay,
        seed=seed,
        signal=signal,
        faults_file=faults,
    )


@app.command("up")
def up_command(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay until Ctrl-C.")] = False,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Start PostgreSQL, MLflow and Airflow under a supervisor."""
    from pipelines.stack.lifecycle import up

    settings = settings_of(home, sets)
    show(quietly(lambda: up(settings, foreground=foreground), json_output, settings), json_output)


@app.command("down")
def down_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Stop exactly what `hourglass up` started."""
    from pipelines.stack.lifecycle import down

    settings = settings_of(home, sets)
    show(quietly(lambda: down(settings), json_output, settings), json_output)


@app.command("demo")
def demo_command(
    headless: Annotated[
        bool,
        typer.Option(
            "--headless", help="Stop everything at the end instead of waiting for Ctrl-C."
        ),
    ] = False,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Run it all on a simulated market, then through Airflow."""
    from pipelines.demo import run_demo

    # A terminated demo stops what it started, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    overrides = overrides_of(home, sets)
    resolved = resolve_settings(overrides)
    if resolved.origins["home"] != "command line" and not resolved.origins["home"].startswith("$"):
        # The demo's market is simulated: keep it apart from the home of real trading.
        resolved = resolve_settings({**overrides, "home": str(resolved.settings.home / "demo")})
    settings = resolved.settings

    def work() -> dict[str, Any]:
        return run_demo(settings, headless=headless, console=console, draw=progress_bar)

    summary = quietly(work, json_output, settings)
    if json_output:
        print_json(summary)
