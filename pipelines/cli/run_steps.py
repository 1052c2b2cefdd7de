"""Verbs that run steps: of one hour, of a training, of a span."""

from importlib import import_module
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import (
    AsOf,
    End,
    Home,
    Json,
    Set,
    Start,
    Symbols,
    instant_of,
    settings_of,
)
from pipelines.cli.output import in_context, progress_bar, say, show, show_report
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation
from pipelines.settings import Settings

app = typer.Typer()


def _run_step(verb: str, as_of: str | None, settings: Settings, as_json: bool) -> None:
    name = verb.replace("-", "_")
    instant = instant_of(as_of, settings)

    def work(context: Context) -> StepReport:
        report: StepReport = getattr(import_module(f"pipelines.steps.{name}"), name)(
            context, instant
        )
        return report

    show_report(in_context(settings, work, as_json), as_json)


def _add_step(verb: str, summary: str) -> None:
    def run(
        as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
    ) -> None:
        _run_step(verb, as_of, settings_of(home, sets), json_output)

    run.__doc__ = summary
    app.command(verb)(run)


for _verb, _summary in (
    ("ingest-bars", "Fetch the closed bars of the hour into the lake."),
    ("check-bars", "Check the hour's bars in their context."),
    ("ingest-sources", "Fetch what is read beside the bars, where it is due."),
    ("build-features", "Compute the features of the hour."),
    ("check-features", "Check the hour's features."),
    ("score-bars", "Score the hour with every live model."),
    ("watch-champion", "Follow an alias moved by hand; roll back at a guardrail."),
    ("trade-paper", "Trade every book on the hour's bars."),
    ("close-outcomes", "Close every score whose horizon is over."),
    ("compare-models", "Compare every challenger with the champion."),
    ("pulse-drift", "Ask whether the newest bar is like those trained on."),
    ("check-drift", "Ask whether the market is still the one trained on."),
    ("maintain-lake", "Compact the lake and drop what time travel outlived."),
):
    _add_step(_verb, _summary)


@app.command("train")
def train_command(
    as_of: AsOf = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
    at_version: Annotated[
        list[str] | None,
        typer.Option(
            "--at-version",
            metavar="TABLE=N",
            help="Read bars, features or funding as of this version, e.g. bars=12.",
        ),
    ] = None,
    reproduce: Annotated[
        str | None,
        typer.Option(
            "--reproduce",
            metavar="RUN_ID",
            help="Train a logged run again in memory and compare; leaves with 3 if a number differs.",
        ),
    ] = None,
) -> None:
    """Train by purged walk-forward; register it."""
    settings = settings_of(home, sets)
    if reproduce is not None:
        _reproduce(settings, reproduce, json_output)
        return
    instant = instant_of(as_of, settings)
    versions = _table_versions(at_version or [])

    def work(context: Context) -> StepReport:
        from pipelines.steps.train import train

        with progress_bar("training") as progress:
            return train(context, instant, versions, progress)

    show_report(in_context(settings, work, json_output), json_output)


def _reproduce(settings: Settings, run_id: str, as_json: bool) -> None:
    def work(context: Context) -> dict[str, Any]:
        from pipelines.reproduction import reproduce

        with progress_bar("reproduction") as progress:
            return reproduce(context, run_id, progress).as_json()

    answer = in_context(settings, work, as_json)
    show(answer, as_json)
    if not as_json:
        say("every number is equal" if answer["equal"] else "NUMBERS DIFFER")
    if not answer["equal"]:
        raise typer.Exit(ContractViolation.exit_code)


def _table_versions(given: list[str]) -> dict[str, int]:
    versions = {}
    for text in given:
        table, _, number = text.partition("=")
        if table not in ("bars", "features", "funding") or not number.isdigit():
            raise ConfigError(
                f"--at-version {text!r} does not name a version of bars, features or funding",
                remedy="write it as bars=12; the training's MLflow run says what it read",
            )
        versions[table] = int(number)
    return versions


@app.command("backfill")
def backfill_command(
    start: Start = None,
    end: End = None,
    symbols: Symbols = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Fetch history into the lake; run again, it continues."""
    settings = settings_of(home, sets)
    first = clock.parse_instant(start or settings.ingest.history_start)
    last = instant_of(end, settings)
    chosen = tuple(s.strip() for s in symbols.split(",")) if symbols else None

    def work(context: Context) -> StepReport:
        from pipelines.steps.backfill import backfill

        with progress_bar("backfill") as progress:
            return backfill(context, first, last, symbols=chosen, progress=progress)

    show_report(in_context(settings, work, json_output), json_output)


@app.command("replay")
def replay_command(
    start: Annotated[
        str,
        typer.Option("--start", metavar="T", help="The first hour is the one after this instant."),
    ],
    end: Annotated[str, typer.Option("--end", metavar="T", help="The last hour.")],
    airflow: Annotated[
        bool,
        typer.Option("--airflow", help="Run every hour through the Airflow of `hourglass up`."),
    ] = False,
    daily: Annotated[
        bool,
        typer.Option("--daily", help="At midnight also compare, look for drift and promote."),
    ] = False,
    retrain_every: Annotated[
        int | None,
        typer.Option(
            "--retrain-every",
            metavar="DAYS",
            min=1,
            help="Train a challenger so often; with --daily.",
        ),
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Run past hours, or whole days, into the ledger."""
    if (airflow and daily) or (retrain_every and not daily):
        raise ConfigError(
            "--daily does not go with --airflow, and --retrain-every only with --daily",
            remedy="Airflow has its own daily runs",
        )
    settings = settings_of(home, sets)
    first, last = clock.parse_instant(start), instant_of(end, settings)

    def work(context: Context) -> StepReport:
        from pipelines.replay import (
            replay,
            run_hour,
            run_hour_and_day,
            run_hour_through_airflow,
        )

        run = run_hour_and_day(retrain_every) if daily else run_hour
        run = run_hour_through_airflow if airflow else run
        with progress_bar("replay") as progress:
            return replay(context, first, last, run=run, progress=progress)

    show_report(in_context(settings, work, json_output), json_output)
