"""Verbs about what came of it: predicted against actual, and where profit and loss came from."""

from typing import Annotated, Any

import typer

from pipelines.cli.options import AsOf, Home, Json, Set, instant_of, settings_of
from pipelines.cli.output import in_context, show
from pipelines.context import Context

app = typer.Typer()


def _names(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command("outcomes")
def outcomes_command(
    model: Annotated[
        str | None, typer.Option("--model", help="A model version; by default all.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Any of model, symbol, regime and week, comma-separated.")
    ] = "model",
    as_of: AsOf = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Show what scores were worth: predicted against actual."""
    settings = settings_of(home, sets)
    instant = instant_of(as_of, settings)

    def work(context: Context) -> list[dict[str, Any]]:
        from pipelines.outcome_list import list_outcomes

        return list_outcomes(context, instant, _names(by), model)

    answer = in_context(settings, work, json_output)
    show(answer if json_output else [_errors(one) for one in answer], json_output)


def _errors(one: dict[str, Any]) -> dict[str, Any]:
    percent = ("accuracy", "hit_rate", "interval_coverage", "interval_level", "mean_predicted", "mean_realised")  # fmt: skip
    told = {
        name: f"{value:.2%}" if name in percent and value is not None else value
        for name, value in one.items()
    }
    return {name.replace("_", " "): value for name, value in told.items()}


@app.command("attribution")
def attribution_command(
    book: Annotated[
        str | None, typer.Option("--book", help="A book's name; by default all.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Any of book, symbol, side and regime, comma-separated.")
    ] = "book",
    as_of: AsOf = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Show where every cent of profit and loss came from."""
    settings = settings_of(home, sets)
    instant = instant_of(as_of, settings)

    def work(context: Context) -> list[dict[str, Any]]:
        from pipelines.attribution_list import list_attribution

        return list_attribution(context, instant, _names(by), book)

    answer = in_context(settings, work, json_output)
    show(answer if json_output else [_parts(one) for one in answer], json_output)


def _parts(one: dict[str, Any]) -> dict[str, Any]:
    amounts = ("gross", "fees", "funding", "closed_pnl", "open_pnl", "pnl")
    return {
        name.replace("_", " "): f"{float(value):,.2f}" if name in amounts else value
        for name, value in one.items()
    }
