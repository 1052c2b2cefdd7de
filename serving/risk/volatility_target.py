"""One position may bring only so much volatility."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.cuts import cut_to_size, forbid_growth
from serving.risk.names import VOLATILITY_TARGET


@compiled
def volatility_target(bar: int, desk: Desk) -> None:
    """Cut |weight| x sigma to the target, both per bar; an unknown or zero sigma allows no growth."""
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s]:
            continue
        sigma = desk.signals.sigma[bar, s]
        if sigma > 0.0:
            cut_to_size(bar, s, VOLATILITY_TARGET, desk.limits.bar_volatility_target / sigma, desk)
        else:
            forbid_growth(bar, s, VOLATILITY_TARGET, desk)
