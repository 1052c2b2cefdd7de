"""How orders become fills inside one bar."""

import numpy as np

from serving.compiled import compiled
from serving.costs import (
    affordable,
    fill_price,
    maker_fee_rate,
    notional_of,
    slippage,
    taker_fee_rate,
)
from serving.desk import Desk
from serving.positions import end_trade, grow, shrink
from serving.state import CASH, FEES, LARGEST, SCALE, SIGNAL, TRADED
from serving.tape import LIMIT, MARKET, STOP_LOSS, TAKE_PROFIT, record_fill, record_order

# Turns in which orders claim the cash of a bar.
_NONE, _LEAVING, _AT_OPEN, _RESTING = -1, 0, 1, 2


@compiled
def open_bar(bar: int, desk: Desk) -> int:
    """Measure what may fill of each symbol, count cooldowns down; return how many symbols have orders.

    Room is the participation cap of the bar's volume.
    """
    waiting = 0
    for s in range(desk.room.shape[0]):
        volume = desk.market.volume[bar, s]
        desk.room[s] = 0
        if volume > 0.0:
            desk.room[s] = int(min(desk.limits.participation_cap * volume * SCALE, LARGEST))
        desk.rested[s] = False
        if desk.state.cooldown[s] > 0:
            desk.state.cooldown[s] -= 1
        if desk.state.pending[s] != 0 or desk.state.exiting[s] != 0:
            waiting += 1
    return waiting


@compiled
def free_cash(desk: Desk) -> int:
    """Return what growth may spend: cash less twice the value of all shorts at their last close.

    What a short brought is not the book's to spend, and as much again stands behind buying it back:
    with this a book never owes more than it has, long or short.
    """
    free = desk.state.money[CASH]
    for s in range(desk.room.shape[0]):
        if desk.state.quantity[s] < 0:
            free -= 2 * notional_of(-desk.state.quantity[s], desk.state.last_close[s])
    return int(free)


@compiled
def execute(
    bar: int,
    s: int,
    wanted: int,
    reference: float,
    kind: int,
    maker: bool,
    arrival: float,
    cause: int,
    desk: Desk,
) -> None:
    """Fill what the bar's volume, the lot and the free cash allow of `wanted` (signed).

    A maker gets `reference` itself and pays the maker fee. A taker's price is `reference` plus half
    the spread, slippage and tick, against the trader. A whole position is closed whatever its lot:
    the filters may have changed since it was opened.
    """
    state = desk.state
    sign = 1 if wanted > 0 else -1
    held = abs(state.quantity[s])
    growing = held == 0 or (state.quantity[s] > 0) == (wanted > 0)
    lot = desk.market.lot[s]
    size = min(abs(wanted), desk.room[s])
    if growing or size < held:
        size -= size % lot
    if size <= 0:
        return
    spread = 0.0 if maker else desk.limits.half_spread_rate
    impact = 0.0 if maker else slippage(bar, s, size, desk.market, desk.limits)
    fee_rate = maker_fee_rate(state, desk.limits) if maker else taker_fee_rate(state, desk.limits)
    price = reference
    if not maker:
        price = fill_price(reference, spread + impact, desk.market.tick[s], wanted > 0)
    if growing:
        size = affordable(size, price, free_cash(desk), fee_rate, lot)
        if size <= 0:
            return
    notional = notional_of(size, price)
    fee = notional_of(notional, fee_rate)
    realised = 0
    if growing:
        grow(s, size, price, notional, fee, sign, desk)
    else:
        realised = shrink(s, size, price, notional, fee, -sign, desk)
    desk.room[s] -= size
    state.money[FEES] += fee
    state.money[TRADED] += notional
    state.volume_days[0] += notional
    record_fill(
        desk.tape,
        bar,
        s,
        kind,
        sign * size,
        arrival,
        reference,
        price,
        spread,
        impact,
        notional,
        fee,
        realised,
        cause,
    )
    if state.quantity[s] == 0:
        end_trade(bar, s, -sign, kind, cause, desk)


@compiled
def turn_of(s: int, desk: Desk) -> int:
    """Return in which turn the order of a symbol comes: what leaves first, then what grows."""
    state = desk.state
    pending = state.pending[s]
    if state.exiting[s] != 0:
        return _LEAVING
    if pending == 0:
        return _NONE
    if state.quantity[s] != 0 and (state.quantity[s] > 0) != (pending > 0):
        return _LEAVING
    return _AT_OPEN if state.pending_kind[s] == MARKET else _RESTING


@compiled
def meeting_price(bar: int, s: int, desk: Desk) -> float:
    """Return the price at which the bar meets the order of a symbol; 0 or NaN if it does not.

    A limit buy and a stop sale wait below the market, a limit sale and a stop buy above it; each
    gets its level, or the open if the bar opened beyond.
    """
    opened = float(desk.market.open[bar, s])
    kind = desk.state.pending_kind[s]
    if desk.state.exiting[s] != 0 or kind == MARKET:
        return opened
    level = float(desk.state.pending_price[s])
    if (kind == LIMIT) == (desk.state.pending[s] > 0):
        return min(opened, level) if desk.market.low[bar, s] <= level else 0.0
    return max(opened, level) if desk.market.high[bar, s] >= level else 0.0


@compiled
def exit_level(s: int, kind: int, desk: Desk) -> float:
    """Return the level of a protective exit of a position."""
    if kind == STOP_LOSS:
        return float(desk.state.stop[s])
    return float(desk.state.target[s] if kind == TAKE_PROFIT else desk.state.trail[s])


@compiled
def fill_order(bar: int, s: int, desk: Desk) -> None:
    """Fill the order of a symbol, or the rest of its exit, if the bar meets it; the rest expires."""
    state = desk.state
    reference = meeting_price(bar, s, desk)
    if reference > 0.0:
        wanted = state.pending[s]
        kind = state.pending_kind[s]
        arrival = state.last_close[s]
        cause = state.pending_cause[s]
        before = state.quantity[s]
        leaving = state.exiting[s] != 0
        if leaving:
            wanted = -before
            kind = state.exiting[s]
            arrival = exit_level(s, kind, desk)
            cause = SIGNAL
            record_order(desk.tape, bar, s, kind, wanted, arrival, 0.0, 0.0, 0.0, cause)
            if kind != TAKE_PROFIT:
                state.cooldown[s] = desk.limits.stop_cooldown_bars
        execute(bar, s, wanted, reference, kind, kind == LIMIT, arrival, cause, desk)
        desk.rested[s] = not leaving and kind != MARKET and state.quantity[s] != before
    clear_order(s, desk)


@compiled
def clear_order(s: int, desk: Desk) -> None:
    """Forget the order of a symbol."""
    state = desk.state
    state.pending[s] = 0
    state.pending_kind[s] = MARKET
    state.pending_cause[s] = SIGNAL
    state.pending_price[s] = 0.0
    state.pending_stop[s] = 0.0
    state.pending_edge[s] = np.nan


@compiled
def fill_orders(bar: int, desk: Desk) -> None:
    """Fill the orders of the last close: what leaves, then what grows at the open, then what rests."""
    for turn in range(_LEAVING, _RESTING + 1):
        for s in range(desk.room.shape[0]):
            if turn_of(s, desk) == turn:
                fill_order(bar, s, desk)
