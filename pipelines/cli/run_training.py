"""Verbs of a training's steps, one by one: what `train` and the DAG run, for a machine more or a repair."""

from datetime import datetime
from importlib import import_module
from typing import Annotated, Any

import typer

from pipelines.cli.options import AsOf, Home, Json, Set, instant_of, settings_of
from pipelines.cli.output import in_context, progress_bar, show_report
from pipelines.context import Context, StepReport
from pipelines.settings import Settings

app = typer.Typer()

Training = Annotated[
    str, typer.Option("--training", metavar="ID", help="The training_id that plan-windows reports.")
]


def _continue(settings: Settings, as_json: bool, name: str, training: str, *given: Any) -> None:
    def work(context: Context) -> StepReport:
        step = getattr(import_module(f"pipelines.steps.{name}"), name)
        report: StepReport = step(context, _planned_for(context, training), training, *given)
        return report

    show_report(in_context(settings, work, as_json), as_json)


def _planned_for(context: Context, training: str) -> datetime:
    """Return the instant of a planned training: its other steps work for no other."""
    from pipelines.tracking.plan import load_unsearched

    return load_unsearched(context, training)[1].as_of


@app.command("plan-windows")
def plan_windows_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Plan a training's windows and its search."""
    settings = settings_of(home, sets)
    instant = instant_of(as_of, settings)

    def work(context: Context) -> StepReport:
        from pipelines.steps.plan_windows import plan_windows

        return plan_windows(context, instant)

    show_report(in_context(settings, work, json_output), json_output)


@app.command("search")
def search_command(
    training: Training,
    worker: Annotated[int, typer.Option("--worker", help="A number for the report.")] = 0,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Work on the search of a training; many processes may."""

    def work(context: Context) -> StepReport:
        from pipelines.steps.search import search

        with progress_bar("search") as progress:
            return search(context, _planned_for(context, training), training, worker, progress)

    show_report(in_context(settings_of(home, sets), work, json_output), json_output)


@app.command("run-window")
def run_window_command(
    training: Training,
    window: Annotated[int, typer.Option("--window", help="Number of the test window, from 0.")],
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Fit before one test window and score it."""
    _continue(settings_of(home, sets), json_output, "run_window", training, window)


def _add_step(verb: str, summary: str) -> None:
    name = verb.replace("-", "_")

    def run(
        training: Training, home: Home = None, json_output: Json = False, sets: Set = None
    ) -> None:
        _continue(settings_of(home, sets), json_output, name, training)

    run.__doc__ = summary
    app.command(verb)(run)


for _verb, _summary in (
    ("choose-params", "Take the best trial's parameters after a search."),
    ("fit-challenger", "Fit the challenger on the newest span and log it."),
    ("judge", "Judge a training's windows together, against baselines."),
    ("register", "Make a judged model a version with a book of its own."),
):
    _add_step(_verb, _summary)
