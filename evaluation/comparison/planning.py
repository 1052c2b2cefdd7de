"""How long a comparison takes, and how small a difference it can see: from the first day on."""

import math

import numpy as np

from evaluation.comparison.wealth import SHARES, log_mixture
from serving.compiled import Floats

MOST_BLOCKS = 100_000
_LARGEST_RATIO = 10.0
_HALVINGS = 50


def expected_wealths(start: Floats, blocks: float, ratio: float, cap: float) -> Floats:
    """Return where the bettors' log wealth is expected to be some blocks from now.

    To second order a bettor of rate b = share / cap gains b ratio - b^2 / 2 a block.

    Parameters
    ----------
    start : array of float64, shape (len(SHARES),)
        Their log wealth now.
    blocks : float
    ratio : float
        Mean of a block over its standard deviation.
    cap : float
        In scales.
    """
    rates = np.asarray(SHARES) / cap
    wealths: Floats = start + blocks * (rates * ratio - rates**2 / 2.0)
    return wealths


def blocks_to_decision(start: Floats, ratio: float, level: float, cap: float) -> float | None:
    """Return the blocks from now until the expected e-value reaches 1 / level.

    That is about the mean of the time that normal differences take; half of all records need a tenth
    to a fifth less.

    Parameters
    ----------
    start, ratio, cap
        See `expected_wealths`.
    level : float
        In (0, 1).

    Returns
    -------
    float or None
        Whole; 0 if it has been reached; None if it takes more than `MOST_BLOCKS`.
    """
    wanted = -math.log(level)

    def reached(blocks: int) -> bool:
        return bool(log_mixture(expected_wealths(start, blocks, ratio, cap)) >= wanted)

    if reached(0):
        return 0.0
    high = 1
    while not reached(high):
        high *= 2
        if high > MOST_BLOCKS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(high)


def detectable_ratio(blocks: float, level: float, cap: float) -> float | None:
    """Return the least mean of a block, in standard deviations, whose expected e-value reaches 1 / level.

    Parameters
    ----------
    blocks : float
        On which bets are made, from the first one on.
    level, cap : float

    Returns
    -------
    float or None
        None where even ten standard deviations would not show in so few blocks.
    """
    wanted, start = -math.log(level), np.zeros(len(SHARES))

    def seen(ratio: float) -> bool:
        return bool(log_mixture(expected_wealths(start, blocks, ratio, cap)) >= wanted)

    if blocks <= 0 or not seen(_LARGEST_RATIO):
        return None
    low, high = 0.0, _LARGEST_RATIO
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high
