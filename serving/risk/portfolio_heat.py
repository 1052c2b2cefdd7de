"""All stops may be hit on one day: what that would cost is bounded."""

from serving.compiled import compiled, inlined
from serving.desk import Desk
from serving.risk.cuts import held_part, share_growth
from serving.risk.names import PORTFOLIO_HEAT


@inlined
def held_distance(s: int, desk: Desk) -> float:
    """Return how far the newest close is from the nearer of stop loss and trailing stop.

    As a fraction of that close. A position without either may lose everything: 1. One that is
    beyond its stop already counts 0.
    """
    close = float(desk.state.last_close[s])
    stop = float(desk.state.stop[s])
    trail = float(desk.state.trail[s])
    if stop <= 0.0 and trail <= 0.0:
        return 1.0
    if desk.current[s] > 0.0:
        return max(1.0 - max(stop, trail) / close, 0.0)
    nearer = min(stop, trail) if stop > 0.0 and trail > 0.0 else max(stop, trail)
    return max(nearer / close - 1.0, 0.0)


@compiled
def portfolio_heat(bar: int, desk: Desk) -> None:
    """Bound the sum of |weight| x distance to the stop: the equity lost if every stop is hit.

    What is held counts by its actual stop, growth by the stop it would get (1, where none can be
    set). Growth shares, in proportion, the room what is held leaves of `max_portfolio_heat` x the
    share of limits in force. Heat of what is held forces no sale: it rises where the price has run
    away from the stop, and a rule on losses should not sell what wins.
    """
    room = desk.limits.max_portfolio_heat * desk.scale[0]
    wanted = 0.0
    for s in range(desk.targets.shape[0]):
        target = desk.targets[s]
        if target == 0.0:
            continue
        part = target if desk.frozen[s] else held_part(target, desk.current[s])
        if part != 0.0:
            room -= abs(part) * held_distance(s, desk)
        if part != target:
            distance = desk.signals.stop_fraction[bar, s]
            wanted += abs(target - part) * (distance if distance > 0.0 else 1.0)
    if wanted <= max(room, 0.0):
        return
    share = max(room, 0.0) / wanted
    for s in range(desk.targets.shape[0]):
        if not desk.frozen[s]:
            share_growth(bar, s, PORTFOLIO_HEAT, share, desk)
