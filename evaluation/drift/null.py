"""What statistics do while nothing drifts: windows of the reference itself, held against the rest of it.

Features remember for weeks, so a window of independent rows or of short shuffled blocks varies less than
a real one, and cuts taken from it alarm every day. Here a block is a whole window: every stretch of the
reference of the monitored length, all features and symbols together, compared with the reference
*without* it. What moves between the months of the reference is part of the null, as it should be.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.compiled import Floats

PIECES = 7
"""A window is so many pieces long; neighbouring windows begin a piece apart."""
FEWEST_WINDOWS = 5
"""Windows side by side that a reference has at least."""
LEVELS: Floats = 1.0 - np.geomspace(0.5, 1e-4, 60)
"""Levels at which the predictive distribution of the largest deviation is kept."""
_DRAWN = 2_000_000
_SMALLEST_DEVIATION = 0.1
# Windows that only touch still remember each other.
_APART = 2


@dataclass(frozen=True)
class Null:
    """The null of m statistics of one window.

    Attributes
    ----------
    centre, scale : float64 (m,)
        Mean and standard deviation of each statistic over the windows; NaN where fewer than half of
        them have it.
    mean, deviation : float
        Of the largest deviation of a window, in standard deviations of its statistic.
    windows : float
        Windows that fit into the reference side by side.
    limits : float64 (60,)
        Quantiles at `LEVELS` of (largest deviation - mean) / deviation of a window to come.
    """

    centre: Floats
    scale: Floats
    mean: float
    deviation: float
    windows: float
    limits: Floats

    def deviations(self, statistics: Floats) -> Floats:
        """Return how many standard deviations above its centre each statistic is; (m,)."""
        return (statistics - self.centre) / self.scale

    def joint_p(self, deviations: Floats) -> Floats:
        """Return the chance that *any* of the m statistics deviates so far where nothing drifts.

        Not below 1e-4 and not above 0.5, beyond which nothing was learned; NaN of NaN.
        """
        surprise = -np.log(1.0 - LEVELS)
        found = np.interp((deviations - self.mean) / self.deviation, self.limits, surprise)
        return np.where(np.isfinite(deviations), np.exp(-found), np.nan)

    def single_p(self, deviations: Floats) -> Floats:
        """Return the chance that a statistic by itself deviates so far (Student's t of a prediction)."""
        from scipy.special import stdtr

        widened = deviations / np.sqrt(1.0 + 1.0 / self.windows)
        p: Floats = stdtr(self.windows - 1.0, -widened)
        return p

    def cut(self, level: float) -> Floats:
        """Return what each statistic has to exceed for its joint p to be below `level`; (m,)."""
        surprise = -np.log(1.0 - LEVELS)
        largest = self.mean + self.deviation * np.interp(-math.log(level), surprise, self.limits)
        return self.centre + self.scale * largest

    def as_arrays(self) -> dict[str, Floats]:
        """Return the null as named arrays."""
        summary = np.array([self.mean, self.deviation, self.windows])
        return {
            "centre": self.centre,
            "scale": self.scale,
            "limits": self.limits,
            "summary": summary,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Floats]) -> "Null":
        """Read what `as_arrays` gave."""
        mean, deviation, windows = (float(value) for value in arrays["summary"])
        centre, scale, limits = (arrays[name] for name in ("centre", "scale", "limits"))
        return cls(centre, scale, mean, deviation, windows, limits)


def fit_null(
    statistics: Floats, *, smallest_scale: float | Floats = 0.0, overlap: int = PIECES
) -> Null:
    """Learn from the windows of a reference what their statistics do.

    Each window is measured with the centre and scale of the windows that begin two lengths away or more,
    as a window to come will be; the largest of its deviations is taken for a Gumbel variable, whose limits
    allow for how few windows it was learned from.

    Parameters
    ----------
    statistics : float64 (w, m)
        Of windows in order of time, each overlapping the `overlap` - 1 windows after it; NaN where a
        window does not have it.
    smallest_scale : float or float64 (m,)
        Scales below this count as this: what never moved may move a little.

    Raises
    ------
    ValueError
        If fewer than `FEWEST_WINDOWS` windows side by side were given, or all statistics are NaN.

    References
    ----------
    Westfall and Young (1993), Resampling-based multiple testing (the largest statistic); Politis, Romano
    and Wolf (1999), Subsampling; Gumbel (1958), Statistics of extremes.
    """
    side_by_side = (len(statistics) + overlap - 1) / overlap if len(statistics) else 0.0
    if side_by_side < FEWEST_WINDOWS:
        raise ValueError(
            f"the reference holds {side_by_side:.1f} windows side by side; {FEWEST_WINDOWS} are "
            "needed to know what a window does: use a shorter drift.window_hours or a longer training"
        )
    present = np.isfinite(statistics).mean(axis=0) >= 0.5
    if not present.any():
        raise ValueError("no statistic of the reference could be measured; its columns are empty")
    given = np.where(present, statistics, np.nan)
    smallest = np.broadcast_to(np.asarray(smallest_scale, np.float64), present.shape)
    largest = _largest_deviations(given[:, present], smallest[present], overlap)
    centre, scale = np.full(present.size, np.nan), np.full(present.size, np.nan)
    centre[present] = np.nanmean(given[:, present], axis=0)
    scale[present] = np.nanstd(given[:, present], axis=0, ddof=1)
    return Null(
        centre=centre,
        scale=np.maximum(scale, smallest),
        mean=float(largest.mean()),
        deviation=max(float(largest.std(ddof=1)), _SMALLEST_DEVIATION),
        windows=float(side_by_side),
        limits=_prediction_limits(int(side_by_side)),
    )


def _largest_deviations(statistics: Floats, smallest: Floats, overlap: int) -> Floats:
    """Return each window's largest deviation by the moments of the windows apart from it."""
    known = np.isfinite(statistics)
    values = np.where(known, statistics - np.nanmean(statistics, axis=0), 0.0)
    totals = tuple(part.sum(axis=0) for part in (known, values, values**2))
    found = np.empty(len(values))
    for place in range(len(values)):
        near = slice(max(place - _APART * overlap + 1, 0), place + _APART * overlap)
        count, first, second = (
            total - part[near].sum(axis=0)
            for total, part in zip(totals, (known, values, values**2), strict=True)
        )
        centre = first / np.maximum(count, 1)
        variance = (second - count * centre**2) / np.maximum(count - 1, 1)
        scale = np.maximum(np.sqrt(np.maximum(variance, 0.0)), np.maximum(smallest, 1e-12))
        usable = known[place] & (count > 1)
        deviations = np.where(usable, (values[place] - centre) / scale, -np.inf)
        found[place] = deviations.max()
    measured: npt.NDArray[np.bool_] = np.isfinite(found)
    return found[measured]


def _prediction_limits(windows: int) -> Floats:
    """Return quantiles of (new - mean) / deviation of a Gumbel sample of so many and one more."""
    rng = np.random.default_rng(windows)
    draws = rng.gumbel(size=(_DRAWN // (windows + 1), windows + 1))
    past, new = draws[:, :-1], draws[:, -1]
    pivot = (new - past.mean(axis=1)) / past.std(axis=1, ddof=1)
    limits: Floats = np.quantile(pivot, LEVELS)
    return limits
