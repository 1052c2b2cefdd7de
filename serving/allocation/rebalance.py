"""When a portfolio is set up anew, over which symbols, and from which bars."""

from datetime import UTC, datetime

import numpy as np

from serving.allocation.methods import allocate
from serving.compiled import Flags, Floats
from serving.config import RiskConfig
from serving.market import Panel
from serving.signals import Signals

# A symbol's window is valid if this share of its returns is there.
MINIMUM_PRESENT = 0.95
# Symbols can share a portfolio if this share of bars has a return of every one of them.
MINIMUM_COMMON = 0.5

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def history_bars_of(risk: RiskConfig) -> int:
    """Return how many bars before a span `allocation_signals` reads the closes of."""
    return 0 if risk.allocation == "kelly" else risk.allocation_lookback_bars


def allocation_signals(
    signals: Signals,
    horizon_bars: Floats | int,
    panel: Panel,
    history: Floats | None,
    risk: RiskConfig,
) -> Signals:
    """Replace the bets of a model by the weights of a portfolio, set up anew at every rebalance.

    A rebalance is a bar whose `known_at` is a multiple of `allocation_every_bars` bars since the
    UNIX epoch: the same instants in a backtest, in paper trading and in a re-run. At all other bars
    nothing is said: positions are held, stops go on. What a rebalance asked for and the market did
    not fill in the next bar waits for the next rebalance.

    At a rebalance a symbol gets

    - 0 if its edge is not positive (allocations are long only, whatever `allow_shorts` says);
    - its weight in the portfolio if its edge is positive and its window valid: returns of at least
      95 % of the `allocation_lookback_bars` bars up to and including this one, which vary;
    - NaN, nothing said, if it was not scored or its window is not valid.

    A return needs the closes of two bars in succession. The portfolio is computed from the bars
    that have a return of every symbol in it; if those are less than half of the window, nothing is
    said of any of them. A single symbol gets what the method gives it: all, or by `mean_variance` and
    `black_litterman` a part; `max_asset_weight` cuts it like any weight.

    Parameters
    ----------
    signals : Signals
        Of `signals.model_signals`.
    horizon_bars : float64 (bars, n) or int
        As given to `model_signals`.
    panel : Panel
    history : float64 (k, n)
        Closes of the k bars before the panel's first, in its order of symbols, NaN where missing.
        What it does not reach back to is missing too; `history_bars_of` are enough.
    risk : RiskConfig
        With an `allocation` other than "kelly".

    Returns
    -------
    Signals
        With another `desired`.

    Raises
    ------
    ValueError
        If there is no history, or `allocate` found no portfolio: names method, instant and symbols.
    """
    if history is None:
        raise ValueError(
            f"allocation {risk.allocation} reads closes before the span; "
            f"build the inputs with history_bars={history_bars_of(risk)}"
        )
    lookback = risk.allocation_lookback_bars
    closes = _closes(history, panel.market.close, lookback)
    horizons = np.broadcast_to(np.asarray(horizon_bars, np.float64), signals.desired.shape)
    desired = np.full_like(signals.desired, np.nan)
    for row in _rebalances(panel, risk.allocation_every_bars):
        returns = _returns(closes[row : row + lookback + 1])
        desired[row] = _rebalanced(signals, horizons, returns, panel, row, risk)
    return signals._replace(desired=desired)


def _rebalances(panel: Panel, every: int) -> range:
    since_epoch = (panel.first - _EPOCH) // panel.timeframe
    return range(-since_epoch % every, panel.bars, every)


def _closes(history: Floats, close: Floats, lookback: int) -> Floats:
    before = np.full((lookback, close.shape[1]), np.nan)
    known = history[-lookback:]
    before[lookback - len(known) :] = known
    return np.concatenate([before, close])


def _returns(closes: Floats) -> Floats:
    # A copy of one layout: how sums are rounded must not depend on the span the window is cut from.
    window = np.array(closes, order="C")
    return window[1:] / window[:-1] - 1.0


def _rebalanced(
    signals: Signals, horizons: Floats, returns: Floats, panel: Panel, row: int, risk: RiskConfig
) -> Floats:
    scored = ~np.isnan(signals.desired[row])
    wanted = scored & (signals.edge[row] > 0)
    desired = np.where(scored & ~wanted, 0.0, np.nan)
    members = np.flatnonzero(wanted & _valid(returns))
    complete = np.ascontiguousarray(returns[:, members])
    complete = complete[~np.isnan(complete).any(axis=1)]
    if members.size == 0 or len(complete) < MINIMUM_COMMON * len(returns):
        return desired
    try:
        desired[members] = allocate(
            risk.allocation,
            complete,
            signals.edge[row, members],
            signals.variance[row, members],
            horizons[row, members],
            kelly_fraction=risk.kelly_fraction,
        )
    except ValueError as error:
        names = ", ".join(panel.symbols[i] for i in members)
        raise ValueError(
            f"allocation over {names} at {panel.known_at(row):%Y-%m-%dT%H:%MZ}: {error}; "
            "choose another allocation, or take one of them out of the universe"
        ) from error
    return desired


def _valid(returns: Floats) -> Flags:
    present = ~np.isnan(returns)
    enough = present.sum(axis=0) >= MINIMUM_PRESENT * len(returns)
    highest = np.max(returns, axis=0, where=present, initial=-np.inf)
    lowest = np.min(returns, axis=0, where=present, initial=np.inf)
    valid: Flags = enough & (highest > lowest)
    return valid
