"""The purged walk-forward: which spans, and the fit of one span with calibration and interval.

Every fit sees labels that had ended by the end of its span. Calibration, class returns and interval
come from out-of-fold predictions *inside* the span; the test window after it is touched once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import fit_calibration
from evaluation.conformal import grouped_bounds
from serving.bounds import ResidualBounds
from serving.calibration import calibrate
from serving.scorer import Scorer, ScorerSpec, score_frame
from training.config import TrainingConfig
from training.errors import TooLittleData
from training.fitting import Fit, fit_rows
from training.importance import Importance, measure_importance
from training.models.composite import inner_audits
from training.panel import SCALE_FEATURE, Panel, microseconds
from training.splits import PurgedKFold, PurgedWalkForward, SplitAudit, audit_split

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """One test window `(test_start, test_end]` and the training span `(train_start, test_start]`."""

    number: int
    train_start: datetime
    test_start: datetime
    test_end: datetime

    def as_json(self) -> dict[str, Any]:
        """Return the window as plain JSON types."""
        return {
            "number": self.number,
            "train_start": self.train_start.isoformat(),
            "test_start": self.test_start.isoformat(),
            "test_end": self.test_end.isoformat(),
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> "Window":
        """Read what `as_json` wrote."""
        instants = {k: datetime.fromisoformat(v) for k, v in tree.items() if k != "number"}
        return cls(number=tree["number"], **instants)


def plan_windows(
    as_of: datetime, first: datetime, config: TrainingConfig, *, timeframe: timedelta
) -> list[Window]:
    """Return the outer windows of a walk-forward as of `as_of`, oldest first.

    The newest test window ends one label horizon before `study_end`, so that every test row has its
    outcome and none is told by the hold-out.

    Parameters
    ----------
    as_of : datetime
    first : datetime
        `known_at` of the first row of features; training spans are cut there.
    config : TrainingConfig
    timeframe : timedelta

    Raises
    ------
    ValueError
        If the oldest training span is shorter than one test window a fold: naming the history there
        is and the history that is needed.
    """
    split, horizon = config.split, config.label.horizon_bars * timeframe
    test, train = timedelta(days=split.test_days), timedelta(days=split.train_days)
    end = microseconds(study_end(as_of, config) - horizon)
    splitter = PurgedWalkForward(split.windows, test, train, end, split.expanding)
    windows = [
        Window(number, max(_instant(begin), first - timeframe), _instant(start), _instant(stop))
        for number, (begin, start, stop) in enumerate(splitter.bounds())
    ]
    needed = min(train, test * split.inner_folds)
    oldest = windows[0].test_start - windows[0].train_start
    if oldest < needed:
        day = timedelta(days=1)
        raise ValueError(
            f"history starts {first:%Y-%m-%dT%H:%MZ}, {(as_of - first) / day:.1f} days before; "
            f"{split.windows} test windows of {split.test_days:g} days and {needed / day:.1f} days "
            f"of training before them take {(as_of - windows[0].test_start + needed) / day:.1f}"
        )
    return windows


def study_end(as_of: datetime, config: TrainingConfig) -> datetime:
    """Return the instant after which the windows, the search and the final fit know nothing.

    `as_of` itself unless `split.holdout_days` keeps the newest days back (`training.holdout`).
    """
    return as_of - timedelta(days=config.split.holdout_days)


def history_needed(config: TrainingConfig, *, timeframe: timedelta) -> timedelta:
    """Return how far before `as_of` a walk-forward reads features."""
    split = config.split
    days = split.train_days + split.windows * split.test_days + split.holdout_days
    return timedelta(days=days) + config.label.horizon_bars * timeframe


def inner_folds(
    panel: Panel, rows: Rows, config: TrainingConfig, *, name: str
) -> tuple[list[tuple[Rows, Rows]], list[SplitAudit]]:
    """Return audited purged folds of training rows, as row numbers of the panel."""
    embargo = config.split.embargo_bars * panel.timeframe
    known_at, label_end = panel.known_at[rows], panel.label_end[rows]
    folds, audits = [], []
    splitter = PurgedKFold(config.split.inner_folds, embargo)
    for number, (train, test) in enumerate(splitter.split(known_at, label_end)):
        label = f"{name} fold {number}"
        audits.append(
            audit_split(label, known_at, label_end, train, test, timeframe=panel.timeframe)
        )
        folds.append((rows[train], rows[test]))
    return folds, audits


@dataclass(frozen=True)
class FittedSpan:
    """What one fit gave: the scorer, what each feature was worth, and what was checked."""

    scorer: Scorer
    importance: Importance
    audits: list[SplitAudit]
    rows: int
    fitted_rows: int
    mean_uniqueness: float
    class_shares: tuple[float, float, float]


def fit_span(
    panel: Panel,
    params: dict[str, Any],
    config: TrainingConfig,
    *,
    start: datetime,
    end: datetime,
    feature_set: str,
    name: str,
) -> FittedSpan:
    """Fit a scorer on the labels known after `start` whose horizons were over by `end`.

    Parameters
    ----------
    panel : Panel
    params : dict
        Parameters of the model.
    config : TrainingConfig
    start, end : datetime
        The training span.
    feature_set : str
        Hash that the scorer will insist on.
    name : str
        Of the span, for the audits.

    Raises
    ------
    TooLittleData
        If a fold is empty, or the rows are too few for the model or the interval.
    ValueError
        If a fold overlaps its test interval.
    """
    rows = panel.training_rows(start, end)
    folds, audits = inner_folds(panel, rows, config, name=name)
    fits = [(fit_rows(panel, train, params, config), test) for train, test in folds]
    out_of_fold = np.concatenate([test for _, test in folds])
    proba = np.concatenate([fit.predict_proba(panel.observations(test)) for fit, test in fits])
    weight = panel.weights(out_of_fold)
    outcome = panel.outcome[out_of_fold]
    calibration = fit_calibration(proba, outcome, weight, config.calibration)
    scaled = panel.realised[out_of_fold] / panel.scale[out_of_fold]
    returns = class_returns(scaled, outcome, weight)
    expected = calibrate(proba, calibration) @ np.asarray(returns)
    final = fit_rows(panel, rows, params, config)
    spec = ScorerSpec(
        predictor=final.model.predictor_kind,
        feature_names=panel.feature_names,
        feature_set=feature_set,
        scale_feature=SCALE_FEATURE,
        horizon_bars=config.label.horizon_bars,
        bar_seconds=int(panel.timeframe.total_seconds()),
        calibration=calibration,
        class_returns=returns,
        residual_bounds=_bounds(scaled - expected, panel.scale[out_of_fold], config),
        train_start=start,
        train_end=end,
        projection=final.projection,
    )
    return FittedSpan(
        scorer=Scorer(spec, final.model.predictor),
        importance=measure_importance(panel, rows, final, fits, config),
        audits=[*audits, *_inner(fits, final)],
        rows=int(rows.size),
        fitted_rows=int(panel.thinned(rows, config.sample_every_bars).sum()),
        mean_uniqueness=panel.mean_uniqueness(rows),
        class_shares=_shares(panel.outcome[rows]),
    )


def _bounds(residuals: Floats, scale: Floats, config: TrainingConfig) -> ResidualBounds:
    try:
        level, groups = config.interval_level, config.interval_groups
        return grouped_bounds(residuals, scale, level, groups=groups)
    except ValueError as error:
        raise TooLittleData(str(error)) from error


def _inner(fits: list[tuple[Fit, Rows]], final: Fit) -> list[SplitAudit]:
    """Return the audits of the splits that the models themselves made."""
    return [
        audit for fit in (*(fit for fit, _ in fits), final) for audit in inner_audits(fit.model)
    ]


def class_returns(
    scaled: Floats, outcome: npt.NDArray[np.int64], weight: Floats
) -> tuple[float, float, float]:
    """Return the weighted mean realised return of the classes down, flat, up; 0 for an absent one.

    Parameters
    ----------
    scaled : array of float64, shape (n,)
        Realised log returns [units of volatility over the horizon].
    """
    means = [
        float(np.average(scaled[hit], weights=weight[hit])) if hit.any() else 0.0
        for hit in (outcome == k for k in range(3))
    ]
    return means[0], means[1], means[2]


def _shares(outcome: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    down, flat, up = np.bincount(outcome, minlength=3) / outcome.size
    return float(down), float(flat), float(up)


def score_rows(scorer: Scorer, panel: Panel, rows: Rows) -> pl.DataFrame:
    """Return the scores of rows of the panel: its key and the score columns, in the panel's order."""
    return score_frame(scorer, panel.keys, panel.X, rows)


def _instant(microsecond: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microsecond)
