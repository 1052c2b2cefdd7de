"""What the engine writes down: orders, fills, risk cuts, trades, equity; in buffers made beforehand.

A tape that does not record costs nothing: sweeps use it and read the equity curve only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.compiled import Counts, Floats, compiled, inlined
from serving.risk.names import RULES

MARKET, LIMIT, STOP, STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, FUNDING_PAYMENT = range(7)
KINDS = ("market", "limit", "stop", "stop_loss", "take_profit", "trailing_stop", "funding")

# The shared columns of an event: the row of its bar, its symbol, its number in `KINDS`.
_EVENT = [("bar", np.int64), ("symbol", np.int64), ("kind", np.int64)]
ORDER = np.dtype(
    [
        *_EVENT,
        ("quantity", np.int64),
        ("reference", np.float64),
        ("price", np.float64),
        ("stop_distance", np.float64),
        ("weight", np.float64),
        ("cause", np.int64),
    ]
)
FILL = np.dtype(
    [
        *_EVENT,
        ("quantity", np.int64),
        ("arrival", np.float64),
        ("reference", np.float64),
        ("price", np.float64),
        ("spread_rate", np.float64),
        ("impact_rate", np.float64),
        ("notional", np.int64),
        ("fee", np.int64),
        ("realised", np.int64),
        ("cause", np.int64),
    ]
)
CUT = np.dtype(
    [
        ("bar", np.int64),
        ("symbol", np.int64),
        ("rule", np.int64),
        ("asked", np.float64),
        ("allowed", np.float64),
    ]
)
TRADE = np.dtype(
    [
        ("bar", np.int64),
        ("symbol", np.int64),
        ("side", np.int64),
        ("age", np.int64),
        ("quantity", np.int64),
        ("entry_price", np.float64),
        ("exit_price", np.float64),
        ("invested", np.int64),
        ("realised", np.int64),
        ("fees", np.int64),
        ("funding", np.int64),
        ("mae", np.float64),
        ("mfe", np.float64),
        ("risk", np.float64),
        ("edge", np.float64),
        ("kind", np.int64),
        ("cause", np.int64),
    ]
)

ORDERS, FILLS, CUTS, TRADES = range(4)
CURVE_EQUITY, CURVE_CASH, CURVE_EXPOSURE = range(3)
# Stages of the waterfall: had a bar, was scored, asked for a change, then one a rule.
STAGE_BARS, STAGE_SCORED, STAGE_ASKED, FIRST_RULE_STAGE = range(4)


class Tape(NamedTuple):
    """Buffers of one run over `bars` x `n`.

    Attributes
    ----------
    recording : bool
        Whether anything but `curve` is written.
    used : int64 (4,)
        Rows written to orders, fills, cuts and trades.
    orders : records of `ORDER`
        quantity is signed; reference is the close at which it was decided (a protective exit: its
        level); price its limit or stop price, 0 for market; cause the rule that shaped it, or
        `state.SIGNAL`. `bar` is the row of the bar in which it was decided or fired.
    fills : records of `FILL`
        arrival is the order's reference; reference the price before costs (the open, the level);
        spread_rate and impact_rate what a taker paid on it, fractions; notional, fee, realised are
        counts of 1e-8 quote. Of a funding payment notional is what was paid.
    cuts : records of `CUT`
        asked and allowed are weights.
    trades : records of `TRADE`
        One a round trip, written when the position is flat again: side +1 or -1; age [closes held];
        quantity entered in all; average prices; realised net of fees and funding; mae (at most 0)
        and mfe (at least 0) [fractions of the entry price]; risk [initial stop distance, fraction
        of the entry price; 0 is none]; edge [log return expected at the entry; NaN is none]; kind
        and cause of the last fill.
    targets : float64 (bars, n)
        Weight after all rules; NaN where the symbol was not scored or had no bar.
    stages : int64 (3 + rules,)
        Bar-symbols that still asked for a change after each stage of the decision.
    curve : int64 (bars, 3)
        Equity, cash and net value of positions at each close, counts of 1e-8 quote.
    """

    recording: bool
    used: Counts
    orders: NDArray[np.void]
    fills: NDArray[np.void]
    cuts: NDArray[np.void]
    trades: NDArray[np.void]
    targets: Floats
    stages: Counts
    curve: Counts


def new_tape(bars: int, symbols: int, *, recording: bool) -> Tape:
    """Return empty buffers, large enough for the worst run over `bars` x `symbols`."""
    cells = bars * symbols if recording else 0
    return Tape(
        recording=recording,
        used=np.zeros(4, np.int64),
        orders=np.empty(2 * cells, ORDER),
        fills=np.empty(3 * cells, FILL),
        cuts=np.empty(len(RULES) * cells, CUT),
        trades=np.empty(cells, TRADE),
        targets=np.full((bars, symbols) if recording else (0, 0), np.nan),
        stages=np.zeros(FIRST_RULE_STAGE + len(RULES), np.int64),
        curve=np.zeros((bars, 3), np.int64),
    )


@compiled
def record_order(
    tape: Tape,
    bar: int,
    symbol: int,
    kind: int,
    quantity: int,
    reference: float,
    price: float,
    stop_distance: float,
    weight: float,
    cause: int,
) -> None:
    """Write an order; parameters as the columns of `ORDER`."""
    if tape.recording:
        row = tape.orders[tape.used[ORDERS]]
        row.bar = bar
        row.symbol = symbol
        row.kind = kind
        row.quantity = quantity
        row.reference = reference
        row.price = price
        row.stop_distance = stop_distance
        row.weight = weight
        row.cause = cause
        tape.used[ORDERS] += 1


@compiled
def record_fill(
    tape: Tape,
    bar: int,
    symbol: int,
    kind: int,
    quantity: int,
    arrival: float,
    reference: float,
    price: float,
    spread_rate: float,
    impact_rate: float,
    notional: int,
    fee: int,
    realised: int,
    cause: int,
) -> None:
    """Write a fill, or a funding payment; parameters as the columns of `FILL`."""
    if tape.recording:
        row = tape.fills[tape.used[FILLS]]
        row.bar = bar
        row.symbol = symbol
        row.kind = kind
        row.quantity = quantity
        row.arrival = arrival
        row.reference = reference
        row.price = price
        row.spread_rate = spread_rate
        row.impact_rate = impact_rate
        row.notional = notional
        row.fee = fee
        row.realised = realised
        row.cause = cause
        tape.used[FILLS] += 1


@inlined
def record_cut(tape: Tape, bar: int, symbol: int, rule: int, asked: float, allowed: float) -> None:
    """Write that `rule` let only `allowed` of the `asked` weight pass."""
    if tape.recording:
        row = tape.cuts[tape.used[CUTS]]
        row.bar = bar
        row.symbol = symbol
        row.rule = rule
        row.asked = asked
        row.allowed = allowed
        tape.used[CUTS] += 1


@compiled
def record_trade(
    tape: Tape,
    bar: int,
    symbol: int,
    side: int,
    age: int,
    quantity: int,
    entry_price: float,
    exit_price: float,
    invested: int,
    realised: int,
    fees: int,
    funding: int,
    mae: float,
    mfe: float,
    risk: float,
    edge: float,
    kind: int,
    cause: int,
) -> None:
    """Write a round trip; parameters as the columns of `TRADE`."""
    if tape.recording:
        row = tape.trades[tape.used[TRADES]]
        row.bar = bar
        row.symbol = symbol
        row.side = side
        row.age = age
        row.quantity = quantity
        row.entry_price = entry_price
        row.exit_price = exit_price
        row.invested = invested
        row.realised = realised
        row.fees = fees
        row.funding = funding
        row.mae = mae
        row.mfe = mfe
        row.risk = risk
        row.edge = edge
        row.kind = kind
        row.cause = cause
        tape.used[TRADES] += 1
