"""A position is not held for ever."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import close_out
from serving.risk.names import HOLDING_PERIOD


@compiled
def holding_period(bar: int, desk: Desk) -> None:
    """Cut the target of a position held `max_holding_bars` to zero, scored or not.

    It is closed at the next open whatever that costs: no later rule may touch it. A symbol without
    a bar waits for one.
    """
    longest = desk.limits.max_holding_bars
    if longest == 0:
        return
    for s in range(desk.targets.shape[0]):
        if desk.state.age[s] >= longest and desk.market.close[bar, s] > 0.0:
            close_out(bar, s, HOLDING_PERIOD, desk)
