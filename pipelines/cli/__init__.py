"""The `hourglass` command line.

Every verb takes `--json` where it reads or changes state: one JSON value on stdout and nothing else
there. Exit codes: 0 done, 1 a bug, 2 wrong usage, 3 contract violation, 4 source unavailable.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from pipelines.cli import (
    backtest,
    books,
    champion,
    look,
    prove,
    results,
    run_steps,
    run_training,
    serve,
)
from pipelines.cli.output import complain, complain_json, console
from pipelines.errors import ConfigError, policy_error

app = typer.Typer(
    name="hourglass",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Batch MLOps for crypto trading: nothing computed for an instant depends on anything known after it.",
)
for _group in (run_steps, run_training, champion, backtest, prove, look, results, books, serve):
    app.add_typer(_group.app)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(f"hourglass {version_of('hourglass')}")  # noqa: T201
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)  # noqa: T201
        raise typer.Exit(2)


_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = _exit_code(words)
    if arguments is None and "--json" in words:
        # What libraries say while the interpreter ends is nobody's answer.
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    sys.exit(code)


def _exit_code(words: list[str]) -> int:
    as_json = "--json" in words
    try:
        # In this mode typer returns the code of a typer.Exit, and an interrupt as one.
        code = int(app(words, standalone_mode=False) or 0)
        if code == _INTERRUPTED and not as_json:
            console.print("interrupted")
        return code
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except Exception as error:
        refusal = _usage(error) or policy_error(error)
        if refusal is not None:
            return complain(refusal, as_json)
        if not as_json:
            raise
        complain_json(f"{type(error).__name__}: {error}", "bug", "report it with the log")
        return 1


def _usage(error: Exception) -> ConfigError | None:
    """Return a wrong command line, as typer tells it, as a configuration error."""
    if isinstance(error, TyperException) and hasattr(error, "format_message"):
        return ConfigError(error.format_message(), remedy="see `hourglass --help`")
    return None
