"""The answer of a backtest as files: the table of its runs, and a tear sheet of each that is explained."""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.backtest import backtest
from evaluation.tearsheet import Sections, TrackRecord, tear_sheet
from pipelines.backtests.examinations import Examined
from pipelines.backtests.request import Run
from pipelines.backtests.span import Span
from pipelines.clock import format_instant

Progress = Callable[[int, int, str], None]


def write_reports(
    folder: Path,
    answer: Mapping[str, Any],
    details: Mapping[str, Mapping[str, Any]],
    span: Span,
    runs: Sequence[Run],
    examined: Mapping[str, Examined],
    formats: Sequence[str],
    progress: Progress,
) -> None:
    """Write `backtest.json`, `runs.csv` and the tear sheets into `folder`, replacing what is there.

    Parameters
    ----------
    folder : Path
        Made if absent.
    answer : mapping
        What the verb prints.
    details : mapping
        Everything of each explained run, by its name; of several it lies beside the run's sheet.
    span : Span
    runs : sequence of Run
        Best first. The sheet of a single run lies in `folder`, of several in a folder each.
    examined : mapping
        By the run's name.
    formats : sequence of str
        Of the tear sheets.
    progress : callable
        ``progress(done, total, text)``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "backtest.json", answer)
    _write_table(folder / "runs.csv", [run.row() for run in runs])
    explained = [run for run in runs if run.result is not None]
    for number, run in enumerate(explained, 1):
        own = folder if len(runs) == 1 else folder / f"{number:02d}-{_slug(run.name)}"
        own.mkdir(parents=True, exist_ok=True)
        if own != folder:
            _write_json(own / "backtest.json", details[run.name])
        _write_sheet(own, span, run, runs, examined.get(run.name, Examined()), formats)
        progress(number, len(explained), f"tear sheet of {run.name}")


def _write_sheet(
    folder: Path,
    span: Span,
    run: Run,
    runs: Sequence[Run],
    examined: Examined,
    formats: Sequence[str],
) -> None:
    from pipelines.tearsheet import write_tear_sheet

    if run.result is None:
        return
    terms: dict[str, Any] = {
        **span.panel_terms(),
        "costs": run.variant.costs,
        "risk": run.variant.risk,
        "initial_cash": run.variant.initial_cash,
    }
    held = backtest(span.bars, span.features, None, strategy="buy_and_hold", **terms)
    carlo = examined.monte_carlo
    sheet = tear_sheet(
        TrackRecord.of(run.result, run.variant.initial_cash),
        title=f"{run.name}, {format_instant(span.start)} to {format_instant(span.end)}",
        benchmark=TrackRecord.of(held, run.variant.initial_cash),
        stamp=run.trader.warning(),
        sections=Sections(
            monte_carlo=None if carlo is None else carlo.fan,
            monte_carlo_summary={} if carlo is None else carlo.summary,
            stress=examined.stress,
            sensitivity=examined.sensitivity,
            cost_sensitivity=examined.costs,
            capacity=examined.capacity,
        ),
        **_search(runs),
    )
    write_tear_sheet(sheet, folder, formats)


def _search(runs: Sequence[Run]) -> dict[str, Any]:
    """Return how many runs were tried and how far their Sharpe ratios lie apart."""
    sharpes = np.array([run.figures["sharpe"] for run in runs])
    known = sharpes[np.isfinite(sharpes)]
    if known.size < 2:
        return {}
    return {"trials": len(runs), "trial_variance": float(np.var(known, ddof=1))}


def _write_json(path: Path, tree: Mapping[str, Any]) -> None:
    text = json.dumps(tree, indent=1, default=_plain, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _cell(value) for key, value in row.items()})


def _cell(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping) else value


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=-]+", "-", name).strip("-")[:80]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
