"""A person's word comes before any other."""

from serving.compiled import compiled
from serving.controls import LIQUIDATE, RUN
from serving.desk import Desk
from serving.risk.cuts import close_out, forbid_growth
from serving.risk.names import CONTROL


@compiled
def control(bar: int, desk: Desk) -> None:
    """Let nothing grow while a person has paused the book; close all of it when told to liquidate.

    A paused book still sells, by its signals and by its stops. What is liquidated is sold at the
    next open whatever that costs, scored or not; a symbol without a bar waits for one. Baselines
    obey as models do.
    """
    mode = desk.controls.mode[bar]
    if mode == RUN:
        return
    for s in range(desk.targets.shape[0]):
        if mode == LIQUIDATE:
            if desk.market.close[bar, s] > 0.0:
                close_out(bar, s, CONTROL, desk)
        elif not desk.frozen[s]:
            forbid_growth(bar, s, CONTROL, desk)
