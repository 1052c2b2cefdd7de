"""A spot book owns what it sells: it cannot be short."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import LONG_ONLY
from serving.tape import record_cut


@compiled
def long_only(bar: int, desk: Desk) -> None:
    """Cut negative targets to zero."""
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s] and desk.targets[s] < 0.0:
            record_cut(desk.tape, bar, s, LONG_ONLY, desk.targets[s], 0.0)
            desk.targets[s] = 0.0
