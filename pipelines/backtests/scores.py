"""Which scores a version may be traded on: those of bars it was not fitted on.

After its training ended they are its live scores, and where the hours were not lived its scores of
the lake's features. Up to that instant they are those of its walk-forward's test windows, each given
by a fit that had not seen the window. Between the last window and the end of the training lies one
horizon of bars whose prices are in labels: there it says nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from pipelines.backtests.span import Span, read_rows
from pipelines.clock import format_instant
from pipelines.context import Context
from pipelines.errors import ConfigError, ContractViolation
from pipelines.tables import KEY
from pipelines.tracking.plan import feature_set_of
from serving.books import SCORES_READ, STRATEGIES
from serving.scorer import first_needed, score_after

if TYPE_CHECKING:
    from pipelines.tracking.registry import VersionInfo

Progress = Callable[[int, int, str], None]
CHAMPION = "champion"
BASELINES = tuple(name for name in STRATEGIES if name != "model")


@dataclass(frozen=True)
class Scored:
    """The scores of one version over a span, and what a reader has to know of them.

    Attributes
    ----------
    scores : polars.DataFrame
        venue, symbol, known_at, expected_return, horizon_bars.
    in_sample : tuple of two datetimes, optional
        First and last bar that the version was fitted on and scored all the same.
    notes : tuple of str
    """

    scores: pl.DataFrame
    in_sample: tuple[datetime, datetime] | None
    notes: tuple[str, ...]


def check_model(model: str) -> None:
    """Raise ConfigError unless `model` is ``champion``, a version's number or a baseline."""
    if model not in (*BASELINES, CHAMPION) and not model.isdigit():
        raise ConfigError(
            f"--model {model!r} is neither champion, nor a version, nor a baseline",
            remedy=f"name a version of `hourglass status`, champion, or {' or '.join(BASELINES)}",
        )


def version_named(context: Context, model: str, end: datetime) -> str | None:
    """Return the version that ``champion`` (as of `end`) or a number names; None for a baseline.

    Raises
    ------
    ConfigError
        If it is none of them, or there is no champion.
    """
    check_model(model)
    if model in BASELINES:
        return None
    version = context.ledger.champion_at(end) if model == CHAMPION else model
    if version is None:
        raise ConfigError(
            f"there is no champion at {format_instant(end)}",
            remedy="run `hourglass train`, or name a version or a baseline with --model",
        )
    return version


def scores_of(
    context: Context, version: str, span: Span, *, allow_in_sample: bool, progress: Progress
) -> Scored:
    """Return what `version` said, or would have said, of the bars of the span.

    Parameters
    ----------
    context : Context
    version : str
    span : Span
    allow_in_sample : bool
        Score bars that the version was fitted on too, and say so in the result.
    progress : callable
        ``progress(done, total, text)`` while bars are scored.

    Raises
    ------
    ContractViolation
        If the version does not exist; if bars of the span are inside its training, without
        out-of-fold scores, and that is not allowed; if it has no score in the span.
    """
    info = context.registry.version_info(version)
    live, tested = _given(context, info, span)
    instants = span.instants()
    seen = instants.filter(instants <= info.train_end)
    closing = info.train_end - int(info.tags["horizon_bars"]) * span.timeframe
    untested = seen.filter(~seen.is_in(_covered(seen, tested).implode()))
    learned = untested.filter(untested <= closing)
    if learned.len() and not allow_in_sample:
        raise _refusal(context, info, span, learned)
    given = pl.concat([live, tested.join(live, on=KEY, how="anti")])
    later = instants.filter(instants > info.train_end)
    fresh = later.filter(~later.is_in(live.get_column("known_at").unique().implode()))
    wanted = pl.concat([untested if learned.len() else untested.clear(), fresh])
    notes = []
    if untested.len() and not learned.len():
        notes.append(
            f"{untested.len()} bars up to {format_instant(info.train_end)} are in labels of the "
            "training's last horizon: the version says nothing of them"
        )
    scores = given
    if wanted.len():
        scored, note = _score(context, version, info, span, wanted, given, progress)
        scores = pl.concat([given, scored]).sort(KEY)
        notes += note
    if scores.is_empty():
        raise ContractViolation(
            f"model version {version} has no scores between {format_instant(span.start)} and "
            f"{format_instant(span.end)}",
            remedy="choose a span it has tested on or traded: `hourglass tables out_of_fold_scores`",
        )
    in_sample = (learned[0], learned[-1]) if learned.len() else None
    return Scored(scores, in_sample, tuple(notes))


def _given(context: Context, info: "VersionInfo", span: Span) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return live scores and those of the test windows, as they stand in the lake."""
    found = []
    for table, column, value in (
        ("scores", "model_version", info.version),
        ("out_of_fold_scores", "training_id", info.training_id),
    ):
        columns = (*KEY, column, *SCORES_READ)
        rows = read_rows(context, table, columns, span.start, span.end, span.symbols)
        found.append(rows.filter(pl.col(column) == value).drop(column))
    return found[0], found[1]


def _covered(seen: pl.Series, tested: pl.DataFrame) -> pl.Series:
    """Return the instants from the first to the last that the test windows scored."""
    if tested.is_empty():
        return seen.clear()
    scored = tested.get_column("known_at")
    return seen.filter((seen >= scored.min()) & (seen <= scored.max()))


def _refusal(
    context: Context, info: "VersionInfo", span: Span, learned: pl.Series
) -> ContractViolation:
    columns = ("venue", "known_at", "training_id")
    tested = read_rows(context, "out_of_fold_scores", columns, None, span.end, span.symbols)
    first = tested.filter(pl.col("training_id") == info.training_id).get_column("known_at").min()
    admissible = info.train_end if first is None else first - span.timeframe  # type: ignore[operator]
    told = format_instant(admissible)  # type: ignore[arg-type]
    start = f"--start {told} or later"
    if admissible >= span.end:  # type: ignore[operator]
        start += f" and --end after it, not {format_instant(span.end)}"
    return ContractViolation(
        f"model version {info.version} was fitted on bars up to {format_instant(info.train_end)} and has "
        f"no out-of-fold scores of {learned.len()} bars of this span ({format_instant(learned[0])} to "
        f"{format_instant(learned[-1])}); the first admissible start is {told}",
        remedy=f"give {start}, or --allow-in-sample, and the result is stamped IN-SAMPLE",
    )


def _score(
    context: Context,
    version: str,
    info: "VersionInfo",
    span: Span,
    instants: pl.Series,
    given: pl.DataFrame,
    progress: Progress,
) -> tuple[pl.DataFrame, list[str]]:
    """Score the lake's features at `instants` with the version itself."""
    at_hand = feature_set_of(context)
    if at_hand != info.feature_set:
        told = (
            f"{instants.len()} bars are not scored: version {version} was fitted on feature set "
            f"{info.feature_set}, the features at hand are {at_hand}"
        )
        if given.is_empty():
            raise ContractViolation(
                told,
                remedy="run `hourglass train` on the features at hand, or set features.families back "
                "and run `hourglass build-features`",
            )
        return given.clear(), [told]
    scorer = context.registry.load(version)
    months = instants.to_frame("known_at").group_by(pl.col("known_at").dt.truncate("1mo"))
    parts = [part.get_column("known_at").sort() for _, part in months]
    found = [given.clear()]
    for number, part in enumerate(parts, 1):
        start, end = part[0] - span.timeframe, part[-1]
        rows = read_rows(
            context,
            "features",
            (*KEY, *scorer.feature_names),
            first_needed(scorer, start),
            end,
            span.symbols,
        )
        scored = score_after(scorer, rows, start).select(*KEY, *SCORES_READ)
        found.append(scored.filter(pl.col("known_at").is_in(part.implode())))
        progress(number, len(parts), f"scored {scored.height} bars by version {version}")
    return pl.concat(found), []
