"""Verbs about who is champion: decide on evidence, overrule, go back, look."""

import getpass
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import (
    NO_REASON,
    AsOf,
    By,
    Home,
    Json,
    Reason,
    Set,
    instant_of,
    settings_of,
)
from pipelines.cli.output import in_context, print_json, say, show, show_report
from pipelines.context import Context, StepReport
from pipelines.settings import Settings

app = typer.Typer()


@app.command("promote-model")
def promote_model_command(
    as_of: AsOf = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="automatic, approve or manual; by default promotion.mode."),
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Promote or propose a challenger, or keep."""
    settings = settings_of(home, sets)
    instant = instant_of(as_of, settings)

    def work(context: Context) -> StepReport:
        from pipelines.steps.promote_model import promote_model

        return promote_model(context, instant, mode)  # type: ignore[arg-type]

    show_report(in_context(settings, work, json_output), json_output)


@app.command("settle-promotion")
def settle_promotion_command(
    version: Annotated[str, typer.Option("--version", help="The version that was proposed.")],
    answer: Annotated[str, typer.Option("--answer", help="Approve or Reject.")],
    as_of: AsOf = None,
    by: By = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Answer a proposed promotion without Airflow."""
    settings = settings_of(home, sets)
    instant = instant_of(as_of, settings)

    def work(context: Context) -> StepReport:
        from pipelines.steps.settle_promotion import settle_promotion

        return settle_promotion(context, instant, version, answer, by or getpass.getuser())

    show_report(in_context(settings, work, json_output), json_output)


@app.command("promote")
def promote_command(
    version: Annotated[str, typer.Option("--version", help="The version to make champion.")],
    reason: Reason = NO_REASON,
    by: By = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Make a version champion from the next hour on."""
    _change(settings_of(home, sets), "promote", version, reason, by, json_output)


@app.command("rollback")
def rollback_command(
    reason: Reason = NO_REASON,
    by: By = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Give the role back to the champion before."""
    _change(settings_of(home, sets), "rollback", None, reason, by, json_output)


def _change(
    settings: Settings,
    action: str,
    version: str | None,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    asked_at = clock.floor_to_grid(clock.now(), settings.timeframe)

    def work(context: Context) -> StepReport:
        from pipelines.steps.change_champion import change_champion

        return change_champion(context, asked_at, action, version, reason, by or getpass.getuser())

    report = in_context(settings, work, as_json)
    if as_json:
        print_json(report.as_json())
        return
    told = report.detail
    held = "from" if told["changed"] else "already, since"
    say(f"version {told['version']}: champion {held} {told['effective_from']}")


@app.command("promotions")
def promotions_command(
    at: Annotated[
        str | None, typer.Option("--at", metavar="T", help="Who was champion at this instant.")
    ] = None,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="What was decided, also what was not done, and why.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest decisions to show.")] = 50,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Show who was champion when, and why."""
    settings = settings_of(home, sets)
    instant = clock.parse_instant(at) if at else None

    def work(context: Context) -> list[dict[str, Any]]:
        from pipelines.promotion_list import list_decisions, list_promotions

        if decisions:
            return list_decisions(context, limit, instant)
        return list_promotions(context, instant)

    answer = in_context(settings, work, json_output)
    if not json_output and not decisions:
        answer = [{k: v for k, v in row.items() if k != "evidence"} for row in answer]
    show(answer, json_output)
