"""How often what was best on one half of the record falls below the middle on the other.

References
----------
Bailey, Borwein, Lopez de Prado and Zhu (2015), The probability of backtest overfitting, Journal of
Computational Finance.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np

from evaluation.overfitting.deflation import check_trials
from serving.compiled import Floats

_AT_ONCE = 1_024


@dataclass(frozen=True)
class Overfitting:
    """Combinatorially symmetric cross-validation of a choice among trials.

    Attributes
    ----------
    probability : float
        PBO: share of splits in which the best of one half is at or below the median of the other
        half; 0.5 for trials of equal worth, near 0 where the choice holds.
    logits : float64 (splits,)
        log(w / (1 - w)) of the out-of-sample relative rank w of the in-sample best.
    in_sample, out_of_sample : float64 (splits,)
        Performance of the chosen trial in either half.
    slope, intercept, r_squared : float
        Degradation: least squares of `out_of_sample` on `in_sample`. A negative slope says that the
        better it looked, the worse it did. NaN where `in_sample` does not vary.
    probability_of_loss : float
        Share of splits in which the chosen trial loses (performance below zero) out of sample.
    splits, trials, blocks : int
    """

    probability: float
    logits: Floats = field(repr=False)
    in_sample: Floats = field(repr=False)
    out_of_sample: Floats = field(repr=False)
    slope: float
    intercept: float
    r_squared: float
    probability_of_loss: float
    splits: int
    trials: int
    blocks: int

    def as_json(self) -> dict[str, float]:
        """Return the numbers without the arrays."""
        arrays = ("logits", "in_sample", "out_of_sample")
        return {name: value for name, value in self.__dict__.items() if name not in arrays}


def cross_validated_overfitting(
    gains: Floats, *, blocks: int = 16, performance: Literal["sharpe", "mean"] = "sharpe"
) -> Overfitting:
    """Return the probability of backtest overfitting of choosing the best column of `gains`.

    The record is cut into `blocks` of equal length; every choice of half of them is a training half,
    the rest the test half, so that 16 blocks make 12,870 splits.

    Parameters
    ----------
    gains : float64 (T, N)
        What each trial earned on each bar, *larger is better* (bar returns; or minus the losses,
        with ``performance="mean"``), all trials that were tried and not only the good ones. The
        newest T modulo `blocks` rows are left out.
    blocks : int
        Even, at least 2.
    performance : {"sharpe", "mean"}
        What a half is judged by; a column that does not vary has a Sharpe ratio of 0.

    Raises
    ------
    ValueError
        If there are fewer than two trials or two rows a block, `blocks` is odd, or a value is not
        finite.

    References
    ----------
    Bailey, Borwein, Lopez de Prado and Zhu (2015), section 3; the degradation of section 5.
    """
    check_trials(gains, "gains", fewest=2)
    if blocks < 2 or blocks % 2 or gains.shape[0] < 2 * blocks:
        raise ValueError(
            f"{blocks} blocks of {gains.shape[0]} rows; the number must be even and every block needs "
            f"two rows or more: use at most {gains.shape[0] // 2} blocks"
        )
    trials = gains.shape[1]
    sums, squares, length = _block_sums(gains, blocks)
    found = [_chosen(half, sums, squares, length, performance) for half in _halves(blocks)]
    inside, outside, rank = (np.concatenate(part) for part in zip(*found, strict=True))
    share = rank / (trials + 1.0)
    logits = np.log(share / (1.0 - share))
    slope, intercept, r_squared = _line(inside, outside)
    return Overfitting(
        probability=float(np.mean(logits <= 0.0)),
        logits=logits,
        in_sample=inside,
        out_of_sample=outside,
        slope=slope,
        intercept=intercept,
        r_squared=r_squared,
        probability_of_loss=float(np.mean(outside < 0.0)),
        splits=logits.size,
        trials=trials,
        blocks=blocks,
    )


def _block_sums(gains: Floats, blocks: int) -> tuple[Floats, Floats, int]:
    length = gains.shape[0] // blocks
    cut = gains[: length * blocks].reshape(blocks, length, -1)
    return cut.sum(axis=1), (cut**2).sum(axis=1), length


def _halves(blocks: int) -> Iterator[Floats]:
    """Yield (splits, blocks) masks of the training half, some at a time."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        mask = np.zeros((len(part), blocks))
        np.put_along_axis(mask, part, 1.0, axis=1)
        yield mask


def _chosen(
    mask: Floats, sums: Floats, squares: Floats, length: int, performance: str
) -> tuple[Floats, Floats, Floats]:
    """Return performance of the in-sample best inside and outside, and its rank outside (ties shared)."""
    rows = length * mask.shape[1] // 2
    inside = _performance(mask @ sums, mask @ squares, rows, performance)
    outside = _performance((1 - mask) @ sums, (1 - mask) @ squares, rows, performance)
    best = inside.argmax(axis=1)[:, None]
    own = np.take_along_axis(outside, best, axis=1)
    below, equal = (outside < own).sum(axis=1), (outside == own).sum(axis=1)
    rank = below + (equal + 1.0) / 2.0
    return np.take_along_axis(inside, best, axis=1)[:, 0], own[:, 0], rank


def _performance(total: Floats, squares: Floats, rows: int, performance: str) -> Floats:
    mean = total / rows
    if performance == "mean":
        return mean
    variance = (squares - rows * mean**2) / (rows - 1)
    moving = variance > 1e-14 * squares / rows
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    spread = float(np.var(x))
    if not spread > 1e-24 * float(np.max(np.abs(x))) ** 2:
        return math.nan, math.nan, math.nan
    slope = float(np.mean((x - x.mean()) * (y - y.mean()))) / spread
    fit = float(np.var(y))
    r_squared = slope**2 * spread / fit if fit > 0 else math.nan
    return slope, float(y.mean() - slope * x.mean()), r_squared
