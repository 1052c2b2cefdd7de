"""A window held against the reference of a model: one finding a statistic, with its cut."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.drift.classifier import Classifier
from evaluation.drift.histograms import STATISTICS, Columns
from evaluation.drift.pulse import Pulse
from evaluation.drift.reference import DAILY, GROUPS, PULSE, Predictions, Reference
from evaluation.drift.spread import FOLKLORE_PSI, Spread
from evaluation.drift.streams import Stream
from serving.compiled import Counts, Floats

ALL = "*"
NOT_MEASURED = "not_measured"
"""Statistic of a question that could not be answered."""
_NOT_ENOUGH = "too few values in the window, or in the reference"


@dataclass(frozen=True)
class Finding:
    """One statistic of one column of one window.

    Attributes
    ----------
    group : str
        One of `reference.GROUPS`.
    feature : str
        Column, or "*" for all together.
    statistic : str
    observed, cut : float or None
        It alarms above the cut; None where it could not be measured.
    p_value, joint_p : float or None
        Chance of this statistic by itself, and of any of its group, to go so far without drift.
    n : int
        Values that were measured.
    alarm : bool
    reason : str
        Why it alarms or was not measured; empty for what is as it was.
    """

    group: str
    feature: str
    statistic: str
    observed: float | None
    cut: float | None
    p_value: float | None
    joint_p: float | None
    n: int
    alarm: bool
    reason: str


def judge_window(
    reference: Reference,
    X: Columns,
    bar: Counts,
    predictions: Predictions,
    *,
    level: float,
    statistics: tuple[str, ...] = STATISTICS,
    folklore: bool = False,
) -> list[Finding]:
    """Judge one window of a model's features, predictions and outcomes.

    Parameters
    ----------
    reference : Reference
    X : float32 (n, k)
        Features of the window in the reference's order; NaN means missing.
    bar : int64 (n,)
    predictions : Predictions
        Of the window, and of as many bars before it as outcomes are waited for.
    level : float
        Chance of any alarm in a window in which nothing drifted.
    statistics : tuple of str
        Those of `STATISTICS` that are told and may alarm.
    folklore : bool
        Let columns alarm at a stability index of 0.25, whatever chance makes of it, and by nothing else.
    """
    share = level / len(GROUPS)
    found = [not_measured(name, why) for name, why in reference.missing.items() if name in DAILY]
    window = reference.window_bars
    if reference.features is not None:
        spread = reference.features
        found += _columns("features", spread, X, share, statistics, folklore=folklore)
    if reference.joint is not None:
        found += _joint(reference.joint, X, bar, share)
    if reference.predictions is not None:
        newest = predictions.bar > predictions.bar.max(initial=0) - window
        given, spread = predictions.columns()[newest], reference.predictions
        found += _columns("predictions", spread, given, share, statistics, folklore=folklore)
    if reference.outcomes is not None:
        losses = predictions.realised()[0][-window:]
        found += _stream("outcomes", reference.outcomes, losses, share)
    if reference.estimated is not None:
        losses = predictions.estimated()[-window:]
        found += _stream("estimated", reference.estimated, losses, share)
    return found


def _columns(
    group: str,
    spread: Spread,
    X: Columns,
    level: float,
    statistics: tuple[str, ...],
    *,
    folklore: bool,
) -> Iterator[Finding]:
    judged = spread.judge(spread.count(X), level)
    for row, name in enumerate(spread.names):
        for column, statistic in enumerate(STATISTICS):
            if statistic in statistics:
                observed, cut, single, joint = (
                    float(values[row, column])
                    for values in (judged.observed, judged.cut, judged.single_p, judged.joint_p)
                )
                n = int(judged.n[row])
                if folklore:
                    cut = FOLKLORE_PSI[1] if statistic == "psi" else np.inf
                yield _finding(group, name, statistic, (observed, cut, single, joint), n)


def _joint(classifier: Classifier, X: Columns, bar: Counts, level: float) -> Iterator[Finding]:
    told = np.array([classifier.distance(X, bar) if len(bar) else np.nan])
    null = classifier.null
    deviations = null.deviations(told)
    parts = (told, null.cut(level), null.single_p(deviations), null.joint_p(deviations))
    observed, cut, single, joint = (float(part[0]) for part in parts)
    yield _finding("joint", ALL, "classifier_distance", (observed, cut, single, joint), len(X))


def _stream(group: str, stream: Stream, losses: Floats, level: float) -> Iterator[Finding]:
    if len(losses) < stream.window_bars:
        reason = f"{len(losses)} bars of the {stream.window_bars} that are compared so far"
        yield not_measured(group, reason, len(losses))
        return
    observed, null = stream.statistics(losses), stream.null
    deviations = null.deviations(observed)
    parts = (observed, null.cut(level), null.single_p(deviations), null.joint_p(deviations))
    for place, name in enumerate(stream.names):
        observed_, cut, single, joint = (float(part[place]) for part in parts)
        yield _finding(group, ALL, name, (observed_, cut, single, joint), len(losses))


def judge_pulse(pulse: Pulse, X: Columns, *, level: float) -> Finding:
    """Judge one hour: the share of its cells that lie in the outermost bins of the training.

    Parameters
    ----------
    pulse : Pulse
    X : float32 (symbols, k)
        Features of the hour in the pulse's order; NaN means missing.
    level : float
        Chance of any alarm on a day on which nothing drifted, whichever question it is of.

    Returns
    -------
    Finding
        Its joint p is the chance that any hour of a day goes so far; an hour by itself has none.
    """
    outermost, cells = pulse.count(X)
    if not pulse.enough(cells):
        reason = f"{cells} values in the hour; {pulse.cells:g} are usual, and half of them needed"
        return not_measured(PULSE, reason, cells)
    cut, joint = pulse.cut(level / len(GROUPS), cells), pulse.chance(outermost, cells)
    values = (outermost / cells, cut, float("nan"), joint)
    return _finding(PULSE, ALL, "outermost_share", values, cells)


def not_measured(group: str, reason: str, n: int = 0) -> Finding:
    """Return the row of a question that could not be answered, with its reason."""
    return Finding(group, ALL, NOT_MEASURED, None, None, None, None, n, False, reason)


def _finding(
    group: str, feature: str, statistic: str, values: tuple[float, float, float, float], n: int
) -> Finding:
    observed, cut, single, joint = (v if np.isfinite(v) else None for v in values)
    if observed is None:
        nothing = (None, None, None, None)
        return Finding(group, feature, statistic, *nothing, n, False, _NOT_ENOUGH)
    alarm = cut is not None and observed > cut
    reason = f"{observed:.3g} is above {cut:.3g}" if alarm else ""
    return Finding(group, feature, statistic, observed, cut, single, joint, n, alarm, reason)
