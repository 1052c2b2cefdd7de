"""What a champion and a challenger did since they met, as records that can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl

from evaluation.calibration import row_log_loss
from evaluation.comparison.blocks import Record
from evaluation.forecast import PROBABILITIES
from pipelines.clock import microseconds
from pipelines.context import Context
from pipelines.labelled_bars import read_labels
from pipelines.ledger import Book, Promotion
from pipelines.ledger.shadows import Shadow, shadows_at
from pipelines.tables import KEY, OUT_OF_FOLD_SCORES, SCORES
from pipelines.tracking.plan import load_plan

_NO_LOSSES = pl.DataFrame(
    schema={
        **{name: SCORES.schema[name] for name in (*KEY, "model_version", "horizon_bars")},
        "loss": pl.Float64(),
    }
)
NO_RECORD = Record(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Rival:
    """A challenger of a reign.

    Attributes
    ----------
    book : Book
    since : datetime
        Bars known after it are compared: when the champion reigned and the book was open.
    arrival : int
        Its number among all challengers of this reign, from 1; it never changes.
    met : int
        Challengers of this reign so far, those that were retired included.
    """

    book: Book
    since: datetime
    arrival: int
    met: int


def rivals_of(books: list[Book], reign: Promotion, as_of: datetime) -> list[Rival]:
    """Return the challengers that are live at `as_of`, in the order of their arrival.

    What a model earned before a reign began is not evidence for it: it may be why the champion, or
    the challenger, was chosen. Challengers that were retired during the reign keep their numbers.
    """
    met = [
        book
        for book in books
        if book.strategy == "model"
        and book.model_version != reign.version
        and book.opened_at < as_of
        and (book.retired_at is None or book.retired_at > reign.effective_from)
    ]
    return [
        Rival(book, max(book.opened_at, reign.effective_from), number, len(met))
        for number, book in enumerate(sorted(met, key=_arrived), 1)
        if book.is_live(as_of)
    ]


def _arrived(book: Book) -> tuple[datetime, int]:
    """Return what orders challengers; those of one instant by when they were registered."""
    return book.opened_at, int(str(book.model_version))


class Follower(NamedTuple):
    """A shadow of a reign: whose losses are compared, since when, and its number among them, from 1."""

    version: str
    since: datetime
    arrival: int


def followers_of(
    shadows: list[Shadow], books: list[Book], reign: Promotion, as_of: datetime, most: int
) -> list[Follower]:
    """Return the shadows at `as_of`, oldest first, numbered among all that were one in this reign.

    One that comes back because a newer one was given a book has no number in it and is not compared.
    """
    now = shadows_at(shadows, books, as_of, most)
    then = shadows_at(shadows, books, reign.effective_from, most)
    later = [s for s in shadows if reign.effective_from <= s.opened_at < as_of]
    number = {s.version: place for place, s in enumerate([*then, *later], 1)}
    return [
        Follower(s.version, max(s.opened_at, reign.effective_from), number[s.version])
        for s in now
        if s.version in number and s.version != reign.version
    ]


def book_record(context: Context, name: str, end: datetime) -> Record:
    """Return the net log return of every bar a book traded, as if it had its full size.

    The capital ramp gives a young book a share of its limits. Returns are divided by the share under
    which a bar's orders were decided: a book is judged by what its model does, not by its age. Costs
    are divided with them.
    """
    frame, fills = context.ledger.returns(name, end)
    scaled = frame.select(pl.col("log_return") / pl.col("share")).to_series().to_numpy()
    return Record(_instants(frame), scaled, fills)


def after(record: Record, start: datetime) -> Record:
    """Return the part of a record known after `start`."""
    kept = record.known_at > microseconds(start)
    return record._replace(known_at=record.known_at[kept], value=record.value[kept])


def read_losses(
    context: Context, versions: Sequence[str], start: datetime, end: datetime
) -> pl.DataFrame:
    """Return what every score of `versions` known after `start` cost, if what came of it is known at `end`.

    The outcomes are those of `training.label`, at each score's own horizon.

    Returns
    -------
    polars.DataFrame
        The key, `model_version`, `horizon_bars` and `loss`, the log loss [nats].
    """
    columns = (*KEY, "model_version", *PROBABILITIES, "horizon_bars")
    scores = context.lake.read("scores", start=start, end=end, columns=columns)
    scores = scores.filter(pl.col("model_version").is_in(list(versions)))
    return _losses_of(context, scores, start, end)


def tested_losses(
    context: Context, versions: Sequence[str], as_of: datetime
) -> tuple[pl.DataFrame, datetime]:
    """Return, as `read_losses` does, what out-of-fold scores cost in the test windows that all trainings had.

    They say how far such models lie apart before they have scored a bar together. They say nothing of
    which is better: one was chosen by what the other was tested on.

    Returns
    -------
    losses : polars.DataFrame
        Empty where no window is common.
    start : datetime
        Losses are known after it.

    Raises
    ------
    ContractViolation
        If a version was deleted, or its training cannot be read.
    """
    of_version = {version: context.registry.version_info(version) for version in versions}
    named = {info.training_id: version for version, info in of_version.items()}
    plans = [load_plan(context, training)[1] for training in named]
    start = max(plan.windows[0].test_start for plan in plans)
    end = min(as_of, *(plan.windows[-1].test_end for plan in plans))
    columns = (*KEY, "training_id", *PROBABILITIES, "horizon_bars")
    scores = context.lake.read(
        OUT_OF_FOLD_SCORES.name, start=min(start, end), end=end, columns=columns
    )
    scores = scores.filter(pl.col("training_id").is_in(list(named)))
    scores = scores.with_columns(model_version=pl.col("training_id").replace_strict(named))
    return _losses_of(context, scores, start, as_of), start


def _losses_of(
    context: Context, scores: pl.DataFrame, start: datetime, end: datetime
) -> pl.DataFrame:
    scores = scores.filter(pl.col("venue") == context.settings.venue)
    label, measured = context.settings.training.label, [_NO_LOSSES]
    for (horizon,), part in scores.group_by("horizon_bars", maintain_order=True):
        labels = read_labels(context, label.at_horizon(int(horizon)), start, end)
        measured.append(_with_losses(part, labels))
    return pl.concat(measured)


def loss_records(
    losses: pl.DataFrame, champion: str, challenger: str, start: datetime
) -> tuple[Record, Record, int | None]:
    """Return both versions' mean log losses, negative, at the instants after `start` at which both scored.

    An instant counts with the symbols that both scored.

    Parameters
    ----------
    losses : polars.DataFrame
        As `read_losses` returns them.

    Returns
    -------
    champion, challenger : Record
        Empty where one scored nothing, or they foresee different horizons.
    horizon_bars : int or None
        After which an outcome is known; None where neither has one.
    """
    pair = losses.filter(
        pl.col("known_at") > start, pl.col("model_version").is_in([champion, challenger])
    )
    horizons = pair["horizon_bars"].unique().to_list()
    if pair["model_version"].n_unique() < 2 or len(horizons) != 1:
        return NO_RECORD, NO_RECORD, max(horizons, default=None)
    mine, other = (pair.filter(pl.col("model_version") == v) for v in (champion, challenger))
    both = mine.join(other, on=KEY, suffix="_other").group_by("known_at", maintain_order=True)
    means = both.agg(pl.col("loss").mean(), pl.col("loss_other").mean()).sort("known_at")
    at = _instants(means)
    records = (Record(at, -means[name].to_numpy()) for name in ("loss", "loss_other"))
    return *records, horizons[0]


def _with_losses(scores: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    known = labels.select(*KEY, "outcome").drop_nulls()
    scored = scores.join(known, on=KEY, maintain_order="left")
    loss = row_log_loss(scored.select(PROBABILITIES).to_numpy(), scored["outcome"].to_numpy())
    return scored.select(*KEY, "model_version", "horizon_bars", loss=pl.Series(loss))


def _instants(frame: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return frame["known_at"].dt.timestamp("us").to_numpy()
