"""The trading engine: one compiled function, for backtests and for paper books alike.

Order of events inside a bar: orders of the last close fill at the open (sales first) -> stops
against the low, gap-aware -> age -> funding -> mark at the close -> peak -> targets from the signals
known at this close -> risk rules -> orders for the next open. An order lives one bar. Where a bar is
missing nothing fills, the position stays marked at its last close and no order is made.

Arrays hold n symbols in sorted order. Money and quantities are counts of 1e-8 (see `state`).
"""

from collections.abc import Callable

import numpy as np

from serving.compiled import cached, compiled, fingerprint_of
from serving.costs import notional_of
from serving.controls import Controls, no_controls
from serving.desk import Desk, new_desk
from serving.fills import fill_orders, measure_room, run_stops
from serving.limits import Limits
from serving.market import Market
from serving.risk.control import control
from serving.risk.names import VENUE_FILTERS
from serving.risk.rules import apply_rules, count_changes
from serving.signals import Signals
from serving.state import CASH, EQUITY, FUNDING, LARGEST, PEAK, SIGNAL, State
from serving.tape import (
    CURVE_CASH,
    CURVE_EQUITY,
    CURVE_EXPOSURE,
    FUNDING_PAYMENT,
    MARKET,
    STAGE_ASKED,
    STAGE_BARS,
    STAGE_SCORED,
    Tape,
    record_cut,
    record_fill,
    record_order,
)


@compiled
def pay_funding(bar: int, desk: Desk) -> None:
    """Count the bar for every position, and pay or receive funding on its value at the close."""
    for s in range(desk.room.shape[0]):
        if desk.state.quantity[s] == 0:
            continue
        desk.state.age[s] += 1
        rate = desk.market.funding_rate[bar, s]
        close = desk.market.close[bar, s]
        if rate != 0.0 and close > 0.0:
            paid = notional_of(notional_of(desk.state.quantity[s], close), rate)
            desk.state.money[CASH] -= paid
            desk.state.money[FUNDING] += paid
            record_fill(
                desk.tape, bar, s, FUNDING_PAYMENT, 0, close, close, close, 0.0, 0.0, paid, 0, -paid,
                SIGNAL,
            )  # fmt: skip


@compiled
def mark(bar: int, desk: Desk) -> None:
    """Value the book at the newest closes and follow its peak."""
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
    if size > LARGEST:
        raise OverflowError("equity is beyond counts of 1e-8; state the capital in a larger unit")
    equity = state.money[CASH] + exposure
    state.money[EQUITY] = equity
    state.money[PEAK] = max(state.money[PEAK], equity)
    desk.tape.curve[bar, CURVE_EQUITY] = equity
    desk.tape.curve[bar, CURVE_CASH] = state.money[CASH]
    desk.tape.curve[bar, CURVE_EXPOSURE] = exposure


@compiled
def choose_targets(bar: int, desk: Desk) -> None:
    """Take the weights asked for; a symbol without a bar or a score is frozen at what it has."""
    equity = desk.state.money[EQUITY]
    desk.scale[0] = 1.0
    for s in range(desk.targets.shape[0]):
        current = 0.0
        if desk.state.quantity[s] != 0:
            current = desk.state.quantity[s] * desk.state.last_close[s] / equity
        desired = desk.signals.desired[bar, s]
        present = desk.market.close[bar, s] > 0.0
        unscored = not present or desired != desired  # noqa: PLR0124, NaN is unlike itself
        desk.current[s] = current
        desk.ceiling[s] = np.inf
        desk.frozen[s] = unscored
        desk.cause[s] = SIGNAL
        desk.targets[s] = current if unscored else desired
        if desk.tape.recording and present:
            desk.tape.stages[STAGE_BARS] += 1
            desk.tape.stages[STAGE_SCORED] += not unscored
    count_changes(STAGE_ASKED, desk)


@compiled
def place_orders(bar: int, desk: Desk) -> None:
    """Turn each change of weight into an order for the next open, in lots, if the venue takes it.

    Closing a whole position is exempt from the minimum notional.
    """
    equity = desk.state.money[EQUITY]
    for s in range(desk.targets.shape[0]):
        target = desk.targets[s]
        if desk.tape.recording and not (desk.frozen[s] and target == desk.current[s]):
            desk.tape.targets[bar, s] = target
        if target == desk.current[s]:
            continue
        close = desk.market.close[bar, s]
        goal = 0
        if target > 0.0:
            goal = int(min(target * equity / close, LARGEST))
            goal -= goal % desk.market.lot[s]
        change = goal - desk.state.quantity[s]
        small = abs(change) * close < desk.market.minimum_notional[s] and goal != 0
        if change == 0 or small:
            record_cut(desk.tape, bar, s, VENUE_FILTERS, target, desk.current[s])
            continue
        distance = 0.0
        if change > 0 and desk.signals.stop_fraction[bar, s] > 0.0:
            distance = desk.signals.stop_fraction[bar, s] * close
        desk.state.pending[s] = change
        desk.state.pending_stop[s] = distance
        record_order(desk.tape, bar, s, MARKET, change, close, 0.0, distance, target, desk.cause[s])


@compiled
def step(bar: int, desk: Desk) -> None:
    """Walk one book through one bar, changing its state in place and writing to its tape.

    A book whose equity is not positive makes no more orders.
    """
    measure_room(bar, desk)
    fill_orders(bar, desk)
    run_stops(bar, desk)
    pay_funding(bar, desk)
    mark(bar, desk)
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
        for bar in range(desk.market.close.shape[0]):
            step(bar, desk)
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
    for array in (market.calendar, *controls):
        if array.shape != shape[:1]:
            raise ValueError(f"calendar and controls of {array.shape[0]} bars, not {shape[0]}")
    _run(new_desk(market, signals, controls, state, limits, tape))
