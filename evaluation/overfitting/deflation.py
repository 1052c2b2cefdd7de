"""How high a Sharpe ratio the best of so many worthless trials would have shown.

References
----------
Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, Journal of Portfolio Management 40(5).
Lopez de Prado and Lewis (2019), Detection of false investment strategies using unsupervised learning
methods, Quantitative Finance 19(9).
"""

import math
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.metrics.ratios import sharpe
from evaluation.metrics.returns import deviation, ratio
from evaluation.metrics.significance import (
    deflated_sharpe,
    expected_maximum_sharpe,
    independent_sharpe_variance,
)
from serving.compiled import Floats

ALIKE = 0.5
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
    sharpe_of_a_bar: float,
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
    sharpe_of_a_bar : float
        *Not* annual.
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
    variance = independent_sharpe_variance(sharpe_of_a_bar, skewness, kurtosis)
    error = math.sqrt(max(variance, 0.0) / (observations - 1))
    probability = _NORMAL.cdf(ratio(sharpe_of_a_bar - bar, error))
    return DeflatedSharpe(sharpe_of_a_bar, bar, trials, trial_variance, probability)


def deflate_record(
    returns: Floats, bars_per_year: float, *, trials: int, trial_variance: float
) -> DeflatedSharpe:
    """Deflate the annual Sharpe ratio of a record, autocorrelation of its bars included.

    Parameters
    ----------
    returns : float64 (T,)
        Of the strategy that was chosen.
    bars_per_year : float
    trials, trial_variance
        As in `deflate`, of *annual* ratios.
    """
    return DeflatedSharpe(
        sharpe(returns, bars_per_year),
        expected_maximum_sharpe(trials, trial_variance),
        trials,
        trial_variance,
        deflated_sharpe(returns, bars_per_year, trials=trials, trial_variance=trial_variance),
    )


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
    check_trials(returns, "returns", fewest=1)
    trials = returns.shape[1]
    spread = np.array([deviation(column) for column in returns.T])
    group = _groups(returns, spread, alike) if trials > 1 else np.zeros(1, dtype=np.int64)
    weight = 1.0 / np.where(spread > 0.0, spread, 1.0) ** 2
    means = [
        np.average(returns[:, group == number], axis=1, weights=weight[group == number])
        for number in range(int(group.max()) + 1)
    ]
    ratios = np.nan_to_num(np.array([sharpe(mean, 1.0) for mean in means]))
    variance = float(np.var(ratios, ddof=1)) if ratios.size > 1 else 0.0
    return IndependentTrials(ratios.size, group, ratios, variance)


def _groups(returns: Floats, spread: Floats, alike: float) -> npt.NDArray[np.int64]:
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    z = (returns - returns.mean(axis=0)) / np.where(spread > 0.0, spread, np.inf)
    distance = np.clip(1.0 - z.T @ z / (returns.shape[0] - 1), 0.0, 2.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    group: npt.NDArray[np.int64] = fcluster(tree, 1.0 - alike, "distance").astype(np.int64) - 1
    return group


def check_trials(values: Floats, name: str, *, fewest: int) -> None:
    """Raise ValueError unless `values` are finite, two bars or more by `fewest` trials or more."""
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
