"""A new book earns its capital."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import shrink_book
from serving.risk.names import CAPITAL_RAMP
from serving.state import RAMP_STEPS


@compiled
def capital_ramp(bar: int, desk: Desk) -> None:
    """Multiply targets and limits by the share a book has reached: `ramp_start` + steps x `ramp_step`.

    The engine takes a step at the mark, once the returns since the last one are evidence of a gain.
    """
    steps = float(desk.state.conduct[RAMP_STEPS])
    share = desk.limits.ramp_start + steps * desk.limits.ramp_step
    if share < 1.0:
        shrink_book(bar, CAPITAL_RAMP, share, desk)
