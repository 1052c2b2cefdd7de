"""How orders and stops become fills inside one bar."""

import numpy as np

from serving.compiled import compiled
from serving.costs import (
    affordable,
    fill_price,
    notional_of,
    round_to_tick,
    slippage,
    taker_fee_rate,
)
from serving.desk import Desk
from serving.state import CASH, FEES, LARGEST, SCALE, SIGNAL, TRADED
from serving.tape import MARKET, STOP_LOSS, record_fill, record_order


@compiled
def measure_room(bar: int, desk: Desk) -> None:
    """Set what may fill of each symbol in this bar: the participation cap of its volume."""
    for s in range(desk.room.shape[0]):
        volume = desk.market.volume[bar, s]
        desk.room[s] = 0
        if volume > 0.0:
            desk.room[s] = int(min(desk.limits.participation_cap * volume * SCALE, LARGEST))


@compiled
def set_stop(s: int, price: float, desk: Desk) -> None:
    """Set the stop of what is bought at `price`; adding to a position never lowers its stop."""
    distance = desk.state.pending_stop[s]
    level = 0.0
    if distance > 0.0 and price > distance:
        level = round_to_tick(price - distance, desk.market.tick[s], False)
    if desk.state.quantity[s] == 0 or level > desk.state.stop[s]:
        desk.state.stop[s] = level


@compiled
def book_purchase(s: int, size: int, notional: int, fee: int, desk: Desk) -> None:
    """Move the cash of a purchase into the position and its cost."""
    desk.state.money[CASH] -= notional + fee
    desk.state.cost[s] += notional + fee
    desk.state.quantity[s] += size


@compiled
def book_sale(s: int, size: int, notional: int, fee: int, desk: Desk) -> int:
    """Move a sale into cash; return what it realised over its share of the average cost."""
    held = desk.state.quantity[s]
    basis = desk.state.cost[s]
    if size < held:
        basis = int(np.rint(desk.state.cost[s] * (size / held)))
    desk.state.money[CASH] += notional - fee
    desk.state.cost[s] -= basis
    desk.state.quantity[s] -= size
    if desk.state.quantity[s] == 0:
        desk.state.stop[s] = 0.0
        desk.state.age[s] = 0
    return int(notional - fee - basis)


@compiled
def execute(bar: int, s: int, wanted: int, reference: float, kind: int, desk: Desk) -> None:
    """Fill what the bar's volume, the lot and the cash allow of `wanted` (signed).

    The price is `reference` plus slippage and tick, against the trader. Gains are realised after
    the fees of both sides.
    """
    lot = desk.market.lot[s]
    size = min(abs(wanted), desk.room[s])
    size -= size % lot
    if size <= 0:
        return
    rate = slippage(bar, s, size, desk.market, desk.limits)
    spread = desk.limits.half_spread_rate
    price = fill_price(reference, spread + rate, desk.market.tick[s], wanted > 0)
    fee_rate = taker_fee_rate(desk.state, desk.limits)
    arrival = desk.state.last_close[s] if kind == MARKET else desk.state.stop[s]
    if wanted > 0:
        size = affordable(size, price, desk.state.money[CASH], fee_rate, lot)
        if size <= 0:
            return
    notional = notional_of(size, price)
    fee = notional_of(notional, fee_rate)
    realised = 0
    filled = size
    if wanted > 0:
        set_stop(s, price, desk)
        book_purchase(s, size, notional, fee, desk)
    else:
        realised = book_sale(s, size, notional, fee, desk)
        filled = -size
    desk.room[s] -= size
    desk.state.money[FEES] += fee
    desk.state.money[TRADED] += notional
    record_fill(
        desk.tape, bar, s, kind, filled, arrival, reference, price, spread, rate, notional, fee,
        realised, SIGNAL,
    )  # fmt: skip


@compiled
def fill_orders(bar: int, desk: Desk) -> None:
    """Fill the orders of the last close at this open, sales before purchases; the rest expires."""
    state = desk.state
    for s in range(desk.room.shape[0]):
        price = desk.market.open[bar, s]
        if state.pending[s] < 0 and price > 0.0:
            execute(bar, s, state.pending[s], price, MARKET, desk)
    for s in range(desk.room.shape[0]):
        price = desk.market.open[bar, s]
        if state.pending[s] > 0 and price > 0.0:
            execute(bar, s, state.pending[s], price, MARKET, desk)
        state.pending[s] = 0
        state.pending_stop[s] = 0.0


@compiled
def run_stops(bar: int, desk: Desk) -> None:
    """Sell what touched its stop: at the open if the bar opened beyond it, else at the stop.

    The rest of a stop that the volume could not take stays, and fires again in the next bar.
    """
    state = desk.state
    for s in range(desk.room.shape[0]):
        if state.cooldown[s] > 0:
            state.cooldown[s] -= 1
        stop = state.stop[s]
        if stop <= 0.0 or not desk.market.low[bar, s] <= stop:
            continue
        quantity = state.quantity[s]
        record_order(desk.tape, bar, s, STOP_LOSS, -quantity, stop, stop, 0.0, 0.0, SIGNAL)
        execute(bar, s, -quantity, min(desk.market.open[bar, s], stop), STOP_LOSS, desk)
        state.cooldown[s] = desk.limits.stop_cooldown_bars
