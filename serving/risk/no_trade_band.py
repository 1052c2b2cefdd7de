"""A change of weight is made only where it is worth what it costs."""

from serving.compiled import compiled
from serving.costs import slippage
from serving.desk import Desk
from serving.risk.names import NO_TRADE_BAND
from serving.state import EQUITY, LARGEST
from serving.tape import record_cut


@compiled
def no_trade_band(bar: int, desk: Desk) -> None:
    """Keep the current weight where the change is not worth its cost.

    With mu the edge, v its variance and f the Kelly fraction, a weight w is worth
    U(w) = mu w - v w^2 / (2 f), which fractional Kelly maximises. A change is made if its gain
    U(w') - U(w) exceeds `no_trade_band` x round-trip fee and slippage x |w' - w|: it is easier to
    stay in than to get in. A strategy that states no edge is held to the minimum change alone. A
    change under `minimum_weight_change` is not made unless it closes the position. What is kept
    beyond the ceiling of the rules on the symbol is sold whatever that costs, if it is more than the
    minimum change.

    This rule shrinks the *change*: what it allows lies between the current weight and the target.
    It comes before the caps on the whole book, so that those count what is really kept.
    """
    for s in range(desk.targets.shape[0]):
        change = desk.targets[s] - desk.current[s]
        if desk.frozen[s] or change == 0.0:
            continue
        worthwhile = abs(change) >= desk.limits.minimum_weight_change or desk.targets[s] == 0.0
        edge = desk.signals.edge[bar, s]
        if worthwhile and edge == edge:  # noqa: PLR0124, NaN is unlike itself
            size = abs(change) * desk.state.money[EQUITY] / desk.market.close[bar, s]
            spread = slippage(bar, s, int(min(size, LARGEST)), desk.market, desk.limits)
            cost = 2.0 * (desk.limits.taker_fee_rate + spread) * abs(change)
            curvature = desk.signals.variance[bar, s] / (2.0 * desk.limits.kelly_fraction)
            gain = change * (edge - curvature * (desk.targets[s] + desk.current[s]))
            worthwhile = gain > desk.limits.no_trade_band * cost
        if worthwhile:
            continue
        kept = desk.current[s]
        if kept - desk.ceiling[s] >= desk.limits.minimum_weight_change:
            kept = max(desk.ceiling[s], desk.targets[s])
        if kept != desk.targets[s]:
            record_cut(desk.tape, bar, s, NO_TRADE_BAND, desk.targets[s], kept)
            desk.targets[s] = kept
