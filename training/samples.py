"""Training samples: which rows are learned from, what became of them, and what they weigh."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from serving.observations import Observations

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]


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
        Span of each label, microseconds since the epoch: what a split inside the fit purges by.
    embargo : timedelta
        Time dropped from training after a test fold of such a split.
    """

    observations: Observations
    y: Classes
    realised: Floats
    weight: Floats
    known_at: Instants
    label_end: Instants
    embargo: timedelta

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
        )
