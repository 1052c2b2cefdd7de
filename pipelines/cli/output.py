"""One JSON value on stdout, or something for a person; progress and complaints on stderr."""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from pipelines import clock
from pipelines.context import Context, StepReport
from pipelines.errors import HourglassError
from pipelines.settings import Settings

T = TypeVar("T")

console = Console(stderr=True)
_UNBOUNDED = Console(width=100_000)
# A table of at most this many columns is folded where it is too wide; of a wider one only the last.
_MOST_FOLDED = 5
_LEAST_FOLDED = 12
_NUMBER = re.compile(r"-|-?[\d,.]+(e-?\d+)?")
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
        # A library's thread that has not ended yet has nothing to say on stderr from here on.
        logging.lastResort = None
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
            left = (
                f", about {elapsed * (total - done) / done:.0f} s left" if 0 < done < total else ""
            )
            line = f"{title} {done}/{total} {text} ({elapsed:.0f} s{left})"
            console.print(line, markup=False, highlight=False)

    return progress


def show_report(report: StepReport, as_json: bool) -> None:
    """Print what a step did."""
    if as_json:
        print_json(report.as_json())
        return
    change = "changed" if report.changed else "nothing to change"
    say(f"{report.step} {clock.format_instant(report.as_of)}: {change}")
    print_tree(report.detail, indent=2)


def show(answer: Any, as_json: bool) -> None:
    """Print a mapping or a list of rows."""
    if as_json:
        print_json(answer)
    elif isinstance(answer, list):
        print_rows(answer)
    else:
        print_tree(answer)


def say(text: str) -> None:
    """Print one line on stdout; only a terminal wraps it."""
    out = Console()
    out.print(text, markup=False, highlight=False, soft_wrap=not out.is_terminal)


def print_tree(tree: Mapping[str, Any], indent: int = 0) -> None:
    """Print a mapping as aligned lines, what is nested below its key."""
    width = max((len(key) for key, value in tree.items() if not _is_nested(value)), default=0)
    for key, value in tree.items():
        if not _is_nested(value):
            say(f"{'':{indent}}{key:{width}}  {in_words(value)}")
        elif isinstance(value, Mapping):
            say(f"{'':{indent}}{key}")
            print_tree(value, indent + 2)
        else:
            say(f"{'':{indent}}{key}")
            print_rows(value, indent + 2)


def print_rows(rows: Sequence[Mapping[str, Any]], indent: int = 0) -> None:
    """Print rows as a table, headed by the keys of the first.

    Rows of many columns that a terminal is too narrow for, even with the last one folded, are printed
    one below the other; a pipe gets every row on one line.
    """
    if not rows:
        say("nothing yet")
        return
    digits = 6 if indent else 10
    texts = [[in_words(value, digits) for value in row.values()] for row in rows]
    wide = len(rows[0]) > _MOST_FOLDED
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for place, (name, column) in enumerate(zip(rows[0], zip(*texts, strict=True), strict=True)):
        justify: JustifyMethod = "right" if all(map(_NUMBER.fullmatch, column)) else "left"
        folds = not wide or place == len(rows[0]) - 1
        table.add_column(str(name), justify=justify, overflow="fold", no_wrap=not folds)
    for text in texts:
        table.add_row(*text)
    out = Console()
    needed = Measurement.get(_UNBOUNDED, _UNBOUNDED.options, table).maximum + indent
    last = max(len(text[-1]) for text in texts)
    if out.is_terminal and wide and needed - last + _LEAST_FOLDED > out.width:
        for row in rows:
            print_tree(row, indent)
            say("")
        return
    drawn = Padding(table, (0, 0, 0, indent))
    (out if out.is_terminal else Console(width=needed)).print(drawn, highlight=False)


def in_words(value: Any, digits: int = 6) -> str:
    """Return a value as a person reads it: 8,682; 0.0612061; BTC/USDT, ETH/USDT; - for nothing."""
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "no"}[value]
    if isinstance(value, int | float):
        whole = isinstance(value, int) or abs(value) >= 10.0**digits
        return f"{value:,.0f}" if whole else f"{value:,.{digits}g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {in_words(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value)) or "none"
    return clock.format_instant(value) if isinstance(value, datetime) else str(value)


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return len(value) > 0
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], Mapping)


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
        told = Text.assemble((error.kind, "bold red"), f": {error.message}")
        if error.remedy:
            told.append(f"\n  remedy: {error.remedy}")
        console.print(told, soft_wrap=not console.is_terminal)
    return error.exit_code


def complain_json(message: str, kind: str, remedy: str) -> None:
    """Print a refusal on stderr as `{error, kind, remedy}`."""
    print(json.dumps({"error": message, "kind": kind, "remedy": remedy}), file=sys.stderr)  # noqa: T201
