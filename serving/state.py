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
# The cause of an order that no risk rule shaped.
SIGNAL = -1

CASH, EQUITY, PEAK, FEES, TRADED, FUNDING, DAY, WEEK, MONTH = range(9)
_MONEY = ("cash", "equity", "peak", "fees", "traded", "funding", "day", "week", "month")
HALTED, RAMP_STEPS, FEE_TIER = range(3)
_CONDUCT = ("halted", "ramp_steps", "fee_tier")
TRACK_BARS, TRACK_SUM, TRACK_SQUARES = range(3)
# Today's running sum, then the last 30 complete days.
_VOLUME_DAYS = 31

# What a position is made of: exact amounts, whole numbers, prices; with the value of a symbol that
# is flat and was never asked for. The first group is always written down.
_ALWAYS = ("quantity", "cost", "stop", "pending", "last_close")
_AMOUNTS = (
    "quantity", "cost", "pending", "entered", "invested", "returned", "trade_fees", "trade_funding",
)  # fmt: skip
_NUMBERS = {"age": 0, "cooldown": 0, "pending_kind": 0, "pending_cause": SIGNAL, "exiting": 0}
_PRICES = {
    "stop": 0.0,
    "target": 0.0,
    "trail": 0.0,
    "last_close": np.nan,
    "pending_price": 0.0,
    "pending_stop": 0.0,
    "pending_edge": np.nan,
    "highest": 0.0,
    "lowest": 0.0,
    "risk": 0.0,
    "edge": np.nan,
}


class State(NamedTuple):
    """One book; arrays over its symbols in sorted order, changed in place by the engine.

    Attributes
    ----------
    money : int64 (9,)
        Counts of 1e-8 quote: cash, equity at the last mark, its peak, fees paid, notional traded
        and funding paid since the book opened; equity at the start of the UTC day, week and month.
    conduct : int64 (3,)
        Whether the book is halted (0 or 1), steps of its capital ramp, index of its fee tier.
    track : float64 (3,)
        Number, sum and sum of squares of the returns of its bars since the last step of the ramp.
    volume_days : int64 (31,)
        Notional traded today, then in each of the last 30 complete UTC days, newest first.
    quantity : int64 (n,)
        Counts of 1e-8 base held; signed, negative is short.
    cost : int64 (n,)
        What the held quantity cost, fees included, counts of 1e-8 quote; of a short what it brought
        net of fees, negative. quantity x price - cost is the gain not yet realised.
    stop, target, trail : float64 (n,)
        Levels of the stop loss, the take profit and the trailing stop; 0 is none.
    age : int64 (n,)
        Closes the position has been held; 0 when flat.
    cooldown : int64 (n,)
        Bars during which the symbol may not be entered again after a stop.
    last_close : float64 (n,)
        Newest known close; NaN until a first bar was seen.
    pending : int64 (n,)
        Quantity of the order for the next bar, signed; 0 is none.
    pending_kind, pending_cause : int64 (n,)
        Its kind (`tape.KINDS`) and the rule that shaped it.
    pending_price, pending_stop, pending_edge : float64 (n,)
        Its limit or stop price (0 is market), the distance of its stop loss from the fill in price
        (0 is none), and the log return expected of it (NaN is none).
    exiting : int64 (n,)
        Kind of the protective exit whose rest goes on at the next open; 0 is none.
    highest, lowest : float64 (n,)
        Extremes since the entry; 0 when flat.
    risk : float64 (n,)
        R: distance of the position's first stop, in price; 0 is none.
    edge : float64 (n,)
        Log return expected when it was entered; NaN is none.
    entered : int64 (n,)
        Quantity entered in all, counts, unsigned.
    invested, returned : int64 (n,)
        Notional of all its entries and of all its exits so far, counts of 1e-8 quote.
    trade_fees, trade_funding : int64 (n,)
        Fees and funding it paid, counts of 1e-8 quote.
    """

    money: Counts
    conduct: Counts
    track: Floats
    volume_days: Counts
    quantity: Counts
    cost: Counts
    stop: Floats
    target: Floats
    trail: Floats
    age: Counts
    cooldown: Counts
    last_close: Floats
    pending: Counts
    pending_kind: Counts
    pending_cause: Counts
    pending_price: Floats
    pending_stop: Floats
    pending_edge: Floats
    exiting: Counts
    highest: Floats
    lowest: Floats
    risk: Floats
    edge: Floats
    entered: Counts
    invested: Counts
    returned: Counts
    trade_fees: Counts
    trade_funding: Counts


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
    money[[CASH, EQUITY, PEAK, DAY, WEEK, MONTH]] = cash
    flat: dict[str, Any] = {name: np.zeros(symbols, np.int64) for name in _AMOUNTS}
    flat |= {name: np.full(symbols, value, np.int64) for name, value in _NUMBERS.items()}
    flat |= {name: np.full(symbols, value) for name, value in _PRICES.items()}
    return State(
        money=money,
        conduct=np.zeros(len(_CONDUCT), np.int64),
        track=np.zeros(3),
        volume_days=np.zeros(_VOLUME_DAYS, np.int64),
        **flat,
    )


def to_counts(amount: float | Decimal) -> int:
    """Return `amount` as a whole number of 1e-8, rounded half to even."""
    return int((Decimal(str(amount)) * SCALE).to_integral_value())


def to_decimal(counts: int) -> Decimal:
    """Return a whole number of 1e-8 as an exact decimal with eight places."""
    return Decimal(int(counts)).scaleb(-8)


def state_to_json(state: State, symbols: Sequence[str]) -> dict[str, Any]:
    """Return the state as JSON types: decimals as text, floats by their shortest exact form.

    Of a symbol quantity, cost, stop, pending and last close are always there; what else has the
    value of a flat symbol is left out, and so are trailing days without trading.
    """
    money = {name: str(to_decimal(state.money[i])) for i, name in enumerate(_MONEY)}
    traded = np.flatnonzero(state.volume_days)
    days = state.volume_days[: traded[-1] + 1] if traded.size else ()
    return {
        "money": money,
        "conduct": {name: int(state.conduct[i]) for i, name in enumerate(_CONDUCT)},
        "track": state.track.tolist(),
        "volume_days": [str(to_decimal(day)) for day in days],
        "positions": {symbol: _position(state, i) for i, symbol in enumerate(symbols)},
    }


def state_from_json(stored: Mapping[str, Any], symbols: Sequence[str]) -> State:
    """Return the state `state_to_json` wrote; a symbol it did not know is flat and unseen.

    A state written before a field existed gets the value of a new book; its day, week and month
    start at its equity, and a position it held was entered at its cost.
    """
    state = new_state(len(symbols), 1.0)
    for i, name in enumerate(_MONEY):
        state.money[i] = to_counts(Decimal(stored["money"].get(name, stored["money"]["equity"])))
    for i, name in enumerate(_CONDUCT):
        state.conduct[i] = stored.get("conduct", {}).get(name, 0)
    state.track[:] = stored.get("track", 0.0)
    for i, day in enumerate(stored.get("volume_days", ())):
        state.volume_days[i] = to_counts(Decimal(day))
    for i, symbol in enumerate(symbols):
        for name, value in stored["positions"].get(symbol, {}).items():
            if value is not None:
                exact = to_counts(Decimal(value)) if name in _AMOUNTS else value
                getattr(state, name)[i] = exact
        if state.quantity[i] != 0 and state.entered[i] == 0:
            _enter_at_cost(state, i)
    return state


def _enter_at_cost(state: State, i: int) -> None:
    """Say of a position older than its own record that it was entered at once, at its cost."""
    state.entered[i] = abs(state.quantity[i])
    state.invested[i] = abs(state.cost[i])
    state.highest[i] = state.lowest[i] = state.cost[i] / state.quantity[i]


def _position(state: State, i: int) -> dict[str, Any]:
    found: dict[str, Any] = {name: str(to_decimal(getattr(state, name)[i])) for name in _AMOUNTS}
    found |= {name: int(getattr(state, name)[i]) for name in _NUMBERS}
    found |= {name: _number(float(getattr(state, name)[i])) for name in _PRICES}
    return {name: found[name] for name in found if name in _ALWAYS or found[name] != _FLAT[name]}


def _number(price: float) -> float | None:
    return None if np.isnan(price) else price


_FLAT: dict[str, Any] = {
    **dict.fromkeys(_AMOUNTS, str(to_decimal(0))),
    **_NUMBERS,
    **{name: _number(value) for name, value in _PRICES.items()},
}
