"""A predictor a symbol or cluster of symbols, and one for all that have none of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.observations import Observations
from serving.predictors.members import (
    Floats,
    Member,
    load_members,
    longest_context,
    save_members,
)


class GroupedPredictor:
    """Asks for every row the member of its symbol, by the symbol's name.

    Parameters
    ----------
    members : sequence of Member
        The first is for symbols that are not in `places`.
    places : mapping
        Name of a symbol -> place of its member.
    """

    def __init__(self, members: Sequence[Member], places: Mapping[str, int]) -> None:
        self.members = tuple(members)
        self.places = dict(places)
        self.context_bars = longest_context(self.members)

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        member = np.array(
            [self.places.get(name, 0) for name in observations.symbols], dtype=np.int64
        )
        asked = member[observations.symbol[observations.rows]]
        proba = np.empty((asked.size, 3))
        for place in np.unique(asked):
            chosen = asked == place
            rows = observations.of(observations.rows[chosen])
            proba[chosen] = self.members[place].predictor.predict_proba(rows)
        return proba

    def save(self, folder: Path) -> None:
        """Write `ensemble.json` and the members' folders."""
        save_members(folder, self.members, {"places": self.places})


def load(folder: Path) -> GroupedPredictor:
    """Read what `save` wrote; ValueError if it is missing or damaged."""
    members, (places,) = load_members(folder, "places")
    return GroupedPredictor(members, places)
