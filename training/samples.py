"""Training samples: which rows are learned from, what became of them, and what they weigh."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from serving.observations import Observations

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HorizonLabels:
    """What became of rows over another horizon than the one that is foreseen.

    Parameters
    ----------
    y : array of int64, shape (n,)
        Classes 0 (down), 1 (flat), 2 (up); -1 where not known.
    realised : array of float64, shape (n,)
        Log return of the label in units of volatility over its horizon; NaN where not known.
    """

    y: Classes
    realised: Floats


@dataclass(frozen=True)
class Samples:
    """Labelled rows of a panel, `observations.rows`, in their order.

    Parameters
    ----------
    observations : Observations
        Rows of features; n of them are learned from. A sequence model may look at others that stand
        before a learned one: features, never labels.
    y : array of int64, shape (n,)
        Classes 0 (down), 1 (flat), 2 (up).
    realised : array of float64, shape (n,)
        Log return of the label in units of volatility over the horizon.
    weight : array of float64, shape (n,)
        Positive, mean 1.
    known_at, label_end : array of int64, shape (n,)
        Span of each row's labels, `others` included, microseconds since the epoch: what a split inside
        the fit purges by.
    embargo : timedelta
        Time dropped from training after a test fold of such a split.
    others : mapping
        Horizon in bars -> labels over that horizon, for models that learn several.
    """

    observations: Observations
    y: Classes
    realised: Floats
    weight: Floats
    known_at: Instants
    label_end: Instants
    embargo: timedelta
    others: Mapping[int, HorizonLabels] = field(default_factory=dict)

    def of(self, places: npt.NDArray[np.int64]) -> "Samples":
        """Return the samples at `places`, 0 to n - 1; weights keep their ratio and have mean 1."""
        weight = self.weight[places]
        return Samples(
            self.observations.of(self.observations.rows[places]),
            self.y[places],
            self.realised[places],
            weight / weight.mean(),
            self.known_at[places],
            self.label_end[places],
            self.embargo,
            {
                bars: HorizonLabels(labels.y[places], labels.realised[places])
                for bars, labels in self.others.items()
            },
        )

    def with_observations(self, observations: Observations) -> "Samples":
        """Return the same labels with other observations of the same n rows."""
        return replace(self, observations=observations)

    def over(self, bars: int) -> "Samples":
        """Return the samples whose label over another horizon is known, with that as their label."""
        labels = self.others[bars]
        relabelled = replace(self, y=labels.y, realised=labels.realised, others={})
        return relabelled.of(np.flatnonzero(labels.y >= 0))
