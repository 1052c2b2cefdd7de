"""A spot book owns what it sells: only a contract can be sold short, and only where that is allowed."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import shrink
from serving.risk.names import LONG_ONLY


@compiled
def long_only(bar: int, desk: Desk) -> None:
    """Cut negative targets to zero, except on contracts of a book with `allow_shorts`."""
    for s in range(desk.targets.shape[0]):
        shortable = desk.limits.allow_shorts and desk.market.contract[s]
        if desk.targets[s] < 0.0 and not desk.frozen[s] and not shortable:
            shrink(bar, s, LONG_ONLY, 0.0, desk)
