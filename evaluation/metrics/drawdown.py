"""How deep and how long a track record was under water."""

import math

import numpy as np

from evaluation.metrics.returns import annual_return, ratio, total_return
from serving.compiled import Floats


def drawdowns(equity: Floats) -> Floats:
    """Return e[t] / max(e[0..t]) - 1, at most zero, (T + 1,)."""
    result: Floats = equity / np.maximum.accumulate(equity) - 1.0
    return result


def max_drawdown(equity: Floats) -> float:
    """Return the deepest drawdown as a negative fraction; NaN for an empty curve."""
    return float(np.min(drawdowns(equity))) if equity.size else math.nan


def max_drawdown_bars(equity: Floats) -> int:
    """Return the longest stretch of bars spent below an earlier peak, over or not at the end."""
    below = np.flatnonzero(np.append(drawdowns(equity) >= 0.0, True))
    return int(np.max(np.diff(below, prepend=-1)) - 1)


def calmar(equity: Floats, bars_per_year: float) -> float:
    """Return the annual return over the depth of the deepest drawdown; NaN without a drawdown.

    References
    ----------
    Young (1991), Calmar ratio: a smoother tool; he takes the last 36 months, here it is the span.
    """
    return ratio(annual_return(equity, bars_per_year), -max_drawdown(equity))


def recovery_factor(equity: Floats) -> float:
    """Return the total return over the depth of the deepest drawdown; NaN without a drawdown."""
    return ratio(total_return(equity), -max_drawdown(equity))


def ulcer_index(equity: Floats) -> float:
    """Return sqrt(mean(d[t]^2)) over the closes t = 1..T, d the drawdown; positive, NaN without bars.

    References
    ----------
    Martin and McCann (1989), The investor's guide to Fidelity funds.
    """
    return math.sqrt(float(np.mean(drawdowns(equity)[1:] ** 2))) if equity.size > 1 else math.nan
