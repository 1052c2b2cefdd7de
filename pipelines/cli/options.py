"""The options that the verbs share, and what they mean."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import clock
from pipelines.errors import ConfigError
from pipelines.settings import Settings, load_settings

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


Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]
NO_REASON = "by hand, no reason given"
By = Annotated[str | None, typer.Option("--by", help="Who decides; by default who is logged in.")]


def overrides_of(home: Path | None, sets: list[str] | None) -> dict[str, Any]:
    """Return the settings that stand on the command line, as dotted keys."""
    overrides: dict[str, Any] = {"home": None if home is None else str(home)}
    for word in sets or ():
        key, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--set {word!r} has no value", remedy="write it as --set key=value")
        overrides[key.strip()] = value
    return overrides


def settings_of(home: Path | None, sets: list[str] | None) -> Settings:
    """Resolve the settings of one command."""
    return load_settings(overrides_of(home, sets))


def instant_of(text: str | None, settings: Settings) -> datetime:
    """Return `--as-of` as an instant, by default the newest one on the grid.

    Raises
    ------
    ConfigError
        If it is off the grid or in the future.
    """
    if text is None:
        return clock.floor_to_grid(clock.now(), settings.timeframe)
    return clock.check_as_of(clock.parse_instant(text), settings.timeframe)
