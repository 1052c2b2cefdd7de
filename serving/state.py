"""The state of one book between two bars, exact, and its form at rest.

Money and quantities are int64 counts of 1e-8, so that the ledger's decimals with eight places
reproduce the state without an error; prices are float64.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from serving.compiled import Counts, Floats

SCALE = 100_000_000
LARGEST = 4_000_000_000_000_000_000

CASH, EQUITY, PEAK, FEES, TRADED, FUNDING = range(6)
_MONEY = ("cash", "equity", "peak", "fees", "traded", "funding")


class State(NamedTuple):
    """One book; arrays over its symbols in sorted order, changed in place by the engine.

    Attributes
    ----------
    money : int64 (6,)
        Counts of 1e-8 quote: cash, equity at the last mark, its peak, fees paid, notional traded
        and funding paid since the book opened.
    quantity : int64 (n,)
        Counts of 1e-8 base held; signed, negative is short.
    cost : int64 (n,)
        What the held quantity cost, fees included; counts of 1e-8 quote.
    stop : float64 (n,)
        Stop price; 0 is none.
    age : int64 (n,)
        Bars the position has been held; 0 when flat.
    cooldown : int64 (n,)
        Bars during which the symbol may not be entered again after a stop.
    last_close : float64 (n,)
        Newest known close; NaN until a first bar was seen.
    pending : int64 (n,)
        Quantity of the order for the next open, signed; 0 is none.
    pending_stop : float64 (n,)
        Distance of its stop from the fill, in price; 0 is none.
    """

    money: Counts
    quantity: Counts
    cost: Counts
    stop: Floats
    age: Counts
    cooldown: Counts
    last_close: Floats
    pending: Counts
    pending_stop: Floats


def new_state(symbols: int, initial_cash: float | Decimal) -> State:
    """Return the state of a book that has just opened.

    Raises
    ------
    ValueError
        If the cash is not positive or too large for 1e-8 counts.
    """
    cash = to_counts(initial_cash)
    if not 0 < cash < LARGEST:
        raise ValueError(
            f"initial cash {initial_cash} is outside (0, {LARGEST // SCALE}); state it in a larger unit"
        )
    money = np.zeros(len(_MONEY), np.int64)
    money[[CASH, EQUITY, PEAK]] = cash
    return State(
        money=money,
        quantity=np.zeros(symbols, np.int64),
        cost=np.zeros(symbols, np.int64),
        stop=np.zeros(symbols),
        age=np.zeros(symbols, np.int64),
        cooldown=np.zeros(symbols, np.int64),
        last_close=np.full(symbols, np.nan),
        pending=np.zeros(symbols, np.int64),
        pending_stop=np.zeros(symbols),
    )


def to_counts(amount: float | Decimal) -> int:
    """Return `amount` as a whole number of 1e-8, rounded half to even."""
    return int((Decimal(str(amount)) * SCALE).to_integral_value())


def to_decimal(counts: int) -> Decimal:
    """Return a whole number of 1e-8 as an exact decimal with eight places."""
    return Decimal(int(counts)).scaleb(-8)


def state_to_json(state: State, symbols: Sequence[str]) -> dict[str, Any]:
    """Return the state as JSON types: decimals as text, floats by their shortest exact form."""
    positions = {}
    for i, symbol in enumerate(symbols):
        close = float(state.last_close[i])
        positions[symbol] = {
            "quantity": str(to_decimal(state.quantity[i])),
            "cost": str(to_decimal(state.cost[i])),
            "stop": float(state.stop[i]),
            "age": int(state.age[i]),
            "cooldown": int(state.cooldown[i]),
            "last_close": None if np.isnan(close) else close,
            "pending": str(to_decimal(state.pending[i])),
            "pending_stop": float(state.pending_stop[i]),
        }
    money = {name: str(to_decimal(state.money[i])) for i, name in enumerate(_MONEY)}
    return {"money": money, "positions": positions}


def state_from_json(stored: Mapping[str, Any], symbols: Sequence[str]) -> State:
    """Return the state `state_to_json` wrote; a symbol it did not know is flat and unseen."""
    state = new_state(len(symbols), 1.0)
    for i, name in enumerate(_MONEY):
        state.money[i] = to_counts(Decimal(stored["money"][name]))
    for i, symbol in enumerate(symbols):
        position = stored["positions"].get(symbol)
        if position is None:
            continue
        state.quantity[i] = to_counts(Decimal(position["quantity"]))
        state.cost[i] = to_counts(Decimal(position["cost"]))
        state.stop[i] = position["stop"]
        state.age[i] = position["age"]
        state.cooldown[i] = position["cooldown"]
        close = position["last_close"]
        state.last_close[i] = np.nan if close is None else close
        state.pending[i] = to_counts(Decimal(position["pending"]))
        state.pending_stop[i] = position["pending_stop"]
    return state
