"""Expected against realised returns."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import polars as pl

from evaluation.intervals import Interval, bootstrap_interval, per_instant
from evaluation.reliability.scored import (
    BINS,
    Floats,
    Instants,
    both_returns,
    filled_bins,
    instants_of,
    known_rows,
)


@dataclass(frozen=True)
class ReturnReliability:
    """Expected against realised returns.

    Attributes
    ----------
    curve : polars.DataFrame
        `expected_return`, `realised_return` (means) and `rows` of equally filled bins of the
        expectation.
    slope : Interval
        Least squares of realised on expected: 1 for expectations of the right size, below 1 for
        those that promise too much, 0 for noise.
    intercept : float
        [log return over the horizon]
    pearson, spearman : Interval
        Correlation of the values, and of their ranks.
    """

    curve: pl.DataFrame = field(repr=False)
    slope: Interval
    intercept: float
    pearson: Interval
    spearman: Interval

    def as_json(self) -> dict[str, Any]:
        """Return curve and numbers as plain JSON types."""
        return {**asdict(self), "curve": self.curve.to_dicts()}


def return_reliability(scored: pl.DataFrame, *, bins: int = BINS, **how: Any) -> ReturnReliability:
    """Return how expected returns relate to realised ones.

    Parameters
    ----------
    scored : polars.DataFrame
        See the module.
    bins : int
    **how
        As in `calibration_curve`.

    Raises
    ------
    ValueError
        If no outcome is known, or expected or realised returns are all equal.

    References
    ----------
    Mincer and Zarnowitz (1969), The evaluation of economic forecasts.
    """
    from scipy.stats import rankdata

    known, _, _ = known_rows(scored)
    expected, realised = both_returns(known)
    if not (np.ptp(expected) > 0 and np.ptp(realised) > 0):
        raise ValueError(
            f"{expected.size} expected returns in [{expected.min():g}, {expected.max():g}] and realised "
            f"ones in [{realised.min():g}, {realised.max():g}]: what never varies has no correlation"
        )
    instants = instants_of(known)
    pearson, slope = _correlation(instants, expected, realised, how)
    spearman, _ = _correlation(instants, rankdata(expected), rankdata(realised), how)
    place = filled_bins(expected, bins)
    rows = np.bincount(place)
    curve = pl.DataFrame(
        {
            "expected_return": np.bincount(place, expected) / rows,
            "realised_return": np.bincount(place, realised) / rows,
            "rows": rows,
        }
    )
    intercept = float(realised.mean() - slope.value * expected.mean())
    return ReturnReliability(curve, slope, intercept, pearson, spearman)


def _correlation(
    instants: Instants, x: Floats, y: Floats, how: dict[str, Any]
) -> tuple[Interval, Interval]:
    """Return the intervals of the correlation and of the least-squares slope of y on x."""
    dx, dy = x - x.mean(), y - y.mean()
    sums = per_instant(instants, dx, dy, dx * dy, dx**2, dy**2)

    def moments(means: Floats) -> tuple[Floats, Floats, Floats]:
        a, b, ab, aa, bb, rows = (means[..., k] for k in range(6))
        return ab / rows - a * b / rows**2, aa / rows - (a / rows) ** 2, bb / rows - (b / rows) ** 2

    def correlation(means: Floats) -> Floats:
        both, first, second = moments(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            value: Floats = both / np.sqrt(first * second)
        return value

    def slope(means: Floats) -> Floats:
        both, first, _ = moments(means)
        with np.errstate(divide="ignore", invalid="ignore"):
            value: Floats = both / first
        return value

    driver = sums[:, 2]
    return (
        bootstrap_interval(sums, correlation, driver=driver, **how),
        bootstrap_interval(sums, slope, driver=driver, **how),
    )
