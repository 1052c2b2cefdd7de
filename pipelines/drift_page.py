"""One self-contained page of a day's drift: what alarmed, distributions, and features by day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, PackageLoader

from evaluation.drift.histograms import BINS
from evaluation.drift.reference import PULSE, Reference
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.html_page import Page, write_page
from pipelines.retraining_requests import DECISION, RETRAIN
from pipelines.tables import DRIFT
from serving.compiled import Counts

DAYS = 30
_DRAWN = 12
_MAPPED = 40
_LISTED = 60
_SHADES = 5


@dataclass(frozen=True)
class Histogram:
    """Shares of a column in bins of the reference: heights in percent of the highest."""

    name: str
    bars: tuple[tuple[float, float], ...]


def write_drift_page(
    context: Context,
    version: str,
    reference: Reference | None,
    counts: Counts | None,
    as_of: datetime,
) -> Page:
    """Write the page of a day."""
    start = as_of - timedelta(days=DAYS)
    rows = context.lake.read(DRIFT.name, start=start, end=as_of)
    rows = rows.filter(pl.col("model_version") == version)
    level = context.settings.drift.level
    html = render(rows, reference, counts, version, as_of, level)
    path = context.settings.home / "reports" / "drift" / f"{as_of:%Y-%m-%d}.html"
    return write_page(path, html)


def render(
    rows: pl.DataFrame,
    reference: Reference | None,
    counts: Counts | None,
    version: str,
    as_of: datetime,
    level: float,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    rows : polars.DataFrame
        In the `drift` contract, one model's, of the days up to `as_of`.
    reference : Reference or None
    counts : int64 (k, BINS) or None
        Of the window in the reference's bins.
    """
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["instant"] = format_instant
    now, of_pulse = rows.filter(pl.col("known_at") == as_of), pl.col("group") == PULSE
    measured = now.filter(pl.col("joint_p").is_not_null() & ~of_pulse).sort(
        "joint_p", "p_value", "group", "feature", "statistic"
    )
    surest = measured.filter(pl.col("group") == "features")["feature"].unique(maintain_order=True)
    return environment.get_template("drift.html.jinja").render(
        as_of=as_of,
        version=version,
        level=level,
        days=_days(as_of),
        decision=now.filter(pl.col("group") == DECISION).to_dicts(),
        refused=now.filter(pl.col("statistic") == "not_measured").to_dicts(),
        measured=measured.height,
        alarms=measured.filter("alarm").height,
        listed=measured.head(_LISTED).to_dicts(),
        histograms=histograms(reference, counts, surest.to_list()[:_DRAWN]),
        heat=heat_map(rows, surest.to_list()[:_MAPPED], as_of),
        pulse=pulse_by_day(rows, as_of),
        pulse_alarms=_pulse_alarms(rows),
    )


def histograms(
    reference: Reference | None, counts: Counts | None, names: list[str]
) -> list[Histogram]:
    """Return how the named columns were and are spread, over `BINS` equally filled bins."""
    if reference is None or reference.features is None or counts is None:
        return []
    found, spread = [], reference.features
    for name in names:
        place = spread.names.index(name)
        pair = np.stack([spread.counts[place], counts[place]]).astype(np.float64)
        shares = pair / np.maximum(pair.sum(axis=1, keepdims=True), 1.0)
        heights = np.round(100.0 * shares / max(float(shares.max()), 1.0 / BINS), 2)
        found.append(Histogram(name, tuple((float(a), float(b)) for a, b in heights.T)))
    return found


def heat_map(rows: pl.DataFrame, names: list[str], as_of: datetime) -> list[dict[str, Any]]:
    """Return, a named feature, its smallest joint p of each day and a shade from 0 (none) to 5."""
    asked = rows.filter((pl.col("group") == "features") & pl.col("feature").is_in(names))
    return _shaded(asked, names, pl.col("known_at").dt.date(), as_of)


def pulse_by_day(rows: pl.DataFrame, as_of: datetime) -> list[dict[str, Any]]:
    """Return the pulse's row of the map: a day's smallest joint p; nothing where no pulse was taken.

    A day is the 24 hours up to the hour of `as_of`, like the windows that end there.
    """
    taken = rows.filter((pl.col("group") == PULSE) & (pl.col("statistic") != RETRAIN))
    if taken.is_empty():
        return []
    tick, day = timedelta(microseconds=1), timedelta(days=1)
    since_midnight = as_of - as_of.replace(hour=0, minute=0)
    ends = (pl.col("known_at") - since_midnight - tick).dt.date() + day
    return _shaded(taken.with_columns(feature=pl.lit(PULSE)), [PULSE], ends, as_of)


def _pulse_alarms(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the newest hours whose pulse alarmed, each with what was made of it."""
    of_pulse = rows.filter(pl.col("group") == PULSE)
    decided = of_pulse.filter(pl.col("statistic") == RETRAIN)
    alarms = of_pulse.filter((pl.col("statistic") != RETRAIN) & pl.col("alarm"))
    told = decided.select("known_at", asked="alarm", decision="reason")
    return alarms.join(told, on="known_at", how="left").sort("known_at").tail(_LISTED).to_dicts()


def _shaded(
    rows: pl.DataFrame, names: list[str], day: pl.Expr, as_of: datetime
) -> list[dict[str, Any]]:
    daily = rows.group_by("feature", day.alias("day")).agg(
        pl.col("joint_p").min(), pl.col("alarm").any()
    )
    by_place = {(name, day): (p, alarm) for name, day, p, alarm in daily.iter_rows()}
    table = []
    for name in names:
        cells = []
        for of_day in _days(as_of):
            p, alarm = by_place.get((name, of_day), (None, False))
            cells.append({"day": of_day, "p": p, "alarm": alarm, "shade": _shade(p)})
        table.append({"feature": name, "cells": cells})
    return table


def _shade(p: float | None) -> int:
    """Return 1 for 0.5 and above to 5 for 1e-4; 0 where nothing was measured."""
    if p is None:
        return 0
    return 1 + min(int(-np.log10(min(max(2.0 * p, 2e-4), 1.0)) * 1.08), _SHADES - 1)


def _days(as_of: datetime) -> list[Any]:
    return [as_of.date() - timedelta(days=DAYS - 1 - i) for i in range(DAYS)]
