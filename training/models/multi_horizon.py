"""Members that learn several horizons, combined into what they say of one.

What will be in three days is told by other features than what will be in eight hours, and a label
over a shorter horizon is less noisy. Members learn each horizon's own label; a stacking regression on their
purged out-of-fold predictions learns what all of them mean for the horizon that is traded.
"""

from typing import ClassVar

from training.models.stacking import StackingModel
from training.samples import Samples


class MultiHorizonModel(StackingModel):
    """Every member once a horizon: that of the samples, then each of `Samples.others`.

    A member has the same parameters at every horizon. Rows whose label over a horizon is not known
    are left out there alone. Folds are purged by the end of a row's longest label.

    Parameters
    ----------
    params : dict
        As in `StackingModel`.
    seed, threads : int
    """

    name: ClassVar[str] = "multi_horizon"

    def _horizons(self, samples: Samples, /) -> tuple[int | None, ...]:
        if not samples.others:
            raise ValueError(
                "multi_horizon learns several horizons, but the samples have one; "
                "set training.label.extra_horizons, e.g. [8, 72]"
            )
        return (None, *sorted(samples.others))


MODEL = MultiHorizonModel
