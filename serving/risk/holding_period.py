"""A position is not held for ever."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import HOLDING_PERIOD
from serving.tape import record_cut


@compiled
def holding_period(bar: int, desk: Desk) -> None:
    """Cut the target of a position held `max_holding_bars` to zero, scored or not.

    It is sold at the next open whatever that costs: no later rule may touch it. A symbol without a
    bar waits for one.
    """
    if desk.limits.max_holding_bars == 0:
        return
    for s in range(desk.targets.shape[0]):
        if desk.state.age[s] >= desk.limits.max_holding_bars and desk.market.close[bar, s] > 0.0:
            if desk.targets[s] > 0.0:
                record_cut(desk.tape, bar, s, HOLDING_PERIOD, desk.targets[s], 0.0)
            desk.targets[s] = 0.0
            desk.frozen[s] = True
