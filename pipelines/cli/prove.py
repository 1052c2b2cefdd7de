"""Verbs that prove."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.cli.options import End, Home, Json, Set, Start, instant_of, settings_of
from pipelines.cli.output import in_context, print_json, progress_bar, say
from pipelines.context import Context

app = typer.Typer()
prove = typer.Typer(help="Prove that the laws hold on your own data.", no_args_is_help=True)
app.add_typer(prove, name="prove")


@prove.command("parity")
def parity_command(
    start: Annotated[
        str, typer.Option("--start", metavar="T", help="Bars known after this instant.")
    ],
    end: Annotated[str, typer.Option("--end", metavar="T", help="Bars known up to this instant.")],
    model: Annotated[
        str, typer.Option("--model", help="A version, champion (as of --start), or none.")
    ] = "champion",
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder of the report; by default in the home.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Trade a span through steps and ledger, backtest it, and show every difference."""
    settings = settings_of(home, sets)
    first, last = clock.parse_instant(start), instant_of(end, settings)
    folder = report or settings.home / "reports" / "parity" / f"{first:%Y%m%dT%H}-{last:%Y%m%dT%H}"

    def work(context: Context) -> dict[str, Any]:
        from pipelines.prove.parity import prove_parity
        from pipelines.prove.parity_page import write_parity

        with progress_bar("parity") as progress:
            parity = prove_parity(context, first, last, model=model, progress=progress)
        page = write_parity(parity, folder)
        return {"passed": parity.passed, "report": str(page), "summary": parity.summary}

    answer = in_context(settings, work, json_output)
    _conclude(answer, "parity holds", "parity IS BROKEN", json_output)


@prove.command("leakage")
def leakage_command(
    features: Annotated[
        str | None, typer.Option("--features", help="Comma-separated names; by default all.")
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Comma-separated families.")
    ] = None,
    start: Start = None,
    end: End = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Ask the synthetic market, not the home's bars.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder of the report; by default in the home.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Prove on your own bars that no feature looks ahead, and that planted leaks are caught."""
    settings = settings_of(home, sets)
    first = clock.parse_instant(start) if start else None
    last = instant_of(end, settings)
    folder = report or settings.home / "reports" / "leakage"

    def work(context: Context) -> dict[str, Any]:
        from pipelines.prove.leakage import chosen_features, prove_leakage
        from pipelines.prove.leakage_page import write_leakage

        chosen = chosen_features(_words(features), _words(family))
        with progress_bar("leakage") as progress:
            leakage = prove_leakage(
                context, chosen, start=first, end=last, synthetic=synthetic, progress=progress
            )
        page = write_leakage(leakage, folder)
        return {"passed": leakage.passed, "report": str(page), "summary": leakage.summary}

    answer = in_context(settings, work, json_output)
    _conclude(answer, "no column looks ahead", "THE PROOF FAILED", json_output)


@prove.command("null-market")
def null_market_command(
    lives: Annotated[int, typer.Option("--lives", help="Lives on markets without signal.")] = 200,
    days: Annotated[int, typer.Option("--days", help="Length of a life.")] = 360,
    signal: Annotated[
        list[float] | None,
        typer.Option(
            "--signal", help="A setting of the dial for the power; repeatable, 0 is none."
        ),
    ] = None,
    power_lives: Annotated[
        int, typer.Option("--power-lives", help="Lives at each setting of the dial.")
    ] = 20,
    full_lives: Annotated[
        int, typer.Option("--full-lives", help="Short lives through the whole pipeline as well.")
    ] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is other markets.")] = 7,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder of the report; by default in the home.")
    ] = None,
    home: Home = None,
    json_output: Json = False,
    sets: Set = None,
) -> None:
    """Prove that on markets without signal nobody is promoted more often than the level allows."""
    settings = settings_of(home, sets)
    folder = report or settings.home / "reports" / "null_market"

    def work(context: Context) -> dict[str, Any]:
        from pipelines.prove.null_market import SIGNALS, prove_null_market
        from pipelines.prove.null_market_page import write_null_market

        dial = SIGNALS if signal is None else [one for one in signal if one]
        with progress_bar("null market") as progress:
            proof = prove_null_market(
                context,
                lives=lives,
                days=days,
                signals=dial,
                power_lives=power_lives,
                full_lives=full_lives,
                seed=seed,
                progress=progress,
            )
        page = write_null_market(proof, folder)
        return {"passed": proof.passed, "report": str(page), "summary": proof.summary}

    answer = in_context(settings, work, json_output)
    _conclude(answer, "nobody is promoted by chance", "THE PROOF FAILED", json_output)


def _conclude(answer: dict[str, Any], proved: str, failed: str, json_output: bool) -> None:
    """Print the verdict, and leave with 3 if it is not the one hoped for."""
    if json_output:
        print_json(answer)
    else:
        counts = ", ".join(_counted(name, count) for name, count in answer["summary"].items())
        say(f"{proved if answer['passed'] else failed}: {counts}")
        say(answer["report"])
    if not answer["passed"]:
        raise typer.Exit(3)


def _counted(name: str, count: Any) -> str:
    """Return a number of a summary with its name; of the power what was found at each dial."""
    if isinstance(count, list):
        told = (f"{row['power']:.0%} at {row['signal']:g}" for row in count)
        return f"{name} {', '.join(told) or 'not asked'}"
    return f"{count:,} {name}" if isinstance(count, int) else f"{name} {count:.3g}"


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
