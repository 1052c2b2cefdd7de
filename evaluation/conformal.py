"""Intervals that promise a coverage, and how much of it they kept.

Split-conformal bounds are order statistics of residuals on rows that the model did not see, in units
of each row's volatility, so that a calm and a wild hour share them. With exchangeable residuals a new
row falls inside with probability `level` or more, whatever the model and the distribution. Residuals
of overlapping labels are not exchangeable, and those of cross-fitted models are of models fitted on
less than everything (CV, in the terms of Barber et al.; its guarantee needs stability): so the
coverage is measured, with an interval that knows of blocks, and not believed.

References
----------
Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world (Mondrian: ch. 4.5). Lei et
al. (2018), Distribution-free predictive inference for regression. Barber, Candes, Ramdas and
Tibshirani (2021), Predictive inference with the jackknife+.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.intervals import Interval, mean_interval
from serving.bounds import ResidualBounds

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]

# A hair's breadth forgives (1 - 0.8) / 2 for not being 0.1.
_HAIR = 1e-9


def fewest_residuals(level: float) -> int:
    """Return how many residuals an interval of this level needs: ceil(1 / tail) - 1.

    With fewer no order statistic leaves less than a tail above it, and the honest bound is infinite.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} of an interval; it lies between 0 and 1")
    return math.ceil(2.0 / (1.0 - level) - _HAIR) - 1


def residual_bounds(residuals: Floats, level: float) -> tuple[float, float]:
    """Return the split-conformal bounds that hold a share `level` of new residuals.

    Parameters
    ----------
    residuals : array of float64, shape (n,)
        realised - expected on rows that the model did not see [units of volatility].
    level : float
        Coverage in (0, 1), shared equally by the two tails.

    Returns
    -------
    lower, upper : float
        The order statistics floor(tail (n + 1)) and ceil((1 - tail) (n + 1)), tail = (1 - level) / 2.

    Raises
    ------
    ValueError
        If there are fewer residuals than `fewest_residuals`, or one is not finite.
    """
    n, needed = residuals.size, fewest_residuals(level)
    if n < needed or not np.isfinite(residuals).all():
        raise ValueError(
            f"{n} residuals, {int((~np.isfinite(residuals)).sum())} of them not finite, for an interval "
            f"of level {level:g}: it needs {needed} finite ones or more; use a longer span or a lower "
            "interval level"
        )
    tail = (1.0 - level) / 2.0
    below = math.floor(tail * (n + 1) + _HAIR) - 1
    above = math.ceil((1.0 - tail) * (n + 1) - _HAIR) - 1
    ordered = np.partition(residuals, (below, above))
    return float(ordered[below]), float(ordered[above])


def grouped_bounds(
    residuals: Floats, scale: Floats, level: float, *, groups: int = 3
) -> ResidualBounds:
    """Return split-conformal bounds by equally filled groups of volatility (Mondrian).

    Scaling by volatility makes residuals alike only as far as they are proportional to it; where the
    coverage differs between calm and wild hours, groups mend it, at the price of fewer residuals each.

    Parameters
    ----------
    residuals, level
        As in `residual_bounds`.
    scale : array of float64, shape (n,)
        Volatility over the horizon known at each row [log return]; finite.
    groups : int
        One or more; equal volatilities are never parted, so there may be fewer.

    Raises
    ------
    ValueError
        If a group has too few residuals (see `residual_bounds`).
    """
    edges = np.unique(np.quantile(scale, np.linspace(0.0, 1.0, groups + 1)[1:-1]))
    edges = edges[edges < scale.max()]
    place = np.searchsorted(edges, scale, side="left")
    bounds = tuple(residual_bounds(residuals[place == g], level) for g in range(edges.size + 1))
    return ResidualBounds(tuple(float(edge) for edge in edges), bounds)


@dataclass(frozen=True)
class Coverage:
    """Measured coverage of an interval.

    Attributes
    ----------
    promised : float
        Level of the interval.
    measured : Interval
        Share of realised returns inside.
    below, above : float
        Shares that fell below and above it; both are half of 1 - promised where the interval sits
        right.
    mean_width : float
        Mean of upper - lower, in the unit of the returns.
    """

    promised: float
    measured: Interval
    below: float
    above: float
    mean_width: float

    @property
    def kept(self) -> bool:
        """True unless even the upper bound of the measured coverage is below what was promised."""
        return self.measured.upper >= self.promised

    def as_json(self) -> dict[str, Any]:
        """Return the coverage as plain JSON types."""
        return {**self.__dict__, "measured": self.measured.as_json(), "kept": self.kept}


def measure_coverage(
    known_at: Instants,
    realised: Floats,
    lower: Floats,
    upper: Floats,
    promised: float,
    **how: Any,
) -> Coverage:
    """Return how many realised returns fell into their interval, with what blocks say of that share.

    Parameters
    ----------
    known_at : array of int64, shape (n,)
        Instant of each row; rows of one instant are one observation.
    realised, lower, upper : arrays of float64, shape (n,)
        [log return over the horizon]; finite.
    promised : float
        Level of the interval.
    **how
        `level`, `paths`, `seed`, `block_bars`, `shortest_block` of
        `evaluation.intervals.bootstrap_interval`.

    Raises
    ------
    ValueError
        If there are fewer than eight instants or a value is not finite.
    """
    if not (np.isfinite(realised) & np.isfinite(upper - lower)).all():
        raise ValueError("realised returns and bounds must be finite; leave rows without them out")
    inside = (realised >= lower) & (realised <= upper)
    return Coverage(
        promised,
        mean_interval(known_at, inside, **how),
        float(np.mean(realised < lower)),
        float(np.mean(realised > upper)),
        float(np.mean(upper - lower)),
    )
