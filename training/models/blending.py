"""Members' probabilities mixed by the weights that would have been best out of fold."""

from typing import Any, ClassVar

import numpy as np

from serving.predictors.voting import VotingPredictor
from training.models.composite import served
from training.models.ensemble import Ensemble
from training.models.out_of_fold import EnsembleForm, out_of_fold_proba
from training.models.protocol import Floats, Model

_STEPS = 10_000
_TOLERANCE = 1e-9
_SMALLEST = 1e-6


class BlendingModel(Ensemble):
    """A mixture of the members; its weights are learned from purged out-of-fold predictions.

    Parameters
    ----------
    params : dict
        As in `Ensemble`; `folds` inner purged folds, `shrinkage` as in `blend_weights`.
    seed, threads : int
    """

    name: ClassVar[str] = "blending"
    predictor_kind: ClassVar[str] = "voting"
    DEFAULTS: ClassVar[dict[str, Any]] = {"folds": 3, "shrinkage": 0.02}

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        super().__init__(params, seed=seed, threads=threads)
        if not 0 <= self.params["shrinkage"] <= 1:
            raise ValueError(
                f"blending: shrinkage is {self.params['shrinkage']}; "
                "use 0 (the best weights) to 1 (equal weights)"
            )

    def _combined(
        self, form: EnsembleForm, members: list[Model], /
    ) -> tuple[VotingPredictor, list[float]]:
        voices = out_of_fold_proba(form, lambda: self._fresh(form))
        samples = form.samples
        of_outcome = voices[:, np.arange(samples.y.size), samples.y]
        weights = blend_weights(of_outcome, samples.weight, shrinkage=self.params["shrinkage"])
        return VotingPredictor(served(members), weights.tolist(), hard=False), weights.tolist()


def blend_weights(of_outcome: Floats, weight: Floats, *, shrinkage: float) -> Floats:
    """Return the weights of a mixture that makes what happened likeliest.

    Parameters
    ----------
    of_outcome : array of float64, shape (members, n)
        The probability that each member gave to what happened.
    weight : array of float64, shape (n,)
        Of the rows, positive.
    shrinkage : float
        From 0, the best weights on these rows, to 1, equal weights.

    Returns
    -------
    array of float64, shape (members,)
        At least `shrinkage / members` each, of sum 1; equal where members are alike.

    Notes
    -----
    The log loss of a mixture is convex in its weights. They are found by expectation maximisation,
    which keeps them on the simplex and makes no step for the worse: a member's new weight is its mean
    share in the probability of what happened. `shrinkage` is the part of that evidence that is laid
    down equally beforehand (a Dirichlet prior), so that little evidence moves the weights little.
    Reference: Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data.
    """
    members = len(of_outcome)
    seen = np.maximum(of_outcome, _SMALLEST)
    row_share = weight / weight.sum()
    weights = np.full(members, 1.0 / members)
    for _ in range(_STEPS):
        evidence = weights * (seen @ (row_share / (weights @ seen)))
        moved = (1.0 - shrinkage) * evidence + shrinkage / members
        done = np.abs(moved - weights).max() < _TOLERANCE
        weights = moved / moved.sum()
        if done:
            break
    return weights


MODEL = BlendingModel
