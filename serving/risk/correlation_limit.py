"""What moves together is one position."""

from serving.compiled import compiled, inlined
from serving.desk import Desk
from serving.risk.cuts import held_part, share_growth
from serving.risk.names import CORRELATION_LIMIT


@inlined
def with_bitcoin(bar: int, s: int, desk: Desk) -> float:
    """Return a symbol's correlation with bitcoin; unknown counts as 1, as it is in a crash."""
    correlation = desk.signals.correlation[bar, s]
    return correlation if correlation == correlation else 1.0  # noqa: PLR0124, NaN is unlike itself


@compiled
def correlation_limit(bar: int, desk: Desk) -> None:
    """Bound what moves with bitcoin, |sum of weight x correlation|, by `max_correlated_weight`.

    The single-index model (Sharpe 1963, A simplified model for portfolio analysis) with bitcoin as
    the index; longs and shorts offset each other. Growth that adds to the sum on a side shares, in
    proportion, the room that what is held leaves there. Growth that offsets makes no room: it may
    not fill, and so the bound holds whatever part of the orders fills. Nothing held is sold.
    """
    limit = desk.limits.max_correlated_weight * desk.scale[0]
    held = 0.0
    upward = 0.0
    downward = 0.0
    for s in range(desk.targets.shape[0]):
        target = desk.targets[s]
        if target == 0.0:
            continue
        rho = with_bitcoin(bar, s, desk)
        part = target if desk.frozen[s] else held_part(target, desk.current[s])
        growth = (target - part) * rho
        held += part * rho
        upward += max(growth, 0.0)
        downward += max(-growth, 0.0)
    if upward <= limit - held and downward <= limit + held:
        return
    up_share = min(max(limit - held, 0.0) / upward, 1.0) if upward > 0.0 else 1.0
    down_share = min(max(limit + held, 0.0) / downward, 1.0) if downward > 0.0 else 1.0
    for s in range(desk.targets.shape[0]):
        if desk.frozen[s] or desk.targets[s] == 0.0:
            continue
        growth = desk.targets[s] - held_part(desk.targets[s], desk.current[s])
        share = up_share if growth * with_bitcoin(bar, s, desk) > 0.0 else down_share
        if growth != 0.0 and share < 1.0:
            share_growth(bar, s, CORRELATION_LIMIT, share, desk)
