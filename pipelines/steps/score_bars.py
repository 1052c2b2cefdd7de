"""Score the newest bar with every live model."""

from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from typing import Any

import polars as pl

from pipelines.clock import check_as_of, format_instant, timeframe_delta
from pipelines.context import Context, StepReport
from pipelines.errors import ContractViolation
from pipelines.ledger.shadows import shadows_at
from pipelines.quality.refusals import without_refused
from pipelines.tables import SCORES
from pipelines.tracking.plan import feature_set_of
from serving.scorer import Scorer, first_needed, score_after


def score_bars(context: Context, as_of: datetime) -> StepReport:
    """Score every symbol's bar with the model of every live book, and with the shadows.

    A symbol whose newest bar is older than `as_of` has no features at `as_of` and is not scored; nor
    is one whose volatility is not known. Hours that a model missed since its book opened are caught
    up with, but for those whose features failed their check.

    Reads: features, quality, scores, the ledger's live books, their models.
    Writes: scores.
    Re-run: finds the same scores and writes nothing.

    Raises
    ------
    ContractViolation
        If a model was trained on anything at or after the hour, on another feature set, or its files
        changed; if the hour has bars but no features, or its features failed their check.
    """
    check_as_of(as_of, context.settings.timeframe)
    opened = {
        book.model_version: book.opened_at
        for book in context.ledger.live_books(as_of)
        if book.model_version is not None
    }
    opened |= _shadows(context, as_of)
    if not opened:
        detail = {"models": 0, "rows": 0, "note": "no book of a model is live"}
        return StepReport("score_bars", as_of, changed=False, detail=detail)
    changed, rows = False, 0
    for start, versions in _unscored(context, as_of, opened).items():
        scorers = {version: context.registry.load(version) for version in versions}
        needed = min(first_needed(scorer, start) for scorer in scorers.values())
        features = _features(context, needed, as_of)
        first = features.filter(pl.col("known_at") > start)["known_at"].min()
        for version, scorer in scorers.items():
            _check(context, version, scorer, first)
        scored = pl.concat(
            _score(version, scorer, features, start) for version, scorer in scorers.items()
        )
        where = {"model_version": versions}
        changed |= context.lake.replace(SCORES, scored, start=start, end=as_of, where=where)
        rows += scored.height
    detail = {"models": len(opened), "rows": rows}
    return StepReport("score_bars", as_of, changed=changed, detail=detail)


def _shadows(context: Context, as_of: datetime) -> dict[str, datetime]:
    """Return the models that are scored without a book; one that cannot be scored stops nobody."""
    found, most = {}, context.settings.books.max_shadows
    ever = context.ledger.shadows()
    for shadow in shadows_at(ever, context.ledger.books(), as_of, most) if ever else ():
        with suppress(ContractViolation, ValueError):
            context.registry.load(shadow.version).check_feature_set(feature_set_of(context))
            found[shadow.version] = shadow.opened_at
    return found


def _unscored(
    context: Context, as_of: datetime, opened: dict[str, datetime]
) -> dict[datetime, list[str]]:
    """Return versions by the instant after which they have to score; almost always the hour before."""
    step = timeframe_delta(context.settings.timeframe)
    before = as_of - step
    read = context.lake.read
    at_hand = read("scores", start=before - step, end=before, columns=["model_version"])
    current = set(at_hand["model_version"].unique())
    late = {v: t for v, t in opened.items() if v not in current and t < before}
    if late:
        columns = ["known_at", "model_version"]
        since = read("scores", start=min(late.values()), end=before, columns=columns)
        last = dict(since.group_by("model_version").agg(pl.col("known_at").max()).iter_rows())
        late = {v: max(t, last.get(v, t)) for v, t in late.items()}
    starts: dict[datetime, list[str]] = defaultdict(list)
    for version in sorted(opened, key=int):
        starts[late.get(version, before)].append(version)
    return starts


def _features(context: Context, start: datetime, as_of: datetime) -> pl.DataFrame:
    settings = context.settings
    features = context.lake.read("features", start=start, end=as_of, symbols=settings.universe)
    features = features.filter(pl.col("venue") == settings.venue)
    if features.is_empty() or features["known_at"].max() < as_of:  # type: ignore[operator]
        hour = as_of - timeframe_delta(settings.timeframe)
        bars = context.lake.read("bars", start=hour, end=as_of, symbols=settings.universe)
        if not bars.filter(pl.col("venue") == settings.venue).is_empty():
            raise ContractViolation(
                f"features: the hour of {format_instant(as_of)} has bars but no features; "
                "nothing was scored",
                remedy=f"run `hourglass build-features --as-of {format_instant(as_of)}`, then score again",
            )
    return _not_refused(context, features, as_of)


def _not_refused(context: Context, features: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Leave out earlier hours whose check failed; refuse to score if it is this one's."""
    kept = without_refused(context.lake, features)
    now = pl.col("known_at") == as_of
    if kept.filter(now).is_empty() and not features.filter(now).is_empty():
        raise ContractViolation(
            f"features: the hour of {format_instant(as_of)} failed its check; nothing was scored",
            remedy=f"see `hourglass tables quality`; mend the column, then run `hourglass check-features "
            f"--as-of {format_instant(as_of)}` again",
        )
    return kept


def _score(version: str, scorer: Scorer, features: pl.DataFrame, start: datetime) -> pl.DataFrame:
    scored = score_after(scorer, features, start)
    return scored.with_columns(model_version=pl.lit(version)).select(*SCORES.schema)


def _check(context: Context, version: str, scorer: Scorer, first: Any) -> None:
    """Refuse a model of another feature set, or one that knows the first hour it is to score."""
    try:
        scorer.check_feature_set(feature_set_of(context))
    except ValueError as error:
        raise ContractViolation(
            f"model version {version}: {error}; nothing was scored",
            remedy="run `hourglass train` on the features at hand, or set features.families back and run "
            "`hourglass build-features`",
        ) from None
    if first is not None and scorer.train_end >= first:
        raise ContractViolation(
            f"model version {version} was trained up to {format_instant(scorer.train_end)} and must "
            f"not score {format_instant(first)}",
            remedy="open its book at or after the end of its training",
        )
