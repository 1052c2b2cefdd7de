"""One JSON value on stdout, or something for a person; progress and complaints on stderr."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table as RichTable

from pipelines import clock
from pipelines.context import Context, StepReport
from pipelines.errors import HourglassError
from pipelines.settings import Settings

T = TypeVar("T")

console = Console(stderr=True)
_PIPED_WIDTH = 240
_SECONDS_BETWEEN_LINES = 5.0


def in_context(settings: Settings, work: Callable[[Context], T], as_json: bool) -> T:
    """Run `work` over an open context and close it."""

    def run() -> T:
        with Context(settings) as context:
            return work(context)

    return quietly(run, as_json, settings)


def quietly(work: Callable[[], T], as_json: bool, settings: Settings) -> T:
    """Run `work`; with --json whatever it or a library prints goes to `<home>/logs/commands.log`.

    So stdout carries one JSON value, stderr at most one JSON error, and the log the traceback.
    """
    if not as_json:
        return work()
    sys.stdout.flush()
    sys.stderr.flush()
    log, kept = _open_log(settings.home / "logs"), (os.dup(1), os.dup(2))
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        return work()
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(log)


def _open_log(folder: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / "commands.log", flags, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yield `progress(done, total, text)`: a bar on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        yield _progress_lines(title)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, title=title)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total, description=text
        )


def _progress_lines(title: str) -> Callable[[int, int, str], None]:
    began = told = time.monotonic()

    def progress(done: int, total: int, text: str) -> None:
        nonlocal told
        elapsed = time.monotonic() - began
        if time.monotonic() - told >= _SECONDS_BETWEEN_LINES or done == total:
            told = time.monotonic()
            console.print(
                f"{title} {done}/{total} {text} ({elapsed:.0f} s)", markup=False, highlight=False
            )

    return progress


def show_report(report: StepReport, as_json: bool) -> None:
    """Print what a step did."""
    if as_json:
        print_json(report.as_json())
        return
    change = "changed" if report.changed else "nothing to change"
    words = ", ".join(f"{key}={value}" for key, value in report.detail.items())
    Console().print(
        f"{report.step} {clock.format_instant(report.as_of)}: {change}. {words}",
        markup=False,
        highlight=False,
    )


def show(answer: Any, as_json: bool) -> None:
    """Print a mapping or a list of rows."""
    if as_json:
        print_json(answer)
    elif isinstance(answer, list):
        print_rows(answer)
    else:
        print_rows([{"key": key, "value": value} for key, value in answer.items()])


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows as a table, headed by the keys of the first."""
    out = Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)
    if not rows:
        out.print("nothing yet")
        return
    table = RichTable(*map(str, rows[0]), box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    out.print(table)


def print_json(value: Any) -> None:
    """Print one JSON value on stdout; NaN is refused."""
    print(json.dumps(value, default=_plain, allow_nan=False))  # noqa: T201


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return clock.format_instant(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def complain(error: HourglassError, as_json: bool) -> int:
    """Print a refusal on stderr and return its exit code."""
    if as_json:
        complain_json(error.message, error.kind, error.remedy)
    else:
        console.print(f"[bold red]{error.kind}[/]: ", end="")
        console.print(error.message, markup=False, highlight=False)
        if error.remedy:
            console.print(f"  remedy: {error.remedy}", markup=False, highlight=False)
    return error.exit_code


def complain_json(message: str, kind: str, remedy: str) -> None:
    """Print a refusal on stderr as `{error, kind, remedy}`."""
    print(json.dumps({"error": message, "kind": kind, "remedy": remedy}), file=sys.stderr)  # noqa: T201
