"""What is lost if the stop is hit is bounded before the position exists."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import cut_to_size, forbid_growth
from serving.risk.names import RISK_PER_TRADE


@compiled
def risk_per_trade(bar: int, desk: Desk) -> None:
    """Cut |weight| x stop distance to `risk_per_trade`; where no stop can be set, nothing grows.

    The stop distance is a fraction of price: 2 x ATR by default. A gap through the stop loses more.
    """
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s]:
            continue
        distance = desk.signals.stop_fraction[bar, s]
        if distance > 0.0:
            cut_to_size(bar, s, RISK_PER_TRADE, desk.limits.risk_per_trade / distance, desk)
        else:
            forbid_growth(bar, s, RISK_PER_TRADE, desk)
