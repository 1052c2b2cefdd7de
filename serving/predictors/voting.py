"""Members that vote: by their probabilities (soft) or by the class they hold likeliest (hard)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.observations import Observations
from serving.predictors.members import (
    Floats,
    Member,
    load_members,
    longest_context,
    member_proba,
    save_members,
)


class VotingPredictor:
    """The weighted mean of the members' probabilities, or of their votes.

    Parameters
    ----------
    members : sequence of Member
    weights : sequence of float
        One a member, not negative, of sum 1.
    hard : bool
        Count every member as a whole vote for its likeliest class (the lower one of equals). One vote
        more is split as the members' mean would, so that what none of them votes for is unlikely
        instead of impossible.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float], *, hard: bool) -> None:
        self.members = tuple(members)
        self.weights = tuple(weights)
        self.hard = hard
        self.context_bars = longest_context(self.members)

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        voices = member_proba(self.members, observations)
        mean = pooled(voices, self.weights)
        if not self.hard:
            return mean
        votes = pooled(np.eye(3)[voices.argmax(axis=2)], self.weights)
        return (len(voices) * votes + mean) / (len(voices) + 1)

    def save(self, folder: Path) -> None:
        """Write `ensemble.json` and the members' folders."""
        rule = {"weights": list(self.weights), "vote": "hard" if self.hard else "soft"}
        save_members(folder, self.members, rule)


def pooled(voices: Floats, weights: Sequence[float]) -> Floats:
    """Return the mean of probabilities, shape (members, n, 3), by weights of sum 1; shape (n, 3)."""
    # Member by member: a row's sum then does not depend on how many rows are asked for.
    total = np.zeros(voices.shape[1:])
    for voice, weight in zip(voices, weights, strict=True):
        total += weight * voice
    return total


def load(folder: Path) -> VotingPredictor:
    """Read what `save` wrote; ValueError if it is missing or damaged."""
    members, (weights, vote) = load_members(folder, "weights", "vote")
    return VotingPredictor(members, weights, hard=vote == "hard")
