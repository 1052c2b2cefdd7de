"""What is lost between the rows a model was fitted on and those it never saw, window by window.

References
----------
Bailey, Borwein, Lopez de Prado and Zhu (2015), section 5 (performance degradation): the regression of
out-of-sample on in-sample performance. Over the trials of a search it is `slope` of
`evaluation.overfitting.cross_validated_overfitting`; here it is over the windows of one model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serving.compiled import Floats

LARGER_IS_BETTER = {
    "sharpe": True,
    "accuracy": True,
    "directional_accuracy": True,
    "return_correlation": True,
    "total_return": True,
    "log_loss": False,
    "brier": False,
}
"""Metrics whose degradation is known to mean something, and whether larger is better."""


@dataclass(frozen=True)
class Degradation:
    """One metric in and out of sample over the windows of a walk-forward.

    Attributes
    ----------
    metric : str
    in_sample, out_of_sample : float
        Means over the windows.
    loss : float
        Mean over the windows of what was lost: in less out for a metric that should be large, out
        less in for one that should be small. *Positive is worse out of sample.*
    lower, upper : float
        Interval of `loss` by Student's t over the windows; NaN for a single one. Windows share most
        of their training rows, so it is somewhat too narrow.
    level : float
    slope : float
        Least squares of out-of-sample on in-sample over the windows; NaN for fewer than three.
    windows : int
    """

    metric: str
    in_sample: float
    out_of_sample: float
    loss: float
    lower: float
    upper: float
    level: float
    slope: float
    windows: int

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return asdict(self)


def degradation(
    in_sample: Sequence[Mapping[str, float]],
    out_of_sample: Sequence[Mapping[str, float]],
    *,
    level: float = 0.9,
) -> list[Degradation]:
    """Compare metrics of each window's training rows with those of its test rows.

    Parameters
    ----------
    in_sample, out_of_sample : sequences of mappings
        One a window, in the same order; metrics of `LARGER_IS_BETTER` that all windows have on both
        sides are compared, others are ignored.
    level : float
        Of the interval, in (0, 1).

    Returns
    -------
    list of Degradation
        One a metric, in the order of `LARGER_IS_BETTER`. A window whose metric is not finite on
        either side (a Sharpe ratio without a trade) is left out of that metric.

    Raises
    ------
    ValueError
        If the two are not equally long, or no metric is common to all.
    """
    names = _common(in_sample, out_of_sample)
    found = []
    for name in names:
        inside = np.array([float(window[name]) for window in in_sample])
        outside = np.array([float(window[name]) for window in out_of_sample])
        both = np.isfinite(inside) & np.isfinite(outside)
        found.append(_degradation(name, inside[both], outside[both], level))
    return found


def _degradation(name: str, inside: Floats, outside: Floats, level: float) -> Degradation:
    losses = (inside - outside) * _sign(name)
    windows = losses.size
    mean = float(losses.mean()) if windows else math.nan
    reach = math.nan
    if windows > 1:
        from scipy.special import stdtrit

        reach = float(stdtrit(windows - 1, (1.0 + level) / 2.0))
        reach *= float(losses.std(ddof=1)) / math.sqrt(windows)
    return Degradation(
        metric=name,
        in_sample=float(inside.mean()) if windows else math.nan,
        out_of_sample=float(outside.mean()) if windows else math.nan,
        loss=mean,
        lower=mean - reach,
        upper=mean + reach,
        level=level,
        slope=_slope(inside, outside),
        windows=windows,
    )


def _slope(inside: Floats, outside: Floats) -> float:
    if inside.size < 3 or not np.ptp(inside) > 0:
        return math.nan
    centred = inside - inside.mean()
    return float(centred @ outside / (centred @ centred))


def _sign(name: str) -> float:
    return 1.0 if LARGER_IS_BETTER[name] else -1.0


def _common(
    in_sample: Sequence[Mapping[str, float]], out_of_sample: Sequence[Mapping[str, float]]
) -> list[str]:
    sides = [*in_sample, *out_of_sample]
    names = [name for name in LARGER_IS_BETTER if sides and all(name in side for side in sides)]
    if len(in_sample) != len(out_of_sample) or not names:
        raise ValueError(
            f"{len(in_sample)} windows in and {len(out_of_sample)} out of sample, with "
            f"{len(names)} of the metrics {', '.join(LARGER_IS_BETTER)} on all of them; "
            "each window needs both sides and at least one of these"
        )
    return names
