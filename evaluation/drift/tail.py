"""How far the largest value of a day goes without drift, also on days rarer than any that were seen."""

from dataclasses import dataclass

import numpy as np

from serving.compiled import Floats

FEWEST_DAYS = 60
"""Days that are needed to know how their largest values end."""
_SHARE = 0.1
_FEWEST_EXCEEDANCES = 10
_SMALLEST_EXCESS = 0.01
# Exceedances with so many days or fewer between them belong together.
_RUN = 3


@dataclass(frozen=True)
class Tail:
    """The upper tail of a day's largest value: exponential beyond a threshold.

    Attributes
    ----------
    threshold : float
    share : float
        Chance that a day goes beyond the threshold.
    mean_excess : float
        By how much it then does.
    clusters : float
        Independent stretches of days in which the mean excess was learned.
    """

    threshold: float
    share: float
    mean_excess: float
    clusters: float

    def chance(self, value: float) -> float:
        """Return the chance that a day without drift goes so far; `share` up to the threshold."""
        beyond = max(value - self.threshold, 0.0) / (self.clusters * self.mean_excess)
        return float(self.share * (1.0 + beyond) ** -self.clusters)

    def cut(self, level: float) -> float:
        """Return what a day without drift exceeds with chance `level`, where that is below `share`."""
        rarer = (self.share / level) ** (1.0 / self.clusters) - 1.0
        return float(self.threshold + self.clusters * self.mean_excess * rarer)


def fit_tail(largest: Floats) -> Tail:
    """Learn the tail from the largest value of every day, in order of time.

    The tenth of the days that went farthest (at least ten of them) is taken for a threshold with
    exponential excesses, which is heavier than the bounded tails that shares have. Neighbouring days go
    far together, so runs of them count once where it is asked how well the mean excess is known; for so
    many independent excesses the predictive distribution is exact (a Lomax distribution).

    Raises
    ------
    ValueError
        If there are fewer than `FEWEST_DAYS`.

    References
    ----------
    Davison and Smith (1990), Models for exceedances over high thresholds; Smith and Weissman (1994),
    Estimating the extremal index (runs).
    """
    if largest.size < FEWEST_DAYS:
        raise ValueError(
            f"the training holds {largest.size} days with half of their hours or more; {FEWEST_DAYS} "
            "are needed to know how far an hour of a day goes: set training.split.train_days higher"
        )
    exceeding = max(round(_SHARE * largest.size), _FEWEST_EXCEEDANCES)
    ordered = np.sort(largest)[::-1]
    threshold = float(ordered[exceeding])
    excess = float(ordered[:exceeding].mean()) - threshold
    days = np.flatnonzero(largest > threshold)
    return Tail(
        threshold=threshold,
        share=(exceeding + 1) / (largest.size + 1),
        mean_excess=max(excess, _SMALLEST_EXCESS),
        clusters=1.0 + float((np.diff(days) > _RUN).sum()),
    )
