"""What a fill costs: the price it gets and the fee it pays."""

import math

import numpy as np

from serving.compiled import compiled
from serving.limits import FIXED, SQRT, Limits
from serving.market import Market
from serving.state import FEE_TIER, SCALE, State

# Parkinson (1980): the standard deviation of a driftless walk is its range over 2 sqrt(ln 2).
_RANGE_TO_SIGMA = 1.0 / (2.0 * math.sqrt(math.log(2.0)))


@compiled
def maker_fee_rate(state: State, limits: Limits) -> float:
    """Return the fee of a resting order in the book's tier, fraction of notional."""
    return float(limits.tier_maker_fee_rate[state.conduct[FEE_TIER]])


@compiled
def taker_fee_rate(state: State, limits: Limits) -> float:
    """Return the fee of a market or stop order in the book's tier, fraction of notional."""
    return float(limits.tier_taker_fee_rate[state.conduct[FEE_TIER]])


@compiled
def slippage(bar: int, symbol: int, size: int, market: Market, limits: Limits) -> float:
    """Return how far beyond half the spread a taker of `size` is filled, as a fraction of price.

    With sigma the bar's own volatility after Parkinson, Q the size and V the bar's volume:
    `slippage_rate` (fixed), `Y sigma Q / V` (volume), or `Y sigma sqrt(Q / V)` (sqrt; Almgren et al.
    2005, Toth et al. 2011). Zero volume: no impact, and no fill either, since the participation cap
    is then zero.
    """
    if limits.slippage_model == FIXED:
        return limits.slippage_rate
    volume = float(market.volume[bar, symbol])
    if not volume > 0.0:
        return 0.0
    high = float(market.high[bar, symbol])
    low = float(market.low[bar, symbol])
    sigma = (high - low) / (0.5 * (high + low)) * _RANGE_TO_SIGMA
    share = size / SCALE / volume
    if limits.slippage_model == SQRT:
        share = math.sqrt(share)
    return limits.impact_coefficient * sigma * share


@compiled
def round_to_tick(price: float, tick: float, up: bool) -> float:
    """Return the multiple of `tick` at or beyond `price`, at least one tick; tick 0 changes nothing.

    The result is the double nearest to a decimal with eight places, as a venue would print it.
    """
    if tick <= 0.0:
        return price
    steps = math.ceil(price / tick - 1e-9) if up else math.floor(price / tick + 1e-9)
    return float(np.rint(max(steps, 1) * tick * SCALE) / SCALE)


@compiled
def fill_price(reference: float, rate: float, tick: float, buying: bool) -> float:
    """Return `reference` moved against the trader by `rate`, then on to the tick beyond.

    A sale never goes below a hundredth of the reference.
    """
    moved = reference * (1.0 + rate) if buying else reference * max(1.0 - rate, 0.01)
    return round_to_tick(moved, tick, buying)


@compiled
def notional_of(size: int, price: float) -> int:
    """Return size x price in counts of 1e-8 quote, rounded half to even."""
    return int(np.rint(size * price))


@compiled
def affordable(size: int, price: float, cash: int, fee_rate: float, lot: int) -> int:
    """Return the largest multiple of `lot` up to `size` whose notional and fee `cash` can pay."""
    notional = notional_of(size, price)
    if notional + notional_of(notional, fee_rate) <= cash:
        return size
    size = int(min(max(cash, 0) / (price * (1.0 + fee_rate)), float(size)))
    size -= size % lot
    while size > 0:
        notional = notional_of(size, price)
        if notional + notional_of(notional, fee_rate) <= cash:
            break
        size -= lot
    return max(size, 0)
