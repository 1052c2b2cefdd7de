"""The game behind a comparison: bets on the next block of differences, whose wealth is the evidence.

Whoever bets a constant share of a bounded difference whose mean is not positive cannot expect to gain:
the wealth, started at 1, exceeds 1/a at any time with probability at most a (Ville). A mixture of many
shares is such a wealth too. So one may look whenever one likes, and stop because of what one saw.

Differences are not bounded. Each is divided by a scale that was known before it, the root mean square
of all earlier ones, and cut at `cap` of these scales: *the inference is about the mean of differences
so cut*, a challenger is not credited for, nor charged with, what a block gained or lost beyond that.

References
----------
Waudby-Smith and Ramdas (2023), Estimating means of bounded random variables by betting; Orabona and
Jun (2021), Tight concentrations and confidence sequences from the regret of universal portfolio; Choe
and Ramdas (2023), Comparing sequential forecasters, for means that change with time.
"""

import math

import numpy as np

from serving.compiled import Floats

SHARES: tuple[float, ...] = tuple(0.9 * 2.0 ** (-k / 2.0) for k in range(8))
"""Shares of the wealth at stake on a block that reaches the cap: 0.9 down to 0.08, by powers of sqrt 2.

Smaller ones would take a lifetime to win; every share more costs all the others a little.
"""

_HALVINGS = 60


def past_scales(blocks: Floats, scale_blocks: int) -> Floats:
    """Return the root mean square of all blocks before each one; NaN where no bet is made.

    Parameters
    ----------
    blocks : array of float64, shape (n,)
        Difference of each block, in order of time; finite.
    scale_blocks : int
        Blocks, at least 1, that only set the first scale. A block whose scale is zero is not bet on.

    Returns
    -------
    array of float64, shape (n,)
        In the unit of `blocks`.
    """
    scales = np.full(blocks.size, np.nan)
    first = min(scale_blocks, blocks.size)
    seen = np.arange(first, blocks.size)
    scales[first:] = np.sqrt(np.cumsum(blocks**2)[seen - 1] / seen)
    scales[scales == 0.0] = np.nan
    return scales


def log_wealths(
    blocks: Floats, scales: Floats, mean: float, cap: float, shares: tuple[float, ...] = SHARES
) -> Floats:
    """Return the logarithm of every bettor's wealth who bets that blocks exceed `mean`.

    The one of share f multiplies his wealth by 1 + f clip((block - mean) / scale, -cap, cap) / cap.

    Parameters
    ----------
    blocks, scales : arrays of float64, shape (n,)
        See `past_scales`; where the scale is NaN nothing is bet.
    mean : float
        The hypothesis: the cut differences from it have a mean of at most zero.
    cap : float
        In scales.
    shares : tuple of float
        In (0, 1).

    Returns
    -------
    array of float64, shape (n, len(shares))
        After each block.
    """
    moved = np.nan_to_num(np.clip((blocks - mean) / scales, -cap, cap)) / cap
    wealths: Floats = np.cumsum(np.log1p(np.outer(moved, shares)), axis=0)
    return wealths


def log_mixture(wealths: Floats) -> Floats:
    """Return the logarithm of the mean wealth over the last axis: the e-value, log."""
    largest = wealths.max(axis=-1)
    mixed: Floats = largest + np.log(np.exp(wealths - largest[..., None]).mean(axis=-1))
    return mixed


def log_e_values(blocks: Floats, *, mean: float = 0.0, cap: float, scale_blocks: int) -> Floats:
    """Return log e-values, after each block, against "blocks are not above `mean`".

    Parameters
    ----------
    blocks : array of float64, shape (n,)
        In order of time; finite.
    mean, cap, scale_blocks
        See `log_wealths` and `past_scales`.

    Returns
    -------
    array of float64, shape (n,)
        0 until a bet is made. A function of the blocks up to there, in their order.
    """
    scales = past_scales(blocks, scale_blocks)
    return log_mixture(log_wealths(blocks, scales, mean, cap))


def lower_bound(blocks: Floats, level: float, *, cap: float, scale_blocks: int) -> float | None:
    """Return the lower end of a one-sided confidence sequence for the mean of a block.

    Every mean below it is refuted: its e-value has reached 1 / level. With probability at least
    1 - level no bound of the whole sequence is ever above the truth.

    Parameters
    ----------
    blocks : array of float64, shape (n,)
    level : float
        In (0, 1).
    cap, scale_blocks
        As in `log_e_values`.

    Returns
    -------
    float or None
        In the unit of `blocks`; None while no mean, however low, is refuted.
    """
    scales = past_scales(blocks, scale_blocks)
    bet = ~np.isnan(scales)
    if not bet.any():
        return None
    blocks, scales = blocks[bet], scales[bet]
    wanted = -math.log(level)

    def refuted(mean: float) -> bool:
        return bool(log_mixture(log_wealths(blocks, scales, mean, cap)[-1]) >= wanted)

    low, high = float((blocks - cap * scales).min()), float((blocks + cap * scales).max())
    if not refuted(low):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
