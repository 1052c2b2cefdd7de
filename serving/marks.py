"""What happens to a book at a close: age and funding, its value, and what the calendar begins."""

import math

from serving.compiled import compiled
from serving.costs import notional_of
from serving.desk import Desk
from serving.exits import follow_extremes
from serving.market import NEW_MONTH, NEW_WEEK
from serving.state import (
    CASH,
    DAY,
    EQUITY,
    FEE_TIER,
    FUNDING,
    HALTED,
    LARGEST,
    MONTH,
    PEAK,
    RAMP_STEPS,
    SIGNAL,
    TRACK_BARS,
    TRACK_SQUARES,
    TRACK_SUM,
    WEEK,
)
from serving.tape import (
    CURVE_CASH,
    CURVE_EQUITY,
    CURVE_EXPOSURE,
    FUNDING_PAYMENT,
    record_fill,
)


@compiled
def pay_funding(bar: int, desk: Desk) -> None:
    """Count the bar for every position, and pay or receive funding on its value at the close.

    A positive rate is paid by longs and received by shorts.
    """
    state = desk.state
    for s in range(desk.room.shape[0]):
        if state.quantity[s] == 0:
            continue
        state.age[s] += 1
        rate = desk.market.funding_rate[bar, s]
        close = desk.market.close[bar, s]
        if rate != 0.0 and close > 0.0:
            paid = notional_of(notional_of(state.quantity[s], close), rate)
            state.money[CASH] -= paid
            state.money[FUNDING] += paid
            state.trade_funding[s] += paid
            record_fill(
                desk.tape,
                bar,
                s,
                FUNDING_PAYMENT,
                0,
                close,
                close,
                close,
                0.0,
                0.0,
                paid,
                0,
                -paid,
                SIGNAL,
            )


@compiled
def mark(bar: int, desk: Desk) -> None:
    """Value the book at the newest closes; follow its peak, its returns and its positions' extremes.

    A person who resumes a halted book lifts the halt and starts the peak anew; a book whose model
    becomes champion starts its capital ramp anew.
    """
    state = desk.state
    exposure = 0
    size = abs(float(state.money[CASH]))
    for s in range(desk.room.shape[0]):
        close = desk.market.close[bar, s]
        if close > 0.0:
            state.last_close[s] = close
        if state.quantity[s] != 0:
            exposure += notional_of(state.quantity[s], state.last_close[s])
            size += abs(state.quantity[s] * state.last_close[s])
            if close > 0.0:
                follow_extremes(bar, s, desk)
    if size > LARGEST:
        raise OverflowError("equity is beyond counts of 1e-8; state the capital in a larger unit")
    equity = state.money[CASH] + exposure
    track_return(state.money[EQUITY], equity, desk)
    state.money[EQUITY] = equity
    state.money[PEAK] = max(state.money[PEAK], equity)
    if desk.controls.resumed[bar]:
        state.conduct[HALTED] = 0
        state.money[PEAK] = equity
    if desk.controls.restaged[bar]:
        state.conduct[RAMP_STEPS] = 0
        state.track[:] = 0.0
    desk.tape.curve[bar, CURVE_EQUITY] = equity
    desk.tape.curve[bar, CURVE_CASH] = state.money[CASH]
    desk.tape.curve[bar, CURVE_EXPOSURE] = exposure


@compiled
def track_return(before: int, equity: int, desk: Desk) -> None:
    """Add the return of a bar to the record the capital ramp is judged by."""
    if before > 0:
        change = float(equity) / float(before) - 1.0
        desk.state.track[TRACK_BARS] += 1.0
        desk.state.track[TRACK_SUM] += change
        desk.state.track[TRACK_SQUARES] += change * change


@compiled
def turn_calendar(bar: int, desk: Desk) -> None:
    """At midnight UTC start the day (week, month), choose the fee tier and look at the ramp."""
    begins = desk.market.calendar[bar]
    if begins == 0:
        return
    state = desk.state
    state.money[DAY] = state.money[EQUITY]
    if begins & NEW_WEEK:
        state.money[WEEK] = state.money[EQUITY]
    if begins & NEW_MONTH:
        state.money[MONTH] = state.money[EQUITY]
    choose_fee_tier(desk)
    climb_ramp(desk)


@compiled
def choose_fee_tier(desk: Desk) -> None:
    """End the day's turnover and take the last tier that the 30 complete days reach."""
    days = desk.state.volume_days
    traded = 0
    for day in range(days.shape[0] - 1, 0, -1):
        days[day] = days[day - 1]
        traded += days[day]
    days[0] = 0
    tier = 0
    for i in range(desk.limits.tier_from.shape[0]):
        if desk.limits.tier_from[i] <= traded:
            tier = i
    desk.state.conduct[FEE_TIER] = tier


@compiled
def climb_ramp(desk: Desk) -> None:
    """Raise the capital ramp by one step if the returns since the last one are evidence of a gain.

    Evidence is mean / standard deviation x sqrt(bars), a t statistic, at or above the normal
    quantile of `ramp_confidence`, over at least `ramp_bars` bars. The record then starts anew.
    """
    limits = desk.limits
    state = desk.state
    steps = state.conduct[RAMP_STEPS]
    bars = state.track[TRACK_BARS]
    if bars < limits.ramp_bars or limits.ramp_start + steps * limits.ramp_step >= 1.0:
        return
    mean = state.track[TRACK_SUM] / bars
    variance = (state.track[TRACK_SQUARES] - bars * mean * mean) / (bars - 1.0)
    if variance > 0.0 and mean * math.sqrt(bars / variance) >= limits.ramp_score:
        state.conduct[RAMP_STEPS] = steps + 1
        state.track[:] = 0.0
