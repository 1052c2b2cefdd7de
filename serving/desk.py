"""Everything the engine and the rules work on while one book walks through a span of bars."""

from typing import NamedTuple

import numpy as np

from serving.compiled import Counts, Flags, Floats
from serving.limits import Limits
from serving.market import Market
from serving.signals import Signals
from serving.state import State
from serving.tape import Tape


class Desk(NamedTuple):
    """One book at work.

    Attributes
    ----------
    market : Market
    signals : Signals
    state : State
    limits : Limits
    tape : Tape
    room : int64 (n,)
        What may still fill in this bar under the participation cap, counts of 1e-8 base.
    current : float64 (n,)
        Weight of each position at this close.
    targets : float64 (n,)
        Weight to be held after the next open; rules shrink it in place.
    ceiling : float64 (n,)
        Largest weight the rules on one symbol allow it, whatever is asked.
    frozen : bool (n,)
        Symbols whose target no later rule may touch: no bar, not scored, or decided.
    """

    market: Market
    signals: Signals
    state: State
    limits: Limits
    tape: Tape
    room: Counts
    current: Floats
    targets: Floats
    ceiling: Floats
    frozen: Flags


def new_desk(market: Market, signals: Signals, state: State, limits: Limits, tape: Tape) -> Desk:
    """Return a desk over these, with working arrays of its own."""
    n = state.quantity.shape[0]
    return Desk(
        market=market,
        signals=signals,
        state=state,
        limits=limits,
        tape=tape,
        room=np.zeros(n, np.int64),
        current=np.zeros(n),
        targets=np.zeros(n),
        ceiling=np.full(n, np.inf),
        frozen=np.zeros(n, np.bool_),
    )
