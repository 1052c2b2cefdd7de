"""What was said of a book: pause, liquidate, resume, begin anew with a small share; hour by hour."""

from typing import NamedTuple

import numpy as np

from serving.compiled import Counts, Flags

RUN, PAUSE, LIQUIDATE = range(3)


class Controls(NamedTuple):
    """The mode of one book at each close.

    Attributes
    ----------
    mode : int64 (bars,)
        `RUN`: trade. `PAUSE`: positions may shrink, nothing grows. `LIQUIDATE`: close everything.
    resumed : bool (bars,)
        A person resumed the book at this bar: a halt is lifted and the peak starts anew from here.
    restaged : bool (bars,)
        Its model became champion at this bar: the capital ramp starts anew from here.
    """

    mode: Counts
    resumed: Flags
    restaged: Flags


def no_controls(bars: int) -> Controls:
    """Return the controls of a book nobody touched."""
    never = np.zeros(bars, np.bool_)
    return Controls(np.full(bars, RUN, np.int64), never, never)
