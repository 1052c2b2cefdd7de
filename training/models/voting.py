"""Members that vote: the mean of their probabilities, or the share of their votes."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from serving.predictors.voting import VotingPredictor
from training.models.composite import served
from training.models.ensemble import Ensemble
from training.models.out_of_fold import EnsembleForm
from training.models.protocol import Model

VOTES = ("soft", "hard")


class VotingModel(Ensemble):
    """The members' mean by fixed weights: nothing is learned but the members.

    Parameters
    ----------
    params : dict
        As in `Ensemble`; `vote` is soft (probabilities) or hard (a whole vote for the likeliest class),
        `weights` one number a member, not negative, by default equal.
    seed, threads : int
    """

    name: ClassVar[str] = "voting"
    predictor_kind: ClassVar[str] = "voting"
    DEFAULTS: ClassVar[dict[str, Any]] = {"vote": "soft", "weights": None}

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        super().__init__(params, seed=seed, threads=threads)
        if self.params["vote"] not in VOTES:
            raise ValueError(f"voting: vote is {self.params['vote']!r}; use soft or hard")
        self.weights = fixed_weights(self.params["weights"], len(self.specs))

    def _combined(
        self, _form: EnsembleForm, members: list[Model], /
    ) -> tuple[VotingPredictor, list[float]]:
        hard = self.params["vote"] == "hard"
        return VotingPredictor(served(members), self.weights, hard=hard), self.weights


def fixed_weights(given: Sequence[float] | None, members: int) -> list[float]:
    """Return `given` weights as shares of 1, or equal ones; ValueError if they cannot be."""
    weights = np.ones(members) if given is None else np.asarray(given, dtype=np.float64)
    if weights.shape != (members,) or not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
        raise ValueError(
            f"voting: weights are {given} for {members} members; "
            "give one number each, none negative and not all 0"
        )
    return [float(share) for share in weights / weights.sum()]


MODEL = VotingModel
