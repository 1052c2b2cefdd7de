"""The trading engine: one compiled function, for backtests and for paper books alike.

Order of events inside a bar: orders of the last close (what leaves first, then what grows; market
orders at the open, limit and stop orders where the bar meets them) -> protective exits against high
and low: stop loss, trailing stop, take profit; gap-aware, a stop before a target -> age and funding
-> mark at the close, extremes -> calendar: anchors of day, week and month, fee tier, capital ramp ->
targets from the signals known at this close -> risk rules -> orders for the next bar. An order lives
one bar. Where a bar is missing nothing fills, the position stays marked at its last close and no
order is made.

Arrays hold n symbols in sorted order. Money and quantities are counts of 1e-8 (see `state`).
"""

from collections.abc import Callable

import numpy as np

from serving.compiled import cached, compiled, fingerprint_of
from serving.controls import Controls, no_controls
from serving.costs import round_to_tick
from serving.desk import Desk, new_desk
from serving.exits import run_exits
from serving.fills import fill_orders, open_bar
from serving.limits import Limits
from serving.market import Market
from serving.marks import mark, pay_funding, turn_calendar
from serving.references import by_reference
from serving.risk.control import control
from serving.risk.names import VENUE_FILTERS
from serving.risk.rules import apply_rules, count_changes
from serving.signals import Signals
from serving.state import EQUITY, LARGEST, SIGNAL, State
from serving.tape import (
    LIMIT,
    MARKET,
    STAGE_ASKED,
    STAGE_BARS,
    STAGE_SCORED,
    Tape,
    record_cut,
    record_order,
)


@compiled
def choose_targets(bar: int, desk: Desk) -> None:
    """Take the weights asked for, before any rule.

    A symbol without a bar or a score, or one whose exit goes on, is frozen at what it has. A wish of
    the other sign than the position closes it first; the flip opens a bar later.
    """
    state = desk.state
    equity = state.money[EQUITY]
    desk.scale[0] = 1.0
    for s in range(desk.targets.shape[0]):
        current = 0.0
        if state.quantity[s] != 0:
            current = state.quantity[s] * state.last_close[s] / equity
        desired = desk.signals.desired[bar, s]
        present = desk.market.close[bar, s] > 0.0
        unscored = not present or desired != desired  # noqa: PLR0124, NaN is unlike itself
        frozen = unscored or state.exiting[s] != 0
        desk.current[s] = current
        desk.ceiling[s] = np.inf
        desk.cause[s] = SIGNAL
        desk.frozen[s] = frozen
        desk.targets[s] = current if frozen else desired
        if not frozen and desired * current < 0.0:
            desk.targets[s] = 0.0
        if desk.tape.recording and present:
            desk.tape.stages[STAGE_BARS] += 1
            desk.tape.stages[STAGE_SCORED] += not unscored
    count_changes(STAGE_ASKED, desk)


@compiled
def quantity_for(s: int, target: float, close: float, desk: Desk) -> int:
    """Return the signed quantity of a weight at a close, in whole lots towards zero."""
    size = int(min(abs(target) * desk.state.money[EQUITY] / close, LARGEST))
    size -= int(size % desk.market.lot[s])
    return size if target > 0.0 else -size


@compiled
def entry_price(
    s: int, kind: int, buying: bool, close: float, distance: float, desk: Desk
) -> float:
    """Return the price of a limit or stop entry: `entry_offset_r` stop distances from the close.

    A limit buy and a stop sale wait below the close, a limit sale and a stop buy above it, on the
    tick beyond. None waits below a hundredth of the close.
    """
    below = (kind == LIMIT) == buying
    offset = desk.limits.entry_offset_r * distance
    price = max(close - offset, 0.01 * close) if below else close + offset
    return round_to_tick(price, desk.market.tick[s], not below)


@compiled
def place_order(bar: int, s: int, desk: Desk) -> None:
    """Turn a change of weight into an order for the next bar, in lots, if the venue takes it.

    What grows waits at its entry price where the configuration says so and a stop distance is
    known; all else is a market order. Closing a whole position is exempt from the minimum notional.
    """
    state = desk.state
    target = desk.targets[s]
    close = desk.market.close[bar, s]
    goal = quantity_for(s, target, close, desk)
    change = goal - state.quantity[s]
    growing = abs(goal) > abs(state.quantity[s])
    distance = 0.0
    kind = MARKET
    price = 0.0
    if growing and desk.signals.stop_fraction[bar, s] > 0.0:
        distance = desk.signals.stop_fraction[bar, s] * close
        kind = desk.limits.entry_kind
        if kind != MARKET:
            price = entry_price(s, kind, change > 0, close, distance, desk)
    paid = close if kind == MARKET else price
    small = abs(change) * paid < desk.market.minimum_notional[s] and goal != 0
    if change == 0 or small:
        record_cut(desk.tape, bar, s, VENUE_FILTERS, target, desk.current[s])
        return
    state.pending[s] = change
    state.pending_kind[s] = kind
    state.pending_cause[s] = desk.cause[s]
    state.pending_price[s] = price
    state.pending_stop[s] = distance
    state.pending_edge[s] = desk.signals.edge[bar, s]
    record_order(desk.tape, bar, s, kind, change, close, price, distance, target, desk.cause[s])


@compiled
def place_orders(bar: int, desk: Desk) -> None:
    """Order what has to change; the exit of a position goes on by itself."""
    for s in range(desk.targets.shape[0]):
        target = desk.targets[s]
        if desk.tape.recording and not (desk.frozen[s] and target == desk.current[s]):
            desk.tape.targets[bar, s] = target
        if target != desk.current[s] and desk.state.exiting[s] == 0:
            place_order(bar, s, desk)


@compiled
def step(bar: int, desk: Desk) -> None:
    """Walk one book through one bar, changing its state in place and writing to its tape.

    A book whose equity is not positive makes no more orders. One that is traded as it is passes no
    rule but what a person said of it.
    """
    if open_bar(bar, desk) > 0:
        fill_orders(bar, desk)
    run_exits(bar, desk)
    pay_funding(bar, desk)
    mark(bar, desk)
    turn_calendar(bar, desk)
    if desk.state.money[EQUITY] <= 0:
        return
    choose_targets(bar, desk)
    if desk.limits.rules_apply:
        apply_rules(bar, desk)
    else:
        control(bar, desk)
    place_orders(bar, desk)


def _compile_run(fingerprint: int) -> Callable[[Desk], int]:
    @cached
    def run(desk: Desk) -> int:
        at = by_reference(desk)
        for bar in range(desk.market.close.shape[0]):
            step(bar, at)
        return fingerprint

    return run


_run = _compile_run(fingerprint_of(step, Desk, Market, Signals, Controls, State, Limits, Tape))


def run(
    market: Market,
    signals: Signals,
    state: State,
    limits: Limits,
    tape: Tape,
    controls: Controls | None = None,
) -> None:
    """Walk one book through every bar of `market`: a loop over `step` and nothing else.

    Parameters
    ----------
    market : Market
        Bars of n symbols.
    signals : Signals
        What is known at each of those closes.
    state : State
        The book before row 0; changed in place into the book after the last row.
    limits : Limits
    tape : Tape
        From `new_tape(bars, n, recording=...)`.
    controls : Controls, optional
        By default nobody touches the book.

    Raises
    ------
    ValueError
        If the arrays do not have one shape.
    OverflowError
        If the equity outgrows counts of 1e-8.
    """
    shape = market.close.shape
    for array in (*signals, *market[:6]):
        if array.shape != shape:
            raise ValueError(f"signals and bars differ in shape: {array.shape} and {shape}")
    if state.quantity.shape[0] != shape[1] or tape.curve.shape[0] != shape[0]:
        raise ValueError(
            f"a state of {state.quantity.shape[0]} symbols and a tape of {tape.curve.shape[0]} bars "
            f"do not fit bars of shape {shape}"
        )
    controls = controls or no_controls(shape[0])
    for length in {*map(len, controls), len(market.calendar)} - {shape[0]}:
        raise ValueError(f"calendar and controls of {length} bars do not fit {shape[0]} bars")
    _run(new_desk(market, signals, controls, state, limits, tape))
