"""What the engine writes down: orders, fills, risk cuts, equity; in buffers made beforehand.

A tape that does not record costs nothing: sweeps use it and read the equity curve only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.compiled import Counts, Floats, compiled

MARKET, STOP, FUNDING_PAYMENT = range(3)
KINDS = ("market", "stop", "funding")

ORDER = np.dtype(
    [
        ("bar", np.int64),
        ("symbol", np.int64),
        ("kind", np.int64),
        ("quantity", np.int64),
        ("reference", np.float64),
        ("stop_distance", np.float64),
        ("weight", np.float64),
    ]
)
FILL = np.dtype(
    [
        ("bar", np.int64),
        ("symbol", np.int64),
        ("kind", np.int64),
        ("quantity", np.int64),
        ("reference", np.float64),
        ("price", np.float64),
        ("notional", np.int64),
        ("fee", np.int64),
        ("realised", np.int64),
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

ORDERS, FILLS, CUTS = range(3)
CURVE_EQUITY, CURVE_CASH, CURVE_EXPOSURE = range(3)
CUTS_PER_SYMBOL = 12
# Stages of the waterfall: had a bar, was scored, asked for a change, then one a rule.
STAGE_BARS, STAGE_SCORED, STAGE_ASKED, FIRST_RULE_STAGE = range(4)
STAGES = 16


class Tape(NamedTuple):
    """Buffers of one run over `bars` x `n`.

    Attributes
    ----------
    recording : bool
        Whether anything but `curve` is written.
    used : int64 (3,)
        Rows written to orders, fills and cuts.
    orders, fills, cuts : records
        See `ORDER`, `FILL`, `CUT`. `bar` is the row of the bar in which it happened.
    targets : float64 (bars, n)
        Weight after all rules; NaN where the symbol was not scored or had no bar.
    stages : int64 (16,)
        Bar-symbols that still asked for a change after each stage of the decision.
    curve : int64 (bars, 3)
        Equity, cash and value of positions at each close, counts of 1e-8 quote.
    """

    recording: bool
    used: Counts
    orders: NDArray[np.void]
    fills: NDArray[np.void]
    cuts: NDArray[np.void]
    targets: Floats
    stages: Counts
    curve: Counts


def new_tape(bars: int, symbols: int, *, recording: bool) -> Tape:
    """Return empty buffers, large enough for the worst run over `bars` x `symbols`."""
    cells = bars * symbols if recording else 0
    return Tape(
        recording=recording,
        used=np.zeros(3, np.int64),
        orders=np.empty(2 * cells, ORDER),
        fills=np.empty(3 * cells, FILL),
        cuts=np.empty(CUTS_PER_SYMBOL * cells, CUT),
        targets=np.full((bars, symbols) if recording else (0, 0), np.nan),
        stages=np.zeros(STAGES, np.int64),
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
    stop_distance: float,
    weight: float,
) -> None:
    """Write an order; `reference` is the price it was decided at."""
    if tape.recording:
        row = tape.orders[tape.used[ORDERS]]
        row.bar = bar
        row.symbol = symbol
        row.kind = kind
        row.quantity = quantity
        row.reference = reference
        row.stop_distance = stop_distance
        row.weight = weight
        tape.used[ORDERS] += 1


@compiled
def record_fill(
    tape: Tape,
    bar: int,
    symbol: int,
    kind: int,
    quantity: int,
    reference: float,
    price: float,
    notional: int,
    fee: int,
    realised: int,
) -> None:
    """Write a fill, or a funding payment (`notional` is then what was paid)."""
    if tape.recording:
        row = tape.fills[tape.used[FILLS]]
        row.bar = bar
        row.symbol = symbol
        row.kind = kind
        row.quantity = quantity
        row.reference = reference
        row.price = price
        row.notional = notional
        row.fee = fee
        row.realised = realised
        tape.used[FILLS] += 1


@compiled
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
