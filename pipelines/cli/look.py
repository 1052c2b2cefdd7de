"""Verbs that only look."""

import json
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import AsOf, End, Home, Json, Set, Start, overrides_of, settings_of
from pipelines.cli.output import in_context, in_words, print_json, print_rows, quietly, say, show
from pipelines.context import Context
from pipelines.settings import resolve_settings

app = typer.Typer()


@app.command("status")
def status_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Show the tables, the champion, the books, the ledger."""
    settings = settings_of(home, sets)
    instant = clock.parse_instant(as_of) if as_of else None

    def work(context: Context) -> dict[str, Any]:
        from pipelines.status import status

        return status(context, instant)

    answer = in_context(settings, work, json_output)
    if json_output:
        print_json(answer)
    else:
        _show_status(answer)


def _show_status(answer: dict[str, Any]) -> None:
    champion, ledger = answer["champion"], answer["ledger"]
    named = champion and f"version {champion['version']} since {champion['since']}"
    say(f"as of     {answer['as_of'] or 'nothing yet'}")
    say(f"champion  {named or 'none yet: run `hourglass train`'}")
    say(
        f"ledger    {'balanced' if ledger['balanced'] else 'NOT BALANCED'}, audit chain "
        f"{'intact' if ledger['audit_chain'] else 'BROKEN'}"
    )
    if answer["tables"]:
        say("")
        print_rows([{"table": name, **info} for name, info in answer["tables"].items()])
    if answer["books"]:
        say("")
        print_rows([_book(book) for book in answer["books"]])


def _book(book: dict[str, Any]) -> dict[str, Any]:
    held = [f"{place['symbol']} {in_words(place['quantity'])}" for place in book["positions"]]
    money = {key: f"{book[key]:,.2f}" for key in ("equity", "cash")}
    mode = f"{book['mode']}, halted" if book["halted"] else book["mode"]
    shown = {"book": book["book"], "role": book["role"], "mode": mode, **money}
    return {**shown, "orders": book["orders"], "fills": book["fills"], "positions": held}


@app.command("comparisons")
def comparisons_command(
    as_of: AsOf = None, home: Home = None, json_output: Json = False, sets: Set = None
) -> None:
    """Show how every challenger compares with the champion."""
    settings = settings_of(home, sets)
    instant = clock.parse_instant(as_of) if as_of else None

    def work(context: Context) -> list[dict[str, Any]]:
        from pipelines.comparison_list import list_comparisons

        return list_comparisons(context, instant)

    answer = in_context(settings, work, json_output)
    show(answer if json_output else [_comparison(one) for one in answer], json_output)


def _comparison(one: dict[str, Any]) -> dict[str, Any]:
    shown = ("challenger", "champion", "measure", "verdict", "blocks", "mean_difference")
    ends = [one["lower"], one["upper"]]
    return {
        **{name.replace("_", " "): one[name] for name in shown},
        "between": None if ends == [None, None] else " and ".join(map(in_words, ends)),
        "days to decision": one["days_to_decision"],
        "detectable in 90 days": one["minimum_detectable_90d"],
        "reason": one["reason"],
    }


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
    """List the lake's tables, or read one, as of any version."""
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

    answer = in_context(settings, work, json_output)
    if name is None and not json_output:
        answer = [
            {key: _size(value) if key == "bytes" else value for key, value in row.items()}
            for row in answer
        ]
    show(answer, json_output)


def _size(count: int) -> str:
    return f"{count / 1024**2:,.1f} MiB" if count >= 1024**2 else f"{count / 1024:,.1f} KiB"


@app.command("features")
def features_command(
    family: Annotated[
        str | None, typer.Option("--family", help="Comma-separated families; by default all.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """List the features and what is known of them."""
    settings = settings_of(home, sets)
    families = [word.strip() for word in (family or "").split(",") if word.strip()]

    def work(context: Context) -> list[dict[str, Any]]:
        from pipelines.feature_list import list_features

        return list_features(context, families)

    answer = in_context(settings, work, json_output)
    show(answer if json_output else [_feature(one) for one in answer], json_output)


def _feature(one: dict[str, Any]) -> dict[str, Any]:
    share, gain, often = one["null_share"], one["mean_share"], one["stability"]
    return {
        "feature": one["name"],
        "family": one["family"],
        "lookback": one["lookback"],
        "scope": one["scope"],
        "null": None if share is None else f"{share:.1%}",
        "first valid": one["first_valid"],
        "mean importance": None if gain is None else f"{gain:.2%}",
        "mean rank": None if gain is None else f"{one['mean_rank']:.0f}",
        "in the top": None if often is None else f"{often:.0%}",
        "unit": one["unit"],
        "what": one["doc"].removesuffix(f" [{one['unit']}]"),
    }


@app.command("models")
def models_command(json_output: Json = False) -> None:
    """List the models and what a search varies in each."""
    from pipelines.model_list import list_models

    found = list_models()
    show(found if json_output else [_model(one) for one in found], json_output)


def _model(one: dict[str, Any]) -> dict[str, Any]:
    ranges = [
        f"{name} {in_words(way['low'])}..{in_words(way['high'])}{' log' if way.get('log') else ''}"
        for name, way in one["search_space"].items()
    ]
    return {**one, "search_space": ranges}


@app.command("config")
def config_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Print the resolved settings and where each comes from."""
    resolved = resolve_settings(overrides_of(home, sets))
    rows = resolved.rows()
    if json_output:
        print_json({row["key"]: {"value": row["value"], "origin": row["origin"]} for row in rows})
    else:
        print_rows([{**row, "value": _as_written(row["value"])} for row in rows])


def _as_written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@app.command("doctor")
def doctor_command(home: Home = None, json_output: Json = False, sets: Set = None) -> None:
    """Check what Hourglass needs, and say how to mend it."""
    from pipelines.doctor import diagnose

    settings = settings_of(home, sets)
    findings = quietly(lambda: diagnose(settings), json_output, settings)
    if json_output:
        print_json({"healthy": all(f["ok"] for f in findings), "checks": findings})
    else:
        for finding in findings:
            say(f"{'ok' if finding['ok'] else 'MEND':6}{finding['check']:15}{finding['found']}")
            if not finding["ok"]:
                say(f"{'':21}remedy: {finding['remedy']}")
    if not all(f["ok"] for f in findings):
        raise typer.Exit(4)
