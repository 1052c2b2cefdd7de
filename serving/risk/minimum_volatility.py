"""What does not move cannot earn its costs: it is not entered."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import forbid_growth
from serving.risk.names import MINIMUM_VOLATILITY


@compiled
def minimum_volatility(bar: int, desk: Desk) -> None:
    """Let no symbol grow whose sigma is below `minimum_volatility`; both per bar here.

    A pegged or halted market has hardly any volatility, and sizes by volatility would make it the
    largest position. An unknown sigma is the volatility target's to judge.
    """
    least = desk.limits.bar_minimum_volatility
    if least == 0.0:
        return
    for s in range(desk.targets.shape[0]):
        if desk.signals.sigma[bar, s] < least and not desk.frozen[s]:
            forbid_growth(bar, s, MINIMUM_VOLATILITY, desk)
