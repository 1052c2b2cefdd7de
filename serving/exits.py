"""Stop loss, trailing stop and take profit of a position, met inside one bar."""

from serving.compiled import compiled
from serving.desk import Desk
from serving.fills import execute, exit_level
from serving.positions import level_beyond
from serving.state import SIGNAL
from serving.tape import STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, record_order


@compiled
def touched_exit(bar: int, s: int, desk: Desk) -> int:
    """Return the kind of the exit this bar touched, 0 if none.

    The nearer of stop loss and trailing stop is met first. Where a bar touches a stop and the take
    profit, the stop is taken: what came first cannot be known, and the worse is assumed. In the bar
    in which a resting order filled the take profit does not count: it may have been touched before.
    """
    state = desk.state
    stop = state.stop[s]
    trail = state.trail[s]
    target = state.target[s]
    high = desk.market.high[bar, s]
    low = desk.market.low[bar, s]
    long = state.quantity[s] > 0
    stopped = low <= stop if long else 0.0 < stop <= high
    trailed = low <= trail if long else 0.0 < trail <= high
    if stopped and trailed:
        trailed = trail > stop if long else trail < stop
    if trailed:
        return TRAILING_STOP
    if stopped:
        return STOP_LOSS
    reached = 0.0 < target <= high if long else low <= target
    return TAKE_PROFIT if reached and not desk.rested[s] else 0


@compiled
def exit_price(bar: int, s: int, kind: int, level: float, desk: Desk) -> float:
    """Return the price of an exit before costs: its level, or the open if the bar opened beyond.

    A position that a resting order opened in this bar was not there at the open.
    """
    if desk.rested[s] and desk.state.age[s] == 0:
        return level
    opened = float(desk.market.open[bar, s])
    if (desk.state.quantity[s] > 0) == (kind == TAKE_PROFIT):
        return max(opened, level)
    return min(opened, level)


@compiled
def run_exits(bar: int, desk: Desk) -> None:
    """Close what touched one of its exits; what the volume cannot take goes on at the next open."""
    state = desk.state
    for s in range(desk.room.shape[0]):
        if state.quantity[s] == 0 or state.exiting[s] != 0:
            continue
        kind = touched_exit(bar, s, desk)
        if kind == 0:
            continue
        wanted = -state.quantity[s]
        level = exit_level(s, kind, desk)
        reference = exit_price(bar, s, kind, level, desk)
        resting = kind == TAKE_PROFIT
        record_order(desk.tape, bar, s, kind, wanted, level, level, 0.0, 0.0, SIGNAL)
        execute(bar, s, wanted, reference, kind, resting, level, SIGNAL, desk)
        if state.quantity[s] != 0:
            state.exiting[s] = kind
        if not resting:
            state.cooldown[s] = desk.limits.stop_cooldown_bars


@compiled
def follow_extremes(bar: int, s: int, desk: Desk) -> None:
    """Widen the extremes of a position by this bar and draw its trailing stop after the better one.

    In the bar in which a resting order opened it, the better extreme counts only up to the close:
    it may have been before the entry.
    """
    state = desk.state
    side = 1 if state.quantity[s] > 0 else -1
    high = desk.market.high[bar, s]
    low = desk.market.low[bar, s]
    if desk.rested[s] and state.age[s] == 1:
        if side > 0:
            high = desk.market.close[bar, s]
        else:
            low = desk.market.close[bar, s]
    state.highest[s] = max(state.highest[s], high)
    state.lowest[s] = min(state.lowest[s], low)
    if desk.limits.trail_r > 0.0 and state.risk[s] > 0.0 and state.exiting[s] == 0:
        best = state.highest[s] if side > 0 else state.lowest[s]
        level = level_beyond(s, best, desk.limits.trail_r * state.risk[s], side, desk)
        if level > 0.0 and (state.trail[s] == 0.0 or (level - state.trail[s]) * side > 0.0):
            state.trail[s] = level
