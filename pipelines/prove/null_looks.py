"""One challenger beside one champion: both comparisons, the gates, and the evidence after every block."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from evaluation.comparison.blocks import Instants, Record, block_means, differences
from evaluation.comparison.verdict import Comparison, compare
from evaluation.comparison.wealth import log_e_values
from evaluation.metrics.drawdown import max_drawdown
from evaluation.promotion.candidacy import Candidacy, live_deflated_sharpe
from pipelines.paired_records import NO_RECORD, Rival, after
from pipelines.prove.null_books import STEP, LifeConfig, TradedBook
from pipelines.steps.compare_models import loss_terms, return_terms
from serving.compiled import Floats
from serving.limits import bars_per_year
from training.panel import microseconds

LIVE_GATES = ("evidence", "log_loss", "bars", "trades", "drawdown", "deflated_sharpe")
"""Gates that a record by itself can show; the others ask trainings and data, and can only refuse more."""


@dataclass(frozen=True)
class Look:
    """One challenger at one instant: both comparisons, and its gates."""

    rival: Rival
    returns: Comparison
    losses: Comparison
    candidacy: Candidacy


@dataclass(frozen=True)
class Pair:
    """A challenger of a reign: all its bars with the champion, and what each complete block adds.

    Attributes
    ----------
    known_at, values : arrays, shape (bars,)
        Challenger less champion.
    better, worse : arrays of float64, shape (blocks,)
        Log e-values against "not better" and "not worse" after each block.
    naive : array of float64, shape (blocks,)
        t-statistic of the mean block.
    """

    known_at: Instants
    values: Floats
    better: Floats
    worse: Floats
    naive: Floats


def compared(
    champion: TradedBook, challenger: TradedBook, rival: Rival, as_of: datetime, config: LifeConfig
) -> tuple[Comparison, Comparison]:
    """Return the comparisons of net returns and of log losses that `compare_models` makes."""
    until, comparison = microseconds(as_of), config.comparison
    mine, its = champion.record(until), challenger.record(until)
    terms = return_terms(comparison, STEP, rival.arrival, until, mine)
    returns = compare(after(mine, rival.since), after(its, rival.since), terms, comparison)
    horizon = config.training.label.horizon_bars
    terms = loss_terms(comparison, STEP, rival.arrival, until, horizon)
    # An outcome is known once its whole horizon is over.
    settled = until - terms.grid.after
    losses = compare(*_loss_records(champion, challenger, rival.since, settled), terms, comparison)
    return returns, losses


def _loss_records(
    champion: TradedBook, challenger: TradedBook, since: datetime, settled: int
) -> tuple[Record, Record]:
    instants, mine, its = np.intersect1d(
        champion.known_at, challenger.known_at, assume_unique=True, return_indices=True
    )
    both = champion.loss[mine] + challenger.loss[its]
    within = (instants > microseconds(since)) & (instants <= settled)
    known = np.isfinite(both) & within[:, None]
    count = known.sum(axis=1)
    kept = count > 0
    records = (
        Record(instants[kept], -np.where(known, loss, 0.0).sum(axis=1)[kept] / count[kept])
        for loss in (champion.loss[mine], challenger.loss[its])
    )
    first, second = records
    return first, second


def shown(
    book: TradedBook, rival: Rival, returns: Comparison, losses: Comparison, as_of: datetime
) -> dict[str, float]:
    """Return what `LIVE_GATES` ask of a challenger; what could not be measured is absent."""
    since, until = microseconds(rival.since), microseconds(as_of)
    record = after(book.record(until), rival.since)
    path = np.exp(np.cumsum(np.concatenate([[0.0], record.value])))
    years = bars_per_year(STEP)
    observed = {
        "bars": float(returns.values),
        "trades": float(book.fills_between(since, until)),
        "drawdown": -max_drawdown(path),
        "deflated_sharpe": live_deflated_sharpe(np.expm1(record.value), years, rival.met),
    }
    if returns.e_better is not None:
        observed["evidence"] = returns.e_better
    if losses.e_worse is not None:
        observed["log_loss"] = losses.e_worse
    elif losses.values:
        observed["log_loss"] = 1.0
    return observed


def pair_of(champion: TradedBook, challenger: TradedBook, rival: Rival, config: LifeConfig) -> Pair:
    """Return the whole record of a challenger beside a champion, and its evidence after each block."""
    end, comparison = int(challenger.known_at[-1]), config.comparison
    records = (after(book.record(end), rival.since) for book in (champion, challenger))
    known_at, values = differences(*records)
    grid = return_terms(comparison, STEP, rival.arrival, end, NO_RECORD).grid
    means = block_means(known_at, values, grid, end)
    paths = partial(log_e_values, cap=comparison.cap, scale_blocks=comparison.scale_blocks)
    return Pair(known_at, values, paths(means), paths(-means), t_statistics(means))


def t_statistics(values: Floats) -> Floats:
    """Return the t-statistic of the mean of the values up to each one; 0 where they do not vary."""
    count = np.arange(1, values.size + 1)
    mean = np.cumsum(values) / count
    variance = np.maximum(np.cumsum(values**2) / count - mean**2, 0.0)
    error = np.sqrt(variance / np.maximum(count - 1, 1))
    statistics: Floats = np.divide(mean, error, out=np.zeros(values.size), where=error > 0)
    return statistics
