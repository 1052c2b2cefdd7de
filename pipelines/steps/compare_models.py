"""Compare every challenger with the champion of that time."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from evaluation.comparison.blocks import Grid, Record, differences
from evaluation.comparison.config import HORIZONS, ComparisonConfig
from evaluation.comparison.verdict import (
    Comparison,
    Terms,
    compare,
    deviation_of,
    level_of_arrival,
)
from pipelines.clock import check_as_of, microseconds, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.ledger import Promotion
from pipelines.ledger.books import champion_of
from pipelines.paired_records import (
    NO_RECORD,
    Follower,
    Rival,
    after,
    book_record,
    followers_of,
    loss_records,
    read_losses,
    rivals_of,
    tested_losses,
)
from pipelines.tables import COMPARISONS, OUT_OF_FOLD_SCORES

_MICROSECOND = timedelta(microseconds=1)
_YEAR = timedelta(days=365)
_NAMES = {"values": "bars", "e_better": "e_value", "e_worse": "e_value_worse"}
_NAMES |= {"days_at_observed": "days_to_decision"}
_NOT_SCORED = "no overlap: both scored no instant over one horizon whose outcome is known"


def compare_models(context: Context, as_of: datetime) -> StepReport:
    """Compare each live challenger with the champion on what both did since they met.

    Net returns of their books, scaled to full size, and log losses of their scores, each with a
    confidence sequence that may be looked at every hour. Shadows, models without a book, by their losses
    alone. Pairs that cannot be compared get a row that says why.

    Reads: the ledger, scores, bars; for a pair of no two blocks yet its trainings and out_of_fold_scores.
    Writes: comparisons, the rows of `as_of`.
    Re-run: finds the same rows and writes nothing.
    """
    check_as_of(as_of, context.settings.timeframe)
    reign = champion_of(context.ledger.promotions(), as_of)
    if reign is None:
        detail: dict[str, Any] = {"comparisons": 0, "note": "no model is champion yet"}
        return StepReport("compare_models", as_of, changed=False, detail=detail)
    books, most = context.ledger.books(), context.settings.books.max_shadows
    rivals = {_follower(rival): rival for rival in rivals_of(books, reign, as_of)}
    shadows = followers_of(context.ledger.shadows(), books, reign, as_of, most)
    returns = _returns(context, reign, rivals, as_of)
    losses = _losses(context, reign, [*rivals, *shadows], as_of)
    rows = [
        _row(reign, follower, as_of, measure, found[follower])
        for follower in (*rivals, *shadows)
        for measure, found in (("net_return", returns), ("log_loss", losses))
        if follower in found
    ]
    frame = pl.DataFrame(rows, schema=COMPARISONS.schema)
    hour = as_of - timeframe_delta(context.settings.timeframe)
    changed = context.lake.replace(COMPARISONS, frame, start=hour, end=as_of)
    verdicts = [{key: row[key] for key in ("challenger", "measure", "verdict")} for row in rows]
    detail = {"champion": reign.version, "comparisons": len(rows), "verdicts": verdicts}
    return StepReport("compare_models", as_of, changed, detail)


def _follower(rival: Rival) -> Follower:
    return Follower(str(rival.book.model_version), rival.since, rival.arrival)


def _row(
    reign: Promotion, follower: Follower, as_of: datetime, measure: str, comparison: Comparison
) -> dict[str, Any]:
    return {
        "champion": reign.version,
        "challenger": follower.version,
        "known_at": as_of,
        "measure": measure,
        "since": follower.since,
        **_columns(comparison),
    }


def _returns(
    context: Context, reign: Promotion, rivals: dict[Follower, Rival], as_of: datetime
) -> dict[Follower, Comparison]:
    if not rivals:
        return {}
    names = {book.model_version: book.name for book in context.ledger.books()}
    known = reign.version in names
    champion = book_record(context, names[reign.version], as_of) if known else NO_RECORD
    config, step = context.settings.comparison, timeframe_delta(context.settings.timeframe)
    found = {}
    for follower, rival in rivals.items():
        challenger = book_record(context, rival.book.name, as_of)
        # A silent hour is walked later: a block counts once both books have walked all of it.
        walked = [int(r.known_at[-1]) for r in (champion, challenger) if r.known_at.size]
        terms = return_terms(config, step, rival.arrival, min(walked, default=0), champion)
        since = rival.since
        found[follower] = compare(after(champion, since), after(challenger, since), terms, config)
    return found


def _losses(
    context: Context, reign: Promotion, followers: Sequence[Follower], as_of: datetime
) -> dict[Follower, Comparison]:
    if not followers:
        return {}
    config, step = context.settings.comparison, timeframe_delta(context.settings.timeframe)
    until = microseconds(as_of)
    versions = [reign.version, *(follower.version for follower in followers)]
    since = min(follower.since for follower in followers)
    losses = read_losses(context, versions, since, as_of)
    found = {}
    for follower in followers:
        mine, other, horizon = loss_records(losses, reign.version, follower.version, follower.since)
        bars = context.settings.training.label.horizon_bars if horizon is None else horizon
        terms = loss_terms(config, step, follower.arrival, until, bars)
        judged = compare(mine, other, terms, config)
        if judged.blocks < 2:
            pair = (reign.version, follower.version)
            tested = _tested_apart(context, pair, terms.grid, as_of)
            judged = compare(mine, other, terms._replace(prior_deviation=tested), config)
        found[follower] = judged if mine.known_at.size else replace(judged, reason=_NOT_SCORED)
    return found


def _tested_apart(
    context: Context, versions: tuple[str, str], grid: Grid, as_of: datetime
) -> float | None:
    """Return how much the losses of two trainings differ by from block to block of their common windows."""
    if not context.lake.exists(OUT_OF_FOLD_SCORES.name):
        return None
    try:
        losses, start = tested_losses(context, versions, as_of)
    except ContractViolation:
        return None
    apart = Record(*differences(*loss_records(losses, *versions, start)[:2]))
    return deviation_of(apart, grid, microseconds(as_of))


def return_terms(
    config: ComparisonConfig, step: timedelta, arrival: int, until: int, champion: Record
) -> Terms:
    """Return how net returns of bars of length `step` are compared, looked at `until` [us].

    `champion` is all of its record: what a difference is expected to vary by before there is one.
    """
    grid = _grid(config.block_hours, step, before=1)
    return Terms(
        grid,
        until,
        level_of_arrival(config.level, arrival),
        per_year=_YEAR / step,
        effect=config.declared_return_effect,
        prior_deviation=deviation_of(champion, grid, until),
    )


def loss_terms(
    config: ComparisonConfig, step: timedelta, arrival: int, until: int, horizon: int
) -> Terms:
    """Return how log losses of forecasts over `horizon` bars are compared; as in `return_terms`."""
    hours = max(config.loss_block_hours, 4 * horizon * (step / timedelta(hours=1)))
    return Terms(
        _grid(hours, step, after=horizon),
        until,
        level_of_arrival(config.level, arrival),
        per_year=1.0,
        effect=config.declared_loss_effect,
    )


def _grid(hours: float, step: timedelta, *, before: int = 0, after: int = 0) -> Grid:
    bar = step // _MICROSECOND
    # Whole bars, and no block shorter than one.
    block = max(round(hours * timedelta(hours=1) / step), 1) * bar
    return Grid(block, bar, before * bar, after * bar)


def _columns(comparison: Comparison) -> dict[str, Any]:
    told = asdict(comparison)
    detectable = told.pop("minimum_detectable")
    limits = {f"minimum_detectable_{d}d": v for d, v in zip(HORIZONS, detectable, strict=True)}
    return {_NAMES.get(name, name): value for name, value in told.items()} | limits
