"""What a fill does to a position: it grows, it shrinks, and when it is flat again a trade is over."""

import numpy as np

from serving.compiled import compiled
from serving.costs import round_to_tick
from serving.desk import Desk
from serving.state import CASH
from serving.tape import record_trade


@compiled
def level_beyond(s: int, price: float, distance: float, side: int, desk: Desk) -> float:
    """Return the level `distance` against a position of `side`, on the tick beyond; 0 if there is none."""
    level = price - side * distance
    if level <= 0.0:
        return 0.0
    return round_to_tick(level, desk.market.tick[s], side < 0)


@compiled
def set_exits(s: int, side: int, price: float, desk: Desk) -> None:
    """Set the exits of what was entered at `price`.

    Adding to a position may bring its stop nearer, never further away. R, the take profit and the
    trailing stop are those of the first entry that had a stop.
    """
    state = desk.state
    distance = state.pending_stop[s]
    if not distance > 0.0:
        return
    level = level_beyond(s, price, distance, side, desk)
    if level == 0.0:
        return
    if state.stop[s] == 0.0 or (level - state.stop[s]) * side > 0.0:
        state.stop[s] = level
    if state.risk[s] > 0.0:
        return
    state.risk[s] = distance
    if desk.limits.target_r > 0.0:
        target = price + side * desk.limits.target_r * distance
        if target > 0.0:
            state.target[s] = round_to_tick(target, desk.market.tick[s], side > 0)
    if desk.limits.trail_r > 0.0:
        state.trail[s] = level_beyond(s, price, desk.limits.trail_r * distance, side, desk)


@compiled
def grow(s: int, size: int, price: float, notional: int, fee: int, side: int, desk: Desk) -> None:
    """Add `size` to the position on its `side` (+1 long, -1 short), or open it."""
    state = desk.state
    if state.quantity[s] == 0:
        state.highest[s] = price
        state.lowest[s] = price
        state.edge[s] = state.pending_edge[s]
    set_exits(s, side, price, desk)
    state.money[CASH] -= side * notional + fee
    state.cost[s] += side * notional + fee
    state.quantity[s] += side * size
    state.entered[s] += size
    state.invested[s] += notional
    state.trade_fees[s] += fee


@compiled
def shrink(s: int, size: int, price: float, notional: int, fee: int, side: int, desk: Desk) -> int:
    """Take `size` off the position of `side`; return what it realised over its share of the cost.

    The cost is an average over all entries, fees included, so the fees of both sides are in it.
    """
    state = desk.state
    held = abs(state.quantity[s])
    basis = state.cost[s]
    if size < held:
        basis = int(np.rint(state.cost[s] * (size / held)))
    state.money[CASH] += side * notional - fee
    state.cost[s] -= basis
    state.quantity[s] -= side * size
    state.returned[s] += notional
    state.trade_fees[s] += fee
    state.highest[s] = max(state.highest[s], price)
    state.lowest[s] = min(state.lowest[s], price)
    return int(side * notional - fee - basis)


@compiled
def end_trade(bar: int, s: int, side: int, kind: int, cause: int, desk: Desk) -> None:
    """Write down the round trip that has just ended, and forget it."""
    state = desk.state
    quantity = state.entered[s]
    entry_price = state.invested[s] / quantity
    worst = state.lowest[s] if side > 0 else state.highest[s]
    best = state.highest[s] if side > 0 else state.lowest[s]
    gain = side * (state.returned[s] - state.invested[s])
    record_trade(
        desk.tape,
        bar,
        s,
        side,
        state.age[s],
        quantity,
        entry_price,
        state.returned[s] / quantity,
        state.invested[s],
        gain - state.trade_fees[s] - state.trade_funding[s],
        state.trade_fees[s],
        state.trade_funding[s],
        min(side * (worst / entry_price - 1.0), 0.0),
        max(side * (best / entry_price - 1.0), 0.0),
        state.risk[s] / entry_price,
        state.edge[s],
        kind,
        cause,
    )
    forget_position(s, desk)


@compiled
def forget_position(s: int, desk: Desk) -> None:
    """Set every field of a position that is flat to what it is before an entry."""
    state = desk.state
    state.stop[s] = 0.0
    state.target[s] = 0.0
    state.trail[s] = 0.0
    state.age[s] = 0
    state.exiting[s] = 0
    state.highest[s] = 0.0
    state.lowest[s] = 0.0
    state.risk[s] = 0.0
    state.edge[s] = np.nan
    state.entered[s] = 0
    state.invested[s] = 0
    state.returned[s] = 0
    state.trade_fees[s] = 0
    state.trade_funding[s] = 0
