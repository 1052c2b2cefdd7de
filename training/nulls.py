"""Two questions to a training before its results are believed, both with a known answer.

**Shuffled labels** (the null): pieces of the label series change places in time, all symbols at once,
so that labels remain as persistent and as alike across symbols as they were, but have nothing to do
with the features any more. Out of fold there is nothing to find: skill that is significantly above
zero means that the test tells the training something. **Shifted labels** (the canary): every row gets
the label of one horizon ago, which was over when the row was known, so that the features hold the
answer. A sound training must find it; one that does not would miss a real signal too.

References
----------
Ojala and Garriga (2010), Permutation tests for studying classifier performance; Theiler et al. (1992),
Testing for nonlinearity in time series: the method of surrogate data (what a surrogate must keep).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.calibration import row_log_loss
from evaluation.intervals import Interval, skill_interval
from training.config import NullConfig
from training.errors import TooLittleData
from training.panel import Panel
from training.samples import HorizonLabels
from training.splits import NO_END, PurgedKFold, SplitAudit, audit_split

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Fit = Callable[[Panel, Rows, Rows], Floats]
"""From a panel, training rows and test rows to probabilities of the test rows, shape (test rows, 3)."""

_FEWEST_PIECES = 8
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class LabelCheck:
    """One check of a training and what came of it.

    Attributes
    ----------
    name : str
        ``shuffled_labels_<seed>`` or ``shifted_labels``.
    behaves : bool
        Whether the training did what it must.
    skill : Interval
        Base-rate log loss less the model's, out of fold [nats a row]; positive is skill. Its `lower` is
        the one-sided bound that is compared with zero.
    meaning : str
        One sentence for a person.
    rows : int
        Rows predicted.
    audits : tuple of SplitAudit
        Of the folds.
    """

    name: str
    behaves: bool
    skill: Interval
    meaning: str
    rows: int
    audits: tuple[SplitAudit, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the check as plain JSON types."""
        return {
            **self.__dict__,
            "skill": self.skill.as_json(),
            "audits": [audit.as_json() for audit in self.audits],
        }


@dataclass(frozen=True)
class OutOfFold:
    """Losses of rows on folds that did not see them, and those of the training fold's class shares.

    Attributes
    ----------
    known_at : array of int64, shape (n,)
        Microseconds since the epoch.
    loss, base_loss : arrays of float64, shape (n,)
        Log loss of each row [nats].
    audits : tuple of SplitAudit
    """

    known_at: Rows
    loss: Floats
    base_loss: Floats
    audits: tuple[SplitAudit, ...] = ()


def check_labels(
    panel: Panel, rows: Rows, fit: Fit, config: NullConfig, *, embargo: timedelta, seed: int
) -> list[LabelCheck]:
    """Ask a training both questions, on purged folds of `rows`.

    Parameters
    ----------
    panel : Panel
    rows : array of int64
        Rows of the panel to be learned from, those of one training span; no others are used.
    fit : callable
        ``fit(panel, train, test)`` returns the probabilities (down, flat, up) of the test rows from a
        model fitted on the training rows of *that* panel, and looks at no other label.
    config : NullConfig
    embargo : timedelta
        Dropped from training after a test fold, beyond the purge.
    seed : int
        Of the shuffles.

    Returns
    -------
    list of LabelCheck
        The shuffles, then the canary. The training is fit for use if all of them behave.

    Raises
    ------
    TooLittleData
        If the span is too short to be shuffled or a fold is empty.
    ValueError
        If the probabilities have another shape or are not finite.
    """
    kept = rows[panel.thinned(rows, config.every_bars)]
    # Several shuffles share the error that one is allowed.
    level = 1.0 - (1.0 - config.level) / config.shuffles
    shortest = _instants_a_horizon(panel, kept)
    checks = []
    for number in range(config.shuffles):
        changed = shuffled_labels(panel, rows, seed=seed + number)
        name = f"shuffled_labels_{number}"
        found = out_of_fold(changed, kept, fit, folds=config.folds, embargo=embargo, name=name)
        checks.append(judge_shuffled(found, name=name, level=level, shortest_block=shortest))
    name = "shifted_labels"
    changed = shifted_labels(panel, rows)
    found = out_of_fold(changed, kept, fit, folds=config.folds, embargo=embargo, name=name)
    checks.append(judge_shifted(found, name=name, level=config.level, shortest_block=shortest))
    return checks


def shuffled_labels(panel: Panel, rows: Rows, *, seed: int, piece_bars: int | None = None) -> Panel:
    """Return the panel with the labels of `rows` moved about in time, in pieces, all symbols jointly.

    Time is cut into pieces of `piece_bars` to twice as many bars, at random, and the pieces are laid
    in another order. Their lengths differ so that a label does not keep its hour of the day. A row
    takes class, duration and volatility-scaled return of the row of its symbol that the shuffle puts
    at its bar; where there is none, or it has no label, the row has none either.

    Parameters
    ----------
    panel : Panel
    rows : array of int64
        Rows with labels; all others lose theirs.
    seed : int
    piece_bars : int, optional
        By default two of the longest horizon: most labels then stay beside those that they overlap with.

    Raises
    ------
    TooLittleData
        If the span has fewer than eight pieces.
    """
    bar = _bars(panel)
    first, last = int(bar[rows].min()), int(bar[rows].max())
    pieces = _pieces(last + 1 - first, piece_bars or 2 * panel.label.longest_horizon_bars, seed)
    moved = first + np.concatenate(pieces)
    inside = (bar >= first) & (bar <= last)
    source_bar = np.where(inside, moved[np.clip(bar - first, 0, last - first)], -1)
    source = _row_at(panel, rows, bar, source_bar)
    return _relabelled(panel, source, rows)


def shifted_labels(panel: Panel, rows: Rows) -> Panel:
    """Return the panel in which each of `rows` has the label of one horizon ago, known by then.

    Class, duration and volatility-scaled return are those of the row of the same symbol
    `horizon_bars` before; rows without one have no label.

    Parameters
    ----------
    panel : Panel
    rows : array of int64
        Rows with labels; all others lose theirs.
    """
    bar = _bars(panel)
    source = _row_at(panel, rows, bar, bar - panel.label.horizon_bars)
    return _relabelled(panel, source, rows)


def out_of_fold(
    panel: Panel, rows: Rows, fit: Fit, *, folds: int, embargo: timedelta, name: str
) -> OutOfFold:
    """Return the losses of `rows` that have a label, each predicted by a fold that did not see it.

    Parameters
    ----------
    panel, rows, fit, embargo
        As in `check_labels`.
    folds : int
    name : str
        For the audits.

    Raises
    ------
    TooLittleData, ValueError
        As in `check_labels`.
    """
    rows = rows[panel.labelled[rows]]
    known_at, label_end = panel.known_at[rows], panel.label_end[rows]
    losses, bases, tests, audits = [], [], [], []
    for number, (train, test) in enumerate(PurgedKFold(folds, embargo).split(known_at, label_end)):
        label = f"{name} fold {number}"
        audits.append(
            audit_split(label, known_at, label_end, train, test, timeframe=panel.timeframe)
        )
        proba = fit(panel, rows[train], rows[test])
        if proba.shape != (test.size, 3) or not np.isfinite(proba).all():
            raise ValueError(
                f"{label}: probabilities of shape {proba.shape} for {test.size} test rows; "
                "wanted are three finite ones a row"
            )
        outcome = panel.outcome[rows[test]]
        # One more of each class: an absent one is rare, not impossible.
        shares = (np.bincount(panel.outcome[rows[train]], minlength=3) + 1.0) / (train.size + 3.0)
        losses.append(row_log_loss(proba.astype(np.float64), outcome))
        bases.append(-np.log(shares)[outcome])
        tests.append(test)
    order = np.concatenate(tests)
    return OutOfFold(known_at[order], np.concatenate(losses), np.concatenate(bases), tuple(audits))


def judge_shuffled(
    found: OutOfFold, *, name: str, level: float, shortest_block: float = 1.0
) -> LabelCheck:
    """Say whether a training found nothing where there was nothing: skill not significantly above 0.

    Parameters
    ----------
    found : OutOfFold
        With shuffled labels.
    name : str
    level : float
        One-sided confidence in (0.5, 1); a sound training fails with probability 1 - level.
    shortest_block : float
        Least mean length of a bootstrap block, in instants.
    """
    skill = _skill(found, level, shortest_block)
    behaves = skill.lower <= 0.0
    meaning = (
        "labels without any link to the features were not foreseen, as it must be"
        if behaves
        else "labels without any link to the features were foreseen: the training is told its test"
    )
    return LabelCheck(name, behaves, skill, meaning, found.loss.size, found.audits)


def judge_shifted(
    found: OutOfFold, *, name: str, level: float, shortest_block: float = 1.0
) -> LabelCheck:
    """Say whether a training found what was there: skill significantly above 0.

    Parameters
    ----------
    found : OutOfFold
        With shifted labels.
    name, level, shortest_block
        As in `judge_shuffled`.
    """
    skill = _skill(found, level, shortest_block)
    behaves = skill.lower > 0.0
    meaning = (
        "labels that the features give away were foreseen, as it must be"
        if behaves
        else "labels that the features give away were not foreseen: the training is blind"
    )
    return LabelCheck(name, behaves, skill, meaning, found.loss.size, found.audits)


def _skill(found: OutOfFold, level: float, shortest_block: float) -> Interval:
    return skill_interval(
        found.known_at,
        found.loss,
        found.base_loss,
        level=2.0 * level - 1.0,
        shortest_block=shortest_block,
    )


def _instants_a_horizon(panel: Panel, rows: Rows) -> float:
    """Return how many instants of `rows` the longest horizon spans on average, at least 1."""
    instants = np.unique(_bars(panel)[rows])
    span = int(instants[-1] - instants[0]) + 1
    return max(panel.label.longest_horizon_bars * instants.size / span, 1.0)


def _bars(panel: Panel) -> Rows:
    bars: Rows = panel.known_at // (panel.timeframe // _MICROSECOND)
    return bars


def _pieces(length: int, least: int, seed: int) -> list[Rows]:
    """Return the bars 0 ... length - 1 in pieces of `least` to 2 `least` bars, in random order."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(least, 2 * least + 1, size=length // least + 1)
    cuts = np.cumsum(sizes)
    pieces = np.split(np.arange(length), cuts[cuts < length])
    if len(pieces) < _FEWEST_PIECES:
        raise TooLittleData(
            f"{length} bars make {len(pieces)} pieces of {least} to {2 * least} bars; a shuffle needs "
            f"{_FEWEST_PIECES}: use a longer training span or a shorter horizon, or switch "
            "training.nulls.enabled off"
        )
    return [pieces[k] for k in rng.permutation(len(pieces))]


def _row_at(panel: Panel, rows: Rows, bar: Rows, wanted: Rows) -> Rows:
    """Return for every row of the panel the one of `rows` of its symbol at bar `wanted`, or -1."""
    first, last = int(bar[rows].min()), int(bar[rows].max())
    place = np.full((int(panel.symbol.max()) + 1, last + 1 - first), -1, dtype=np.int64)
    labelled = rows[panel.labelled[rows]]
    place[panel.symbol[labelled], bar[labelled] - first] = labelled
    inside = (wanted >= first) & (wanted <= last)
    at = place[panel.symbol, np.clip(wanted - first, 0, last - first)]
    return np.where(inside, at, -1)


def _relabelled(panel: Panel, source: Rows, rows: Rows) -> Panel:
    """Return the panel with the labels of `rows` taken from the rows `source`; -1 leaves none."""
    given = np.zeros(source.size, dtype=bool)
    given[rows] = True
    given &= (source >= 0) & panel.labelled
    taken = source[given]
    label_end = np.full_like(panel.label_end, NO_END)
    outcome = np.full_like(panel.outcome, -1)
    realised = np.full_like(panel.realised, np.nan)
    label_end[given] = panel.known_at[given] + (panel.label_end[taken] - panel.known_at[taken])
    outcome[given] = panel.outcome[taken]
    realised[given] = panel.realised[taken] / panel.scale[taken] * panel.scale[given]
    others = {bars: _moved(labels, given, taken) for bars, labels in panel.others.items()}
    return replace(panel, label_end=label_end, outcome=outcome, realised=realised, others=others)


def _moved(labels: HorizonLabels, given: npt.NDArray[np.bool_], taken: Rows) -> HorizonLabels:
    y, realised = np.full_like(labels.y, -1), np.full_like(labels.realised, np.nan)
    y[given], realised[given] = labels.y[taken], labels.realised[taken]
    return HorizonLabels(y, realised)
