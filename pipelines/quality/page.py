"""One self-contained page of what the checks found: readable offline, light or dark."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from jinja2 import Environment, PackageLoader

from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.html_page import write_page
from pipelines.quality.column_profile import STATISTICS
from pipelines.quality.gate import ALL
from pipelines.tables import QUALITY, QUARANTINE

DAYS = 30
_LISTED = 200


@dataclass(frozen=True)
class CheckHistory:
    """One check of one table: how many runs of each day held, newest day last."""

    table: str
    venue: str
    check: str
    bound: str
    last: str
    passed: bool
    days: tuple[tuple[str, int, int], ...]


def write_quality_page(context: Context, as_of: datetime, path: Path) -> Path:
    """Write the page for the `DAYS` days before `as_of`."""
    start = as_of - timedelta(days=DAYS)
    rows = context.lake.read(QUALITY.name, start=start, end=as_of)
    # A fact a column and day, not a check that could fail: `hourglass features` lists them.
    checks = rows.filter(~pl.col("check").str.starts_with(STATISTICS))
    refused = context.lake.read(QUARANTINE.name, start=start, end=as_of)
    return write_page(path, render(checks, refused, as_of)).path


def render(checks: pl.DataFrame, refused: pl.DataFrame, as_of: datetime) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    checks, refused : polars.DataFrame
        In the `quality` and `quarantine` contracts.
    """
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["instant"] = format_instant
    notable = checks.filter(~pl.col("passed") & (pl.col("symbol") != ALL))
    newest = checks.filter(pl.col("known_at") == as_of)
    failing = newest.filter(~pl.col("passed"))["check"].n_unique()
    return environment.get_template("quality.html.jinja").render(
        as_of=as_of,
        days=[as_of.date() - timedelta(days=DAYS - 1 - i) for i in range(DAYS)],
        history=histories(checks, as_of),
        failing=failing,
        checked=newest["check"].n_unique(),
        notable=_newest(notable),
        notable_count=notable.height,
        refused=_newest(refused),
        refused_count=refused.height,
        listed=_LISTED,
    )


def histories(checks: pl.DataFrame, as_of: datetime) -> list[CheckHistory]:
    """Return one row a check with its runs by day: (day, runs, runs that did not hold)."""
    days = [as_of.date() - timedelta(days=DAYS - 1 - i) for i in range(DAYS)]
    runs = (
        checks.sort("known_at")
        .group_by("table", "venue", "check", "known_at", maintain_order=True)
        .agg(
            pl.col("passed").all(),
            pl.col("bound").last(),
            observed=pl.col("observed").sort_by("passed").first(),
        )
        .with_columns(day=pl.col("known_at").dt.date())
    )
    found = []
    for (table, venue, check), group in runs.group_by(
        "table", "venue", "check", maintain_order=True
    ):
        counts = {
            day: (total, failed)
            for day, total, failed in group.group_by("day")
            .agg(pl.len(), (~pl.col("passed")).sum().alias("failed"))
            .iter_rows()
        }
        last = group.row(-1, named=True)
        found.append(
            CheckHistory(
                str(table),
                str(venue),
                str(check),
                last["bound"],
                last["observed"],
                bool(last["passed"]),
                tuple((day.isoformat(), *counts.get(day, (0, 0))) for day in days),
            )
        )
    return sorted(found, key=lambda h: (h.table, h.venue, h.check))


def _newest(rows: pl.DataFrame) -> list[dict[str, object]]:
    return rows.sort("known_at", "symbol", descending=[True, False]).head(_LISTED).to_dicts()
