"""Everything the engine and the rules work on while one book walks through a span of bars."""

from typing import NamedTuple

import numpy as np

from serving.compiled import Counts, Flags, Floats, inlined
from serving.controls import Controls
from serving.limits import Limits
from serving.market import Market
from serving.signals import Signals
from serving.state import SIGNAL, State
from serving.tape import Tape, record_cut


class Desk(NamedTuple):
    """One book at work.

    Attributes
    ----------
    market : Market
    signals : Signals
    controls : Controls
    state : State
    limits : Limits
    tape : Tape
    room : int64 (n,)
        What may still fill in this bar under the participation cap, counts of 1e-8 base.
    rested : bool (n,)
        Symbols whose resting order (limit or stop entry) filled in this bar.
    current : float64 (n,)
        Weight of each position at this close; negative is short.
    targets : float64 (n,)
        Weight to be held after the next bar's orders; rules shrink it in place.
    ceiling : float64 (n,)
        Largest absolute weight the rules on one symbol allow it, whatever is asked.
    scale : float64 (1,)
        Share of the limits of the whole book that holds at this bar; rules multiply it.
    cause : int64 (n,)
        The last rule that shaped the target, `SIGNAL` if none did.
    frozen : bool (n,)
        Symbols whose target no later rule may touch: no bar, not scored, or decided.
    """

    market: Market
    signals: Signals
    controls: Controls
    state: State
    limits: Limits
    tape: Tape
    room: Counts
    rested: Flags
    current: Floats
    targets: Floats
    ceiling: Floats
    scale: Floats
    cause: Counts
    frozen: Flags


def new_desk(
    market: Market,
    signals: Signals,
    controls: Controls,
    state: State,
    limits: Limits,
    tape: Tape,
) -> Desk:
    """Return a desk over these, with working arrays of its own."""
    n = state.quantity.shape[0]
    return Desk(
        market=market,
        signals=signals,
        controls=controls,
        state=state,
        limits=limits,
        tape=tape,
        room=np.zeros(n, np.int64),
        rested=np.zeros(n, np.bool_),
        current=np.zeros(n),
        targets=np.zeros(n),
        ceiling=np.full(n, np.inf),
        scale=np.ones(1),
        cause=np.full(n, SIGNAL, np.int64),
        frozen=np.zeros(n, np.bool_),
    )


@inlined
def cut(bar: int, symbol: int, rule: int, allowed: float, desk: Desk) -> None:
    """Let `rule` bring a target down to `allowed`, write it down, and name the rule as its cause."""
    record_cut(desk.tape, bar, symbol, rule, desk.targets[symbol], allowed)
    desk.targets[symbol] = allowed
    desk.cause[symbol] = rule
