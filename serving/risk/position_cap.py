"""Only so many positions at once."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import POSITION_CAP
from serving.tape import record_cut


@compiled
def position_cap(bar: int, desk: Desk) -> None:
    """Cut targets to zero until at most `max_positions` remain.

    Newcomers give way before positions that are held, then the weaker wish before the stronger,
    then the later symbol before the earlier. What is frozen counts and cannot be cut.
    """
    count = 0
    for s in range(desk.targets.shape[0]):
        if desk.targets[s] > 0.0:
            count += 1
    while count > desk.limits.max_positions:
        weakest = -1
        for s in range(desk.targets.shape[0]):
            if desk.frozen[s] or not desk.targets[s] > 0.0:
                continue
            if weakest < 0:
                weakest = s
                continue
            held = desk.current[s] > 0.0
            other_held = desk.current[weakest] > 0.0
            if held != other_held:
                if other_held:
                    weakest = s
            elif desk.signals.desired[bar, s] <= desk.signals.desired[bar, weakest]:
                weakest = s
        if weakest < 0:
            return
        record_cut(desk.tape, bar, weakest, POSITION_CAP, desk.targets[weakest], 0.0)
        desk.targets[weakest] = 0.0
        count -= 1
