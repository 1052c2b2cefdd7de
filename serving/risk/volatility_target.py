"""One position may bring only so much volatility."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.risk.names import VOLATILITY_TARGET
from serving.tape import record_cut


@compiled
def volatility_target(bar: int, desk: Desk) -> None:
    """Cut weight x sigma to the target, both per bar; an unknown sigma allows no growth."""
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s]:
            continue
        sigma = desk.signals.sigma[bar, s]
        allowed = max(desk.current[s], 0.0)
        if sigma > 0.0:
            allowed = desk.limits.bar_volatility_target / sigma
            desk.ceiling[s] = min(desk.ceiling[s], allowed)
        if desk.targets[s] > allowed:
            record_cut(desk.tape, bar, s, VOLATILITY_TARGET, desk.targets[s], allowed)
            desk.targets[s] = allowed
