"""How much worse out-of-fold predictions become when features change places between rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.calibration import log_loss
from serving.observations import Observations
from training.panel import Panel

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Examined:
    """Out-of-fold rows that a fit is examined on, with all they depend on and no more.

    Attributes
    ----------
    observations : Observations
        All features of the asked rows and of the bars before them that the fit looks at.
    outcome : array of int64, shape (n,)
        Classes of the asked rows.
    weight : array of float64, shape (n,)
    """

    observations: Observations
    outcome: npt.NDArray[np.int64]
    weight: Floats


def examine(panel: Panel, test: Rows, *, rows: int, context_bars: int) -> Examined:
    """Return about `rows` rows of `test`, spread evenly over its time.

    Whole instants are taken, in runs of `context_bars`, so that a sequence model's past is shared by
    many rows: one bar at a time for a model of rows.

    Parameters
    ----------
    panel : Panel
    test : array of int64
        Rows with labels.
    rows : int
    context_bars : int
        Bars, a row's own included, that its prediction depends on.
    """
    every = panel.observations(test)
    stretch = every.bar[test] // context_bars
    taken = np.unique(stretch)
    step = max(round(test.size / rows), 1)
    asked = test[np.isin(stretch, taken[::step])]
    reach = np.unique(every.bar[asked][:, None] - np.arange(context_bars))
    near = np.flatnonzero(np.isin(every.bar, reach))
    observations = Observations(
        every.X[near],
        every.symbols,
        every.symbol[near],
        every.bar[near],
        np.searchsorted(near, asked),
    )
    return Examined(observations, panel.outcome[asked], panel.weights(asked))


def permutation_drops(
    predict: Callable[[Observations], Floats],
    examined: Examined,
    groups: Sequence[Rows],
    *,
    block_bars: int,
    seed: int,
) -> Floats:
    """Return how much log loss rises when the features of a group are permuted, shape (groups,) [nats].

    Values change places between rows, of any symbol, within blocks of `block_bars` of time: the
    slow changes of a feature's level stay, so what they are worth is not counted. The features of a
    group move together, and all groups by the same permutation.

    Parameters
    ----------
    predict : callable
        From observations of all features to probabilities of the asked rows, shape (n, 3).
    examined : Examined
    groups : sequence of arrays of int64
        Columns.
    block_bars, seed : int
    """
    observations, outcome, weight = examined.observations, examined.outcome, examined.weight
    base = log_loss(predict(observations), outcome, weight)
    source = _within_blocks(observations.bar // block_bars, seed)
    changed = observations.X.copy()
    drops = np.empty(len(groups))
    for number, columns in enumerate(groups):
        changed[:, columns] = observations.X[np.ix_(source, columns)]
        drops[number] = (
            log_loss(predict(observations.with_columns(changed)), outcome, weight) - base
        )
        changed[:, columns] = observations.X[:, columns]
    return drops


def _within_blocks(block: Rows, seed: int) -> Rows:
    """Return for every row the row it takes its values from, one of the same block."""
    draw = np.random.default_rng(seed).random(block.size)
    source = np.empty(block.size, dtype=np.int64)
    source[np.argsort(block, kind="stable")] = np.lexsort((draw, block))
    return source
