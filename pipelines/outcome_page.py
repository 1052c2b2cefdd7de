"""One self-contained page of predicted against actual: what every model said, and what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import polars as pl
from jinja2 import Environment, PackageLoader, Template

from evaluation.attribution import attribute
from evaluation.conformal import Coverage, measure_coverage
from evaluation.outcomes import forecast_errors
from evaluation.reliability import (
    CalibrationCurve,
    ReturnReliability,
    calibration_curve,
    return_reliability,
)
from pipelines.attribution_list import read_round_trips
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.html_page import Page, write_page
from pipelines.outcome_charts import Cloud, Lines, draw_calibration, draw_cloud, draw_weeks
from pipelines.tables import OUTCOMES
from pipelines.tearsheet.formats import say

T = TypeVar("T")

WEEKS = 13
_DRAWN = 7
_PATHS = 200
_CLOUD = (400.0, 300.0)
_LINES = (460.0, 240.0)
_SQUARE = (360.0, 360.0)
_WEEKLY = (
    ("mean absolute error of the expected return", "mae", "percent", None),
    ("hit rate of its sign", "hit_rate", "share", 0.5),
    ("coverage of its interval", "interval_coverage", "share", "promised"),
)


@dataclass(frozen=True)
class Judged:
    """One model's pairs of the page's weeks; what too few or equal pairs do not tell is None."""

    model: str
    cloud: Cloud
    calibration: CalibrationCurve | None
    returns: ReturnReliability | None
    coverage: Coverage | None


@dataclass(frozen=True)
class Matrix:
    """Profit and loss of every book by one of its origins; cells are None where there was no trade.

    `largest` is the size of the largest cell, for the shade of the others.
    """

    by: str
    columns: list[str]
    rows: list[tuple[str, list[float | None], float]]
    largest: float


def write_outcome_page(context: Context, as_of: datetime) -> Page:
    """Write the page of a day."""
    html = render_outcomes(context, as_of)
    path = context.settings.home / "reports" / "outcomes" / f"{as_of:%Y-%m-%d}.html"
    return write_page(path, html)


def render_outcomes(context: Context, as_of: datetime) -> str:
    """Return the page of the `WEEKS` weeks before `as_of`, as HTML that needs nothing else.

    The page is a function of the lake and the ledger up to `as_of`.
    """
    start = as_of - timedelta(weeks=WEEKS)
    pairs = context.lake.read(OUTCOMES.name, start=start, end=as_of)
    pairs = pairs.filter(pl.col("venue") == context.settings.venue)
    measured = pairs.filter(pl.col("outcome").is_not_null())
    champion = context.ledger.champion_at(as_of)
    models = _models(measured, champion)
    drawn = measured.filter(pl.col("model_version").is_in(models))
    judged = [judge(model, drawn.filter(pl.col("model_version") == model)) for model in models]
    trips = read_round_trips(context, as_of)
    return _template().render(
        as_of=as_of,
        start=start,
        weeks=WEEKS,
        champion=champion,
        models=models,
        left_out=measured["model_version"].n_unique() - len(models),
        errors=_errors(pairs, ["model"], models),
        judged=judged,
        weekly=weekly_lines(drawn, models),
        calibration=_calibration(judged),
        size={"cloud": _CLOUD, "lines": _LINES, "square": _SQUARE},
        by_symbol=_errors(drawn, ["model", "symbol"], models),
        by_regime=_errors(drawn, ["model", "regime"], models),
        unmeasured=_reasons(pairs),
        books=attribute(trips, ["book"]).to_dicts(),
        matrices=[profit_matrix(trips, by) for by in ("symbol", "side", "regime")],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pipelines"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["instant"] = format_instant
    environment.filters["say"] = say
    return environment.get_template("outcomes.html.jinja")


def judge(model: str, pairs: pl.DataFrame) -> Judged:
    """Return what one model's measured pairs, one or more, say of its forecasts."""
    how = {"paths": _PATHS, "shortest_block": float(pairs["horizon_bars"].max())}  # type: ignore[arg-type]
    predicted, realised, lower, upper = (
        pairs[name].to_numpy() for name in ("expected_return", "realised_return", "lower", "upper")
    )
    returns = _if_told(return_reliability, pairs, **how)
    level, at = pairs["interval_level"].mean(), pairs["known_at"].dt.timestamp("us").to_numpy()
    coverage = (
        None
        if level is None
        else _if_told(measure_coverage, at, realised, lower, upper, level, **how)
    )
    means = None if returns is None else returns.curve
    cloud = draw_cloud(predicted, realised, means, *_CLOUD)
    return Judged(model, cloud, _if_told(calibration_curve, pairs, **how), returns, coverage)


def weekly_lines(measured: pl.DataFrame, models: Sequence[str]) -> list[Lines]:
    """Return the charts of the errors week by week, a line a model; none where nothing was measured."""
    if measured.is_empty():
        return []
    weekly = forecast_errors(measured, ["model", "week"])
    order = pl.DataFrame({"model": models, "_place": range(len(models))})
    weekly = weekly.join(order, on="model").sort("_place", "week").drop("_place")
    promised = measured["interval_level"].mean()
    return [
        draw_weeks(
            title, weekly, name, kind, _LINES, promised if level == "promised" else level  # type: ignore[arg-type]
        )
        for title, name, kind, level in _WEEKLY
    ]  # fmt: skip


def profit_matrix(trips: pl.DataFrame, by: str) -> Matrix:
    """Return the profit and loss of every book by symbol, side or regime, summing to the book's."""
    parts = attribute(trips, ["book", by]).with_columns(pl.col(by).fill_null("not known"))
    columns = parts[by].unique().sort().to_list()
    cells = {(book, name): float(pnl) for book, name, pnl in parts.select("book", by, "pnl").rows()}
    rows = [
        (book, [cells.get((book, name)) for name in columns], float(pnl))
        for book, pnl in attribute(trips, ["book"]).select("book", "pnl").rows()
    ]
    largest = max((abs(value) for value in cells.values()), default=0.0)
    return Matrix(by, columns, rows, largest or 1.0)


def _models(measured: pl.DataFrame, champion: str | None) -> list[str]:
    """Return the champion and the models that closed pairs last, the newest first."""
    newest = measured.group_by("model_version").agg(pl.col("known_at").max())
    order = newest.sort(
        pl.col("model_version") == (champion or ""),
        "known_at",
        pl.col("model_version").str.len_chars(),
        "model_version",
        descending=True,
    )
    return order["model_version"].head(_DRAWN).to_list()


def _errors(pairs: pl.DataFrame, by: list[str], models: list[str]) -> list[dict[str, Any]]:
    """Return errors by group, the models that are drawn first, in their order."""
    place = {model: number for number, model in enumerate(models)}
    rows = forecast_errors(pairs, by).to_dicts()
    return sorted(rows, key=lambda row: place.get(row["model"], len(place)))


def _reasons(pairs: pl.DataFrame) -> list[dict[str, Any]]:
    told = pairs.drop_nulls("reason").group_by("model_version", "reason")
    counted = told.agg(pl.len().alias("pairs"), last=pl.col("scored_at").max())
    return counted.sort("model_version", "reason").to_dicts()


def _calibration(judged: list[Judged]) -> Lines | None:
    curves = {one.model: one.calibration.curve for one in judged if one.calibration is not None}
    return draw_calibration(curves, _SQUARE) if curves else None


def _if_told(measure: Callable[..., T], *given: Any, **how: Any) -> T | None:
    """Return a measure, or None where the pairs are too few or never vary."""
    try:
        return measure(*given, **how)
    except ValueError:
        return None
