"""Who makes room for a new challenger: evidence takes months, so a place is kept for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple


class Incumbent(NamedTuple):
    """A challenger that has a book.

    Attributes
    ----------
    version : str
    since : datetime
        When its book was opened.
    verdict : str
        Of the newest comparison of its net returns; empty before there is one.
    evidence : float or None
        Its e-value there; None before a bet was made, which is an e-value of one.
    """

    version: str
    since: datetime
    verdict: str = ""
    evidence: float | None = None

    @property
    def e_value(self) -> float:
        """The evidence: a wealth that starts at one, and stays there until a bet is made."""
        return 1.0 if self.evidence is None else self.evidence


def makes_room(incumbents: Sequence[Incumbent], as_of: datetime, tenure: timedelta) -> str | None:
    """Return which challenger leaves for a new one; None where each may still stay.

    One that has shown to be worse leaves first, then, of those that had their `tenure`, the one of
    least evidence; of equals the first in order.
    """
    able = [one for one in incumbents if one.verdict == "worse" or one.since + tenure <= as_of]
    weakest = min(able, key=lambda one: (one.verdict != "worse", one.e_value), default=None)
    return None if weakest is None else weakest.version
