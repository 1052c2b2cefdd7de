"""Members whose log probabilities a multinomial logistic regression combines."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors.members import (
    Floats,
    Member,
    load_members,
    longest_context,
    member_proba,
    save_members,
)

SMALLEST_PROBABILITY = 1e-4
"""Of a member, so that one that rules a class out does not decide alone."""


class StackingPredictor:
    """`softmax(intercept + log p @ coefficients)`, log p being the members' log probabilities.

    Parameters
    ----------
    members : sequence of Member
        m of them.
    coefficients : array of float64, shape (3 m, 3)
        Row 3 i + k is of member i's class k; columns are down, flat, up.
    intercept : array of float64, shape (3,)
    """

    def __init__(
        self, members: Sequence[Member], coefficients: npt.ArrayLike, intercept: npt.ArrayLike
    ) -> None:
        self.members = tuple(members)
        self.coefficients = np.asarray(coefficients, dtype=np.float64)
        self.intercept = np.asarray(intercept, dtype=np.float64)
        self.context_bars = longest_context(self.members)

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        evidence = log_evidence(member_proba(self.members, observations))
        return softmax(logits(evidence, self.coefficients, self.intercept))

    def save(self, folder: Path) -> None:
        """Write `ensemble.json` and the members' folders."""
        rule = {"coefficients": self.coefficients.tolist(), "intercept": self.intercept.tolist()}
        save_members(folder, self.members, rule)


def log_evidence(voices: Floats) -> Floats:
    """Return the log of probabilities, shape (members, n, 3), a row beside another: (n, 3 members)."""
    logs = np.log(np.maximum(voices, SMALLEST_PROBABILITY))
    return np.concatenate(list(logs), axis=1)


def logits(evidence: Floats, coefficients: Floats, intercept: Floats) -> Floats:
    """Return `intercept + evidence @ coefficients`, shape (n, 3)."""
    # Column by column: a row's sum then does not depend on how many rows are asked for.
    total = np.tile(intercept, (len(evidence), 1))
    for column, weights in zip(evidence.T, coefficients, strict=True):
        total += column[:, None] * weights
    return total


def softmax(values: Floats) -> Floats:
    """Return probabilities of log odds, shape (n, 3)."""
    odds: Floats = np.exp(values - values.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def load(folder: Path) -> StackingPredictor:
    """Read what `save` wrote; ValueError if it is missing or damaged."""
    members, (coefficients, intercept) = load_members(folder, "coefficients", "intercept")
    return StackingPredictor(members, coefficients, intercept)
