"""Verbs that only look."""

from typing import Annotated, Any

import typer
from rich.console import Console

from pipelines import clock
from pipelines.cli.options import AsOf, End, Home, Json, Set, Start, overrides_of, settings_of
from pipelines.cli.output import in_context, print_json, print_rows, quietly, show
from pipelines.context import Context
from pipelines.settings import resolve_settings

app = typer.Typer()


@app.command("status")
def status_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Show the tables, the champion, every book and whether the ledger balances."""
    settings = settings_of(home, sets)
    instant = clock.parse_instant(as_of) if as_of else None

    def work(context: Context) -> dict[str, Any]:
        from pipelines.status import status

        return status(context, instant)

    answer = in_context(settings, work, json_output)
    if json_output:
        print_json(answer)
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
    settings = settings_of(home, sets)

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

    show(in_context(settings, work, json_output), json_output)


@app.command("config")
def config_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Print the resolved settings and where each comes from."""
    resolved = resolve_settings(overrides_of(home, sets))
    rows = resolved.rows()
    if json_output:
        print_json({row["key"]: {"value": row["value"], "origin": row["origin"]} for row in rows})
    else:
        print_rows(rows)


@app.command("doctor")
def doctor_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Check that everything Hourglass needs is there, and say how to mend what is not."""
    from pipelines.doctor import diagnose

    settings = settings_of(home, sets)
    findings = quietly(lambda: diagnose(settings), json_output, settings)
    if json_output:
        print_json({"healthy": all(f["ok"] for f in findings), "checks": findings})
    else:
        print_rows([{**f, "ok": "ok" if f["ok"] else "MEND"} for f in findings])
    if not all(f["ok"] for f in findings):
        raise typer.Exit(4)
