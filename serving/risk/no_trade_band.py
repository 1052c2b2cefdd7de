"""A change of weight is made only where it is worth what it costs."""

from serving.compiled import compiled, inlined
from serving.costs import maker_fee_rate, slippage, taker_fee_rate
from serving.desk import Desk
from serving.risk.cuts import held_part, shrink
from serving.risk.names import NO_TRADE_BAND
from serving.state import EQUITY, LARGEST
from serving.tape import LIMIT


@inlined
def round_trip_rate(bar: int, s: int, change: float, desk: Desk) -> float:
    """Return what it costs to get into and out of a change of weight, as a fraction of its value.

    Growth and its later exit, or an exit now and the way back in: one side pays as an entry order
    does (a resting limit pays the maker's fee and no spread), the other as a market order does.
    """
    limits = desk.limits
    size = min(abs(change) * desk.state.money[EQUITY] / desk.market.close[bar, s], float(LARGEST))
    impact = slippage(bar, s, int(size), desk.market, limits)
    taking = limits.half_spread_rate + impact + taker_fee_rate(desk.state, limits)
    if limits.entry_kind == LIMIT:
        return maker_fee_rate(desk.state, limits) + taking
    return taking + taking


@inlined
def is_worthwhile(bar: int, s: int, desk: Desk) -> bool:
    """Return whether the change is large enough and its expected gain exceeds its cost."""
    target = desk.targets[s]
    change = target - desk.current[s]
    if abs(change) < desk.limits.minimum_weight_change and target != 0.0:
        return False
    edge = desk.signals.edge[bar, s]
    if not edge == edge:  # noqa: PLR0124, SIM201, NaN is unlike itself
        return True
    fraction = desk.limits.kelly_fraction * desk.scale[0]
    curvature = desk.signals.variance[bar, s] / (2.0 * fraction)
    gain = change * (edge - curvature * (target + desk.current[s]))
    cost = round_trip_rate(bar, s, change, desk) * abs(change)
    return bool(gain > desk.limits.no_trade_band * cost)


@compiled
def no_trade_band(bar: int, desk: Desk) -> None:
    """Keep the current weight where the change is not worth its cost.

    With mu the edge, v its variance and f the Kelly fraction x the share of limits in force, a
    weight w is worth U(w) = mu w - v w^2 / (2 f), which fractional Kelly maximises; negative weights
    too. A change is made if its gain U(w') - U(w) exceeds `no_trade_band` x round-trip cost
    x |w' - w|: it is easier to stay in than to get in. A strategy that states no edge is held to the
    minimum change alone. A change under `minimum_weight_change` is not made unless it closes the
    position. What is kept beyond the ceiling of the rules on the symbol is closed down to it
    whatever that costs, if it is more than the minimum change.

    This rule shrinks the *change*: what it allows lies between the current weight and the target.
    It comes before the caps on the whole book, so that those count what is really kept.
    """
    for s in range(desk.targets.shape[0]):
        current = desk.current[s]
        if desk.frozen[s] or desk.targets[s] == current or is_worthwhile(bar, s, desk):
            continue
        kept = current
        if abs(current) - desk.ceiling[s] >= desk.limits.minimum_weight_change:
            size = max(desk.ceiling[s], abs(held_part(desk.targets[s], current)))
            kept = size if current > 0.0 else -size
        shrink(bar, s, NO_TRADE_BAND, kept, desk)
