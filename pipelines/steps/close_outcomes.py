"""Close every score whose horizon is over: what was predicted beside what came of it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import cast

import polars as pl

from pipelines.clock import check_as_of, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.labelled_bars import read_labels
from pipelines.outcome_page import write_outcome_page
from pipelines.rule_regimes import read_regimes
from pipelines.tables import KEY, OUTCOMES, SCORES
from pipelines.tracking.plan import load_unsearched
from training.config import LabelConfig

# Pairs that closed longer ago are looked at only after as long a pause.
_LOOKED_BACK = timedelta(days=35)
_SCORE = [*KEY, "model_version"]
_PAIR = ["venue", "symbol", "scored_at", "model_version"]
_NO_VOLATILITY = "the volatility that scales its barriers is not known"
_NO_BARS = "the bar of its entry, the one to leave at, or more than 5 % of its horizon are missing"


@dataclass(frozen=True)
class Promise:
    """What a model version foresees: its label, and the coverage of its intervals where it is told.

    `reason` says why a version has no label to be measured by.
    """

    label: LabelConfig | None
    interval_level: float | None = None
    reason: str | None = None


def close_outcomes(context: Context, as_of: datetime) -> StepReport:
    """Write down what came of every score whose whole horizon is over, and draw the page of the day.

    The outcome and the realised return are the label of the model version itself, which is what its
    `expected_return` foresees. A pair is known, and closed, at the end of its horizon and not when a
    barrier is touched: those that end early are the large moves. However long the step did not run,
    it closes all that is open, a month at a time.

    What the bars do not tell is closed without an outcome and with the reason, and looked at again for
    35 days: should a backfill mend the gap, the pair gets its outcome. What has an outcome stays, but
    for pairs younger than `ingest.restatement_hours`, whose bars the venue may still restate.

    Reads: scores, bars, features (the state of the market at the score), outcomes, the registry; for
    the page also the ledger.
    Writes: outcomes, `<home>/reports/outcomes/<day>.html`.
    Re-run: finds the same rows and page.
    """
    check_as_of(as_of, context.settings.timeframe)

    @cache
    def promise_of(version: str) -> Promise:
        return _promise_of(context, version)

    changed, new, unmeasured = False, 0, 0
    for due in _due_by_month(context, as_of):
        pairs = _close(context, due, {v: promise_of(v) for v in due["model_version"].unique()})
        written, added = _write(context, pairs)
        changed, new = changed | written, new + added
        unmeasured += pairs["outcome"].null_count()
    page = write_outcome_page(context, as_of)
    detail = {"closed": new, "not_measurable": unmeasured, "path": str(page.path)}
    return StepReport("close_outcomes", as_of, changed or page.changed, detail)


def _due_by_month(context: Context, as_of: datetime) -> Iterator[pl.DataFrame]:
    """Yield the keys of the scores to close, with `closes_at`, by the month in which they close."""
    settings = context.settings
    step, read = timeframe_delta(settings.timeframe), context.lake.read
    since: datetime | None = as_of - _LOOKED_BACK
    columns = [*_PAIR, "known_at", "horizon_bars", "outcome"]
    ours = pl.col("venue") == settings.venue
    closed = read(OUTCOMES.name, start=since, end=as_of, columns=columns).filter(ours)
    if closed.is_empty():
        since, closed = None, read(OUTCOMES.name, end=as_of, columns=columns).filter(ours)
    first = None if since is None else since - cast(int, closed["horizon_bars"].max()) * step
    scores = read(SCORES.name, start=first, end=as_of, columns=[*_SCORE, "horizon_bars"])
    over = scores.filter(ours).with_columns(
        closes_at=pl.col("known_at") + pl.col("horizon_bars") * step
    )
    young = as_of - timedelta(hours=settings.ingest.restatement_hours)
    settled = closed.filter(pl.col("outcome").is_not_null() & (pl.col("known_at") <= young))
    inside = pl.col("closes_at") <= as_of
    if since is not None:
        inside &= pl.col("closes_at") > since
    due = over.filter(inside).join(
        settled.select(_PAIR), left_on=_SCORE, right_on=_PAIR, how="anti"
    )
    month = pl.col("closes_at").dt.truncate("1mo")
    for _, scored in due.sort("closes_at").group_by(month, maintain_order=True):
        yield scored


def _promise_of(context: Context, version: str) -> Promise:
    try:
        info = context.registry.version_info(version)
        label = LabelConfig.model_validate_json(info.tags["label"])
    except ContractViolation as refusal:
        return Promise(None, reason=f"what it foresaw is not known: {refusal.message}")
    try:
        level = context.once(
            f"interval level of {info.training_id}",
            None,
            lambda: load_unsearched(context, info.training_id)[1].training.interval_level,
        )
    except ContractViolation:
        return Promise(label)
    return Promise(label, level)


def _close(context: Context, due: pl.DataFrame, promises: dict[str, Promise]) -> pl.DataFrame:
    """Return the rows of `outcomes` of the scores in `due`."""
    step = timeframe_delta(context.settings.timeframe)
    first, last = _span(due["known_at"])
    symbols = due["symbol"].unique().sort().to_list()
    read = context.lake.read(SCORES.name, start=first - step, end=last, symbols=symbols)
    scores = read.join(due.select(*_SCORE, "closes_at"), on=_SCORE)
    alike: dict[tuple[Promise, int], list[str]] = defaultdict(list)
    for version, horizon in scores.select("model_version", "horizon_bars").unique().rows():
        alike[promises[version], horizon].append(version)
    measured = pl.concat(
        _measure(context, scores.filter(_said_by(versions, horizon)), promise, horizon)
        for (promise, horizon), versions in alike.items()
    )
    regimes = read_regimes(context, first - step, last, symbols)
    named = measured.join(regimes, on=KEY, how="left")
    return named.rename({"known_at": "scored_at", "closes_at": "known_at"}).select(*OUTCOMES.schema)


def _said_by(versions: list[str], horizon_bars: int) -> pl.Expr:
    return pl.col("model_version").is_in(versions) & (pl.col("horizon_bars") == horizon_bars)


def _span(instants: pl.Series) -> tuple[datetime, datetime]:
    return instants.min(), instants.max()  # type: ignore[return-value]


def _measure(
    context: Context, scores: pl.DataFrame, promise: Promise, horizon_bars: int
) -> pl.DataFrame:
    """Add outcome, realised return, level and reason to the scores of versions that foresee the same."""
    level = pl.lit(promise.interval_level, pl.Float64()).alias("interval_level")
    if promise.label is None:
        return scores.with_columns(
            level,
            outcome=pl.lit(None, pl.Int64()),
            realised_return=pl.lit(None, pl.Float64()),
            reason=pl.lit(promise.reason),
        )
    before = _span(scores["known_at"])[0] - timeframe_delta(context.settings.timeframe)
    closed = _span(scores["closes_at"])[1]
    symbols = scores["symbol"].unique().sort().to_list()
    label = promise.label.at_horizon(horizon_bars)
    labels = read_labels(context, label, before, closed, symbols)
    why = pl.when(pl.col("volatility").is_null()).then(pl.lit(_NO_VOLATILITY))
    return (
        scores.join(labels, on=KEY, how="left")
        .with_columns(
            level,
            reason=pl.when(pl.col("outcome").is_null()).then(why.otherwise(pl.lit(_NO_BARS))),
        )
        .select(*scores.columns, "interval_level", "outcome", "realised_return", "reason")
    )


def _write(context: Context, pairs: pl.DataFrame) -> tuple[bool, int]:
    """Put pairs among those that stand; return whether that changed any, and how many are new."""
    first, end = _span(pairs["known_at"])
    start = first - timeframe_delta(context.settings.timeframe)
    standing = context.lake.read(OUTCOMES.name, start=start, end=end)
    key = list(OUTCOMES.key)
    rows = pl.concat([standing.join(pairs, on=key, how="anti"), pairs]).sort(key)
    changed = context.lake.replace(OUTCOMES, rows, start=start, end=end)
    return changed, rows.height - standing.height
