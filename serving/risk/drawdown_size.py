"""A book that is losing bets less."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import shrink_book
from serving.risk.names import DRAWDOWN_SIZE
from serving.state import EQUITY, PEAK


@compiled
def drawdown_size(bar: int, desk: Desk) -> None:
    """Multiply targets and limits by `reduced_size` from a drawdown of `reduce_at_drawdown` on.

    Drawdown is 1 - equity / peak, at the closes. Full size returns when the drawdown is smaller
    again.
    """
    money = desk.state.money
    if money[EQUITY] <= money[PEAK] * (1.0 - desk.limits.reduce_at_drawdown):
        shrink_book(bar, DRAWDOWN_SIZE, desk.limits.reduced_size, desk)
