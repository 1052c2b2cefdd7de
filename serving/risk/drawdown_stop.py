"""A book that has lost too much stops trading until a person has looked at it."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import close_out
from serving.risk.names import DRAWDOWN_STOP
from serving.state import EQUITY, HALTED, PEAK


@compiled
def drawdown_stop(bar: int, desk: Desk) -> None:
    """Halt the book at a drawdown of `flatten_at_drawdown`; close what a halted book holds.

    Drawdown is 1 - equity / peak, at the closes. All is sold at the next open whatever that costs,
    scored or not; a symbol without a bar waits for one. A halted book stays flat, however its
    drawdown goes on, until a person resumes it; its peak then starts anew.
    """
    money = desk.state.money
    if money[EQUITY] <= money[PEAK] * (1.0 - desk.limits.flatten_at_drawdown):
        desk.state.conduct[HALTED] = 1
    if desk.state.conduct[HALTED] == 0:
        return
    for s in range(desk.targets.shape[0]):
        if desk.market.close[bar, s] > 0.0:
            close_out(bar, s, DRAWDOWN_STOP, desk)
