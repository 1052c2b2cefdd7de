"""The verb that trades the past."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import Home, Json, Set, Symbols, instant_of, settings_of
from pipelines.cli.output import in_context, print_json, print_rows, print_tree, progress_bar, say
from pipelines.context import Context
from pipelines.settings import Settings

app = typer.Typer()
_LISTED = 20
_TOLD_APART = ("id", "runs", "notes", "in_sample", "explanation", "report", "config", "metrics")
_METRICS_SAID = (
    "total_return", "annual_return", "sharpe", "sharpe_error", "sortino", "max_drawdown", "turnover",
    "fees", "exposure", "win_rate", "profit_factor", "trades",
)  # fmt: skip


@app.command("backtest")
def backtest_command(
    start: Annotated[
        str, typer.Option("--start", metavar="T", help="Bars known after this instant.")
    ],
    end: Annotated[str, typer.Option("--end", metavar="T", help="Bars known up to this instant.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A version, champion, or a baseline strategy; repeat for several. Default: champion.",
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="A YAML file of costs, risk and books.initial_cash; repeat for several.",
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=V1,V2",
            help="Values of a key of costs or risk, e.g. risk.kelly_fraction=0.1,0.25; repeat for the product.",
        ),
    ] = None,
    capital: Annotated[
        float | None,
        typer.Option("--capital", help="Capital instead of books.initial_cash, quote."),
    ] = None,
    monte_carlo: Annotated[
        int, typer.Option("--monte-carlo", metavar="N", help="Resample the bars into N paths.")
    ] = 0,
    stress: Annotated[
        bool, typer.Option("--stress", help="Trade the known crashes and worst weeks of the span.")
    ] = False,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Turn the parameters, and the costs, up and down.")
    ] = False,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="Trade with up to a thousand times the capital.")
    ] = False,
    allow_in_sample: Annotated[
        bool,
        typer.Option(
            "--allow-in-sample",
            help="Trade a version on bars it was fitted on; the result is stamped IN-SAMPLE.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", metavar="DIR", help="Folder of the reports; by default in the home."
        ),
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no reports.")] = False,
    formats: Annotated[
        str, typer.Option("--format", help="Of the tear sheets: html, pdf, xlsx, json.")
    ] = "html,json",
    symbols: Symbols = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Trade a span of the lake without touching the ledger."""
    from pipelines.backtests import Extras, Request, build_variants, run_backtests

    settings = _settings(home, sets, symbols)
    request = Request(
        models=tuple(model or ["champion"]),
        start=clock.parse_instant(start),
        end=instant_of(end, settings),
        variants=tuple(
            build_variants(settings, files=config or (), sweeps=sweep or (), capital=capital)
        ),
        extras=Extras(monte_carlo, stress, sensitivity, capacity),
        allow_in_sample=allow_in_sample,
        reported=not no_report,
        report=report,
        formats=tuple(word.strip() for word in formats.split(",")),
    )

    def work(context: Context) -> dict[str, Any]:
        with progress_bar("backtest") as progress:
            return run_backtests(context, request, progress)

    answer = in_context(settings, work, json_output)
    if json_output:
        print_json(answer)
    else:
        _show(answer)


def _settings(home: Path | None, sets: list[str] | None, symbols: str | None) -> Settings:
    if symbols is None:
        return settings_of(home, sets)
    universe = json.dumps([word.strip() for word in symbols.split(",")])
    return settings_of(home, [*(sets or ()), f"universe={universe}"])


def _show(answer: dict[str, Any]) -> None:
    for note in answer["notes"]:
        say(note)
    runs = answer["runs"]
    if len(runs) > 1:
        print_rows([_line(run) for run in runs[:_LISTED]])
        if len(runs) > _LISTED:
            say(f"... and {len(runs) - _LISTED:,} more")
    else:
        # The fan is for drawing: two hundred rows of it say nothing in a terminal.
        answer.get("monte_carlo", {}).pop("fan", None)
        print_tree({k: v for k, v in answer.items() if k not in _TOLD_APART and not _is_table(v)})
        print_tree({"metrics": {key: answer["metrics"].get(key) for key in _METRICS_SAID}})
        for name, rows in answer.items():
            if name not in _TOLD_APART and _is_table(rows):
                say(f"\n{name.replace('_', ' ')}")
                print_rows(rows, 2)
        say(f"\n{answer['explanation']}")
    if answer["report"]:
        say(f"report    {answer['report']}")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _line(run: dict[str, Any]) -> dict[str, Any]:
    kept = ("total_return", "sharpe", "max_drawdown", "turnover", "fees")
    stamp = {"stamp": "IN-SAMPLE"} if run["in_sample"] else {}
    return {"name": run["name"], **{key: run[key] for key in kept}, **stamp}
