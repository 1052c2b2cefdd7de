"""The `hourglass` command line.

Every verb takes `--json` where it reads or changes state: one JSON value on stdout and nothing else
there. Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 contract violation, 4 source unavailable.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table as RichTable
from typer.exceptions import TyperException

from pipelines import clock
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, HourglassError, policy_error
from pipelines.settings import Settings, load_settings, resolve_settings

T = TypeVar("T")

app = typer.Typer(
    name="hourglass",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Batch MLOps for crypto trading: nothing computed for an instant depends on anything known after it.",
)

Home = Annotated[Path | None, typer.Option("--home", help="Folder of all state.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting, e.g. training.search.trials=5."
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="T",
        help="The instant to compute, e.g. 2024-06-01T14:00Z; by default the newest closed bar.",
    ),
]
Start = Annotated[
    str | None, typer.Option("--start", metavar="T", help="Bars known after this instant.")
]
End = Annotated[
    str | None, typer.Option("--end", metavar="T", help="Bars known up to this instant.")
]
Symbols = Annotated[
    str | None, typer.Option("--symbols", help="Comma-separated symbols; by default the universe.")
]

console = Console(stderr=True)


# ---------------------------------------------------------------- steps of the hour and the day


def _add_step(verb: str, summary: str) -> None:
    def run(
        as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
    ) -> None:
        _run_step(verb, as_of, _settings(home, sets), json_output)

    run.__doc__ = summary
    app.command(verb)(run)


for _verb, _summary in (
    ("ingest-bars", "Fetch the closed bars of the hour into the lake."),
    ("check-bars", "Check the hour's bars in their context."),
    ("build-features", "Compute the features of the hour."),
    ("check-features", "Check the hour's features."),
    ("score-bars", "Score the hour with every live model."),
    ("trade-paper", "Trade every book on the hour's bars."),
    ("maintain-lake", "Compact the lake and drop files older than its time travel."),
):
    _add_step(_verb, _summary)


@app.command("train")
def train_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Train by purged walk-forward, log to MLflow, register the challenger."""
    settings = _settings(home, sets)
    instant = _instant(as_of, settings)

    def work(context: Context) -> StepReport:
        from pipelines.steps.train import train

        with _progress("training") as progress:
            return train(context, instant, progress=progress)

    _report(_in_context(settings, work, json_output), json_output)


@app.command("backfill")
def backfill_command(
    start: Start = None,
    end: End = None,
    symbols: Symbols = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Fetch history into the lake; restarting continues where it stopped."""
    settings = _settings(home, sets)
    first = clock.parse_instant(start or settings.ingest.history_start)
    last = _instant(end, settings)
    chosen = tuple(s.strip() for s in symbols.split(",")) if symbols else None

    def work(context: Context) -> StepReport:
        from pipelines.steps.backfill import backfill

        with _progress("backfill") as progress:
            return backfill(context, first, last, symbols=chosen, progress=progress)

    _report(_in_context(settings, work, json_output), json_output)


@app.command("replay")
def replay_command(
    start: Annotated[
        str,
        typer.Option("--start", metavar="T", help="The first hour is the one after this instant."),
    ],
    end: Annotated[str, typer.Option("--end", metavar="T", help="The last hour.")],
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Run the hourly chain over past hours, one by one, into the real ledger."""
    settings = _settings(home, sets)
    first, last = clock.parse_instant(start), _instant(end, settings)

    def work(context: Context) -> StepReport:
        from pipelines.replay import replay

        with _progress("replay") as progress:
            return replay(context, first, last, progress=progress)

    _report(_in_context(settings, work, json_output), json_output)


@app.command("backtest")
def backtest_command(
    start: Annotated[str, typer.Option("--start", metavar="T")],
    end: Annotated[str, typer.Option("--end", metavar="T")],
    model: Annotated[
        str, typer.Option("--model", help="A version, champion, or a baseline strategy.")
    ] = "champion",
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Run the engine over a span of the lake without touching the ledger."""
    settings = _settings(home, sets)
    first, last = clock.parse_instant(start), _instant(end, settings)

    def work(context: Context) -> dict[str, Any]:
        from pipelines.steps.backtest import backtest_model

        return backtest_model(context, model, first, last)

    _show(_in_context(settings, work, json_output), json_output)


# ---------------------------------------------------------------- looking


@app.command("status")
def status_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Show the tables, the champion, every book and whether the ledger balances."""
    settings = _settings(home, sets)
    instant = clock.parse_instant(as_of) if as_of else None

    def work(context: Context) -> dict[str, Any]:
        from pipelines.status import status

        return status(context, instant)

    answer = _in_context(settings, work, json_output)
    if json_output:
        _print_json(answer)
    else:
        from pipelines.status import render

        render(answer, Console())


@app.command("tables")
def tables_command(
    name: Annotated[str | None, typer.Argument(help="A table to read.")] = None,
    at_version: Annotated[
        int | None, typer.Option("--at-version", help="Read this version.")
    ] = None,
    at_time: Annotated[
        str | None, typer.Option("--at-time", metavar="T", help="Read what stood at this instant.")
    ] = None,
    end: End = None,
    start: Start = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest rows to show.")] = 20,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """List the lake's tables, or read one as it stands or stood."""
    settings = _settings(home, sets)

    def work(context: Context) -> Any:
        from pipelines.status import list_tables, read_table

        if name is None:
            return list_tables(context)
        return read_table(
            context,
            name,
            version=at_version,
            at_time=clock.parse_instant(at_time) if at_time else None,
            start=clock.parse_instant(start) if start else None,
            end=clock.parse_instant(end) if end else None,
            limit=limit,
        )

    _show(_in_context(settings, work, json_output), json_output)


@app.command("config")
def config_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Print the resolved settings and where each comes from."""
    resolved = resolve_settings(_overrides(home, sets))
    rows = resolved.rows()
    if json_output:
        _print_json({row["key"]: {"value": row["value"], "origin": row["origin"]} for row in rows})
    else:
        _print_rows(rows)


@app.command("doctor")
def doctor_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Check that everything Hourglass needs is there, and say how to mend what is not."""
    from pipelines.doctor import diagnose

    settings = _settings(home, sets)
    findings = _quietly(lambda: diagnose(settings), json_output)
    if json_output:
        _print_json({"healthy": all(f["ok"] for f in findings), "checks": findings})
    else:
        _print_rows([{**f, "ok": "ok" if f["ok"] else "MEND"} for f in findings])
    if not all(f["ok"] for f in findings):
        raise typer.Exit(4)


# ---------------------------------------------------------------- running things


@app.command("exchange")
def exchange_command(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on loopback; 0 picks a free one.")
    ] = 8070,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
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
    """Serve the market simulator: Binance and Upbit REST on loopback."""
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
    from pipelines.stack import up

    settings = _settings(home, sets)
    _show(_quietly(lambda: up(settings, foreground=foreground), json_output), json_output)


@app.command("down")
def down_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Stop exactly what `hourglass up` started."""
    from pipelines.stack import down

    settings = _settings(home, sets)
    _show(_quietly(lambda: down(settings), json_output), json_output)


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
    """Run the whole pipeline on the simulated market, then one hour through Airflow."""
    from pipelines.demo import run_demo

    settings = _settings(home, sets)
    _quietly(lambda: run_demo(settings, headless=headless, console=console), json_output)


# ---------------------------------------------------------------- plumbing


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_exit_code(words))


def _exit_code(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        # In this mode typer returns the code of a typer.Exit.
        return int(app(words, standalone_mode=False) or 0)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        refusal = _usage(error) or policy_error(error)
        if refusal is not None:
            return _complain(refusal, as_json)
        if not as_json:
            raise
        _complain_json(f"{type(error).__name__}: {error}", "bug", "report it with the log")
        return 1


def _usage(error: Exception) -> ConfigError | None:
    """Return a wrong command line, as typer tells it, as a configuration error."""
    if isinstance(error, TyperException) and hasattr(error, "format_message"):
        return ConfigError(error.format_message(), remedy="see `hourglass --help`")
    return None


def _complain(error: HourglassError, as_json: bool) -> int:
    if as_json:
        _complain_json(error.message, error.kind, error.remedy)
    else:
        console.print(f"[bold red]{error.kind}[/]: ", end="")
        console.print(error.message, markup=False, highlight=False)
        if error.remedy:
            console.print(f"  remedy: {error.remedy}", markup=False, highlight=False)
    return error.exit_code


def _complain_json(message: str, kind: str, remedy: str) -> None:
    print(json.dumps({"error": message, "kind": kind, "remedy": remedy}), file=sys.stderr)  # noqa: T201


def _overrides(home: Path | None, sets: list[str] | None) -> dict[str, Any]:
    overrides: dict[str, Any] = {"home": None if home is None else str(home)}
    for word in sets or ():
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word!r} has no value", remedy="write it as --set key=value")
        overrides[key.strip()] = value
    return overrides


def _settings(home: Path | None, sets: list[str] | None) -> Settings:
    return load_settings(_overrides(home, sets))


def _instant(text: str | None, settings: Settings) -> datetime:
    if text is None:
        return clock.floor_to_grid(clock.now(), settings.timeframe)
    return clock.check_as_of(clock.parse_instant(text), settings.timeframe)


def _run_step(verb: str, as_of: str | None, settings: Settings, as_json: bool) -> None:
    name = verb.replace("-", "_")
    instant = _instant(as_of, settings)

    def work(context: Context) -> StepReport:
        report: StepReport = getattr(import_module(f"pipelines.steps.{name}"), name)(
            context, instant
        )
        return report

    _report(_in_context(settings, work, as_json), as_json)


def _in_context(settings: Settings, work: Callable[[Context], T], as_json: bool) -> T:
    def run() -> T:
        with Context(settings) as context:
            return work(context)

    return _quietly(run, as_json)


def _quietly(work: Callable[[], T], as_json: bool) -> T:
    """Run `work`; with --json whatever it or a library prints goes to stderr, so stdout stays one value."""
    if not as_json:
        return work()
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        return work()
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yield `progress(done, total, text)`, drawn on stderr."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, title=title)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total, description=text
        )


def _report(report: StepReport, as_json: bool) -> None:
    if as_json:
        _print_json(report.as_json())
        return
    change = "changed" if report.changed else "nothing to change"
    words = ", ".join(f"{key}={value}" for key, value in report.detail.items())
    Console().print(
        f"{report.step} {clock.format_instant(report.as_of)}: {change}. {words}",
        markup=False,
        highlight=False,
    )


def _show(answer: Any, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
    elif isinstance(answer, list):
        _print_rows(answer)
    else:
        _print_rows([{"key": key, "value": value} for key, value in answer.items()])


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    out = Console()
    if not rows:
        out.print("nothing yet")
        return
    table = RichTable(*map(str, rows[0]), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, allow_nan=False))  # noqa: T201


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.format_instant(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
