"""Verbs about the books and their ledger: overrule, report, copy, verify."""

import getpass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import NO_REASON, By, Home, Json, Reason, Set, settings_of
from pipelines.cli.output import in_context, print_json, print_rows, progress_bar, say, show
from pipelines.context import Context, StepReport
from pipelines.errors import ConfigError, ContractViolation

app = typer.Typer()

BookName = Annotated[str, typer.Option("--book", help="A book's name, as in `hourglass status`.")]


def _add_control(action: str, summary: str) -> None:
    def run(
        book: Annotated[str | None, typer.Option("--book", help="A book's name.")] = None,
        every: Annotated[
            bool, typer.Option("--all", help="Every book that trades: the kill switch.")
        ] = False,
        reason: Reason = NO_REASON,
        by: By = None,
        home: Home = None,
        json_output: Json = False,
        sets: Set = None,
    ) -> None:
        if (book is None) == (not every):
            raise ConfigError(f"{action} whom?", remedy="give either --book NAME or --all")
        settings = settings_of(home, sets)
        asked_at = clock.floor_to_grid(clock.now(), settings.timeframe)

        def work(context: Context) -> StepReport:
            from pipelines.steps.control_book import ALL, control_book

            words = (action, book or ALL, reason, by or getpass.getuser())
            return control_book(context, asked_at, *words)

        report = in_context(settings, work, json_output)
        if json_output:
            print_json(report.as_json())
            return
        for row in report.detail["books"]:
            held = "from" if row["changed"] else "already, since"
            say(f"{row['book']}: {row['mode']} {held} {row['effective_from']}")
        if not report.detail["books"]:
            say("no book trades: nothing to do")

    run.__doc__ = summary
    app.command(action)(run)


for _action, _summary in (
    ("pause", "Let a book open nothing more; its exits stay."),
    ("resume", "Let a book trade again, even if it was halted."),
    ("liquidate", "Let a book close all it holds and open nothing."),
):
    _add_control(_action, _summary)


@app.command("gains")
def gains_command(
    book: BookName,
    year: Annotated[
        int | None, typer.Option("--year", min=1970, max=9999, help="Of the disposal, UTC.")
    ] = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", metavar="PATH", help="Write the rows to this file.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Report realised gains by tax lot as CSV."""
    from pipelines.ledger.gains import as_csv, as_text

    settings = settings_of(home, sets)
    rows = in_context(settings, lambda context: context.ledger.gains(book, year), json_output)
    if csv_path is not None:
        csv_path.expanduser().write_text(as_csv(rows), encoding="utf-8")
    if json_output:
        total = format(sum((row["gain"] for row in rows), Decimal(0)), "f")
        texts = [as_text(row) for row in rows]
        print_json({"book": book, "year": year, "gain": total, "rows": texts})
    elif csv_path is not None:
        say(f"{len(rows)} disposals of {book} in {csv_path}")
    else:
        for line in as_csv(rows).splitlines():
            say(line)


@app.command("journal")
def journal_command(
    book: BookName,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Newest trades to show.")] = 20,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """List a book's trades: why in, why out, how."""
    settings = settings_of(home, sets)
    trades = in_context(settings, lambda context: context.ledger.journal(book, limit), json_output)
    if json_output:
        print_json(trades)
    else:
        print_rows([_trade(trade) for trade in trades])


def _trade(trade: dict[str, Any]) -> dict[str, Any]:
    keys = ("entered_at", "symbol", "side", "bars_held", "entry_price", "exit_price", "realised")
    shares = {key: f"{trade[key]:+.2%}" for key in ("return", "mae", "mfe")}
    why_in, why_out = trade["why_in"], trade["why_out"]
    edge = why_in["edge"]
    expected = "no expectation stated" if edge is None else f"expected {edge:+.2%}"
    return {
        **{key: trade[key] for key in keys},
        **shares,
        "R": trade["r_multiple"],
        "why in": expected,
        "why out": f"{why_out['kind']}: {why_out['reason']}",
    }


@app.command("backup")
def backup_command(
    to: Annotated[Path, typer.Option("--to", help="A new FILE.tar.zst, or a new folder.")],
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Copy the ledger as it stands now, while it trades."""
    settings = settings_of(home, sets)

    def work(context: Context) -> dict[str, Any]:
        from pipelines.backup import backup

        with progress_bar("backup") as progress:
            return backup(context, to, clock.now(), progress)

    answer = in_context(settings, work, json_output)
    show(answer, json_output)
    if answer["findings"] and not json_output:
        say("the ledger does not verify: keep your older backups")


@app.command("restore")
def restore_command(
    source: Annotated[Path, typer.Option("--from", help="What `hourglass backup` wrote.")],
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="Replace a ledger that is not empty; it is backed up first."
        ),
    ] = False,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Put a backup into the ledger, and verify it."""
    settings = settings_of(home, sets)

    def work(context: Context) -> dict[str, Any]:
        from pipelines.backup import restore

        with progress_bar("restore") as progress:
            return restore(context, source, clock.now(), replace=replace, progress=progress)

    show(in_context(settings, work, json_output), json_output)


@app.command("verify")
def verify_command(
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="T",
            help="Compare with the chain only hours known after this instant.",
        ),
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Recompute the ledger from nothing; 3 if it differs."""
    settings = settings_of(home, sets)
    instant = clock.parse_instant(since) if since else None

    def work(context: Context) -> dict[str, Any]:
        findings = context.ledger.verify(instant)
        return {"ok": not findings, "findings": findings, "counts": context.ledger.counts()}

    answer = in_context(settings, work, json_output)
    if json_output:
        print_json(answer)
    else:
        for finding in answer["findings"]:
            say(f"WRONG  {finding}")
        counted = ", ".join(f"{count:,} {name}" for name, count in answer["counts"].items())
        say(f"{'verified' if answer['ok'] else 'NOT AS IT WAS WRITTEN'}: {counted}")
    if not answer["ok"]:
        raise typer.Exit(ContractViolation.exit_code)
