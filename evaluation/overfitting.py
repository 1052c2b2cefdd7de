"""What is left of a result once the search that found it is charged for.

Two questions. How high a Sharpe ratio would the best of so many worthless trials have shown
(`deflate`, `independent_trials`)? And how often does what was best on one half of the record fall
below the middle on the other (`cross_validated_overfitting`)?

References
----------
Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio Management 40(5).
Bailey, Borwein, Lopez de Prado and Zhu (2015), The probability of backtest overfitting, Journal of
Computational Finance. Lopez de Prado and Lewis (2019), Detection of false investment strategies using
unsupervised learning methods, Quantitative Finance 19(9).
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluation.metrics.returns import ratio
from evaluation.metrics.significance import (
    expected_maximum_sharpe,
    independent_sharpe_variance,
    probabilistic_sharpe,
)
from serving.compiled import Floats

ALIKE = 0.5
_AT_ONCE = 1_024
_NORMAL = NormalDist()


@dataclass(frozen=True)
class DeflatedSharpe:
    """A Sharpe ratio against what the search for it would have shown without any skill.

    Attributes
    ----------
    sharpe, expected_maximum : float
        In the same unit (of a bar, or annual).
    trials : int
        Independent trials that were charged.
    trial_variance : float
        Variance of their Sharpe ratios, in that unit squared.
    probability : float
        That the true ratio is above `expected_maximum`; good evidence is above 0.95.
    """

    sharpe: float
    expected_maximum: float
    trials: int
    trial_variance: float
    probability: float

    def as_json(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return asdict(self)


def deflate(
    sharpe: float,
    *,
    skewness: float,
    kurtosis: float,
    observations: int,
    trials: int,
    trial_variance: float,
) -> DeflatedSharpe:
    """Deflate a Sharpe ratio of which only the moments are known, bars taken as independent.

    Where the returns are at hand `deflate_record` knows their autocorrelation too.

    Parameters
    ----------
    sharpe : float
        Of one bar, *not* annual.
    skewness, kurtosis : float
        Of the bar returns; kurtosis is *excess* (0 for a normal).
    observations : int
        Bars of the record, two or more.
    trials : int
        All that were tried over the life of the experiment, or `IndependentTrials.count`.
    trial_variance : float
        Variance of the trials' Sharpe ratios of one bar.

    Raises
    ------
    ValueError
        If there is no trial, fewer than two observations, or a negative variance.
    """
    if observations < 2:
        raise ValueError(f"{observations} observations; an error needs two or more")
    bar = expected_maximum_sharpe(trials, trial_variance)
    variance = independent_sharpe_variance(sharpe, skewness, kurtosis)
    error = math.sqrt(max(variance, 0.0) / (observations - 1))
    probability = _NORMAL.cdf(ratio(sharpe - bar, error))
    return DeflatedSharpe(sharpe, bar, trials, trial_variance, probability)


def deflate_record(
    returns: Floats, bars_per_year: float, sharpe: float, *, trials: int, trial_variance: float
) -> DeflatedSharpe:
    """Deflate the annual Sharpe ratio of a record, autocorrelation of its bars included.

    Parameters
    ----------
    returns : float64 (T,)
        Of the strategy that was chosen.
    bars_per_year, sharpe : float
        `sharpe` is annual, `evaluation.metrics.sharpe` of the same returns.
    trials, trial_variance
        As in `deflate`, of *annual* ratios.
    """
    bar = expected_maximum_sharpe(trials, trial_variance)
    probability = probabilistic_sharpe(returns, bars_per_year, bar)
    return DeflatedSharpe(sharpe, bar, trials, trial_variance, probability)


@dataclass(frozen=True)
class IndependentTrials:
    """Trials whose returns are alike, counted once.

    Attributes
    ----------
    count : int
        Groups.
    group : int64 (N,)
        Number of each trial's group, from 0.
    sharpe : float64 (count,)
        Sharpe ratio of one bar of each group's mean return, its trials weighted by inverse variance.
    variance : float
        Variance of `sharpe` (ddof 1), 0 for one group: `trial_variance` of `deflate`.
    """

    count: int
    group: npt.NDArray[np.int64] = field(repr=False)
    sharpe: Floats = field(repr=False)
    variance: float


def independent_trials(returns: Floats, *, alike: float = ALIKE) -> IndependentTrials:
    """Group trials by the correlation of their returns (average linkage on 1 - correlation).

    Two groups are merged while the mean correlation between them is above `alike`. Fifty variants of
    one idea are not fifty ideas; but charging for groups is the milder law, so report both numbers.

    Parameters
    ----------
    returns : float64 (T, N)
        One column a trial, on the same bars; finite. A column that does not vary is a group of its
        own with ratio 0.
    alike : float
        In (0, 1).

    Raises
    ------
    ValueError
        If there is no trial, fewer than two bars, or a return is not finite.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    _check(returns, "returns", fewest=1)
    trials = returns.shape[1]
    spread = returns.std(axis=0, ddof=1)
    moving = spread > 1e-14 * np.abs(returns).max(axis=0)
    group = np.zeros(trials, dtype=np.int64)
    if trials > 1:
        z = (returns - returns.mean(axis=0)) / np.where(moving, spread, np.inf)
        distance = np.clip(1.0 - z.T @ z / (returns.shape[0] - 1), 0.0, 2.0)
        np.fill_diagonal(distance, 0.0)
        tree = linkage(squareform(distance, checks=False), "average")
        group = fcluster(tree, 1.0 - alike, "distance").astype(np.int64) - 1
    count = int(group.max()) + 1
    weight = np.where(moving, 1.0 / np.where(moving, spread, 1.0) ** 2, 1.0)
    sharpe = np.array(
        [
            _sharpe_of_a_bar(np.average(returns[:, group == g], axis=1, weights=weight[group == g]))
            for g in range(count)
        ]
    )
    variance = float(np.var(sharpe, ddof=1)) if count > 1 else 0.0
    return IndependentTrials(count, group, sharpe, variance)


def _sharpe_of_a_bar(returns: Floats) -> float:
    spread = float(np.std(returns, ddof=1))
    flat = spread <= 1e-14 * float(np.max(np.abs(returns)))
    return 0.0 if flat else float(np.mean(returns)) / spread


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
    _check(gains, "gains", fewest=2)
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


def _check(values: Floats, name: str, *, fewest: int) -> None:
    if values.ndim != 2 or values.shape[1] < fewest or values.shape[0] < 2:
        raise ValueError(
            f"{name} have shape {values.shape}; wanted are two bars or more by {fewest} trials or more, "
            "all that were tried"
        )
    if not np.isfinite(values).all():
        trial = int(np.argmax(~np.isfinite(values).all(axis=0)))
        raise ValueError(
            f"{name} of trial {trial} hold values that are not finite; "
            "trials are compared on the bars that all of them have"
        )
