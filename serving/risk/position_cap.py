"""Only so many positions at once."""

from serving.compiled import compiled, inlined
from serving.desk import Desk
from serving.risk.cuts import held_part, shrink
from serving.risk.names import POSITION_CAP


@inlined
def gives_way(bar: int, s: int, other: int, desk: Desk) -> bool:
    """Return whether `s` gives way before `other`: newcomers first, then the weaker wish."""
    held = held_part(desk.targets[s], desk.current[s]) != 0.0
    other_held = held_part(desk.targets[other], desk.current[other]) != 0.0
    if held != other_held:
        return other_held
    return bool(abs(desk.signals.desired[bar, s]) <= abs(desk.signals.desired[bar, other]))


@compiled
def position_cap(bar: int, desk: Desk) -> None:
    """Cut targets to zero until at most `max_positions` remain.

    Newcomers give way before positions that are held, then the weaker wish before the stronger,
    then the later symbol before the earlier. What is frozen counts and cannot be cut.
    """
    count = 0
    for s in range(desk.targets.shape[0]):
        count += desk.targets[s] != 0.0
    while count > desk.limits.max_positions:
        weakest = -1
        for s in range(desk.targets.shape[0]):
            if desk.frozen[s] or desk.targets[s] == 0.0:
                continue
            if weakest < 0 or gives_way(bar, s, weakest, desk):
                weakest = s
        if weakest < 0:
            return
        shrink(bar, weakest, POSITION_CAP, 0.0, desk)
        count -= 1
