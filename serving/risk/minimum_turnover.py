"""What hardly trades is hard to leave: it is not entered."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import forbid_growth
from serving.risk.names import MINIMUM_TURNOVER


@compiled
def minimum_turnover(bar: int, desk: Desk) -> None:
    """Let no symbol grow that turned over less than `minimum_turnover` [quote] in this bar."""
    least = desk.limits.minimum_turnover
    if least == 0.0:
        return
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s] and desk.market.close[bar, s] * desk.market.volume[bar, s] < least:
            forbid_growth(bar, s, MINIMUM_TURNOVER, desk)
