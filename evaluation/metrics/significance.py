"""How far a Sharpe ratio can be trusted: its error, and what is left after the search for it.

All four treat the bars as independent; overlapping positions make returns of neighbours alike, so
read the numbers as an upper bound on what the record proves.
"""

import math
from statistics import NormalDist

from evaluation.metrics.ratios import sharpe
from evaluation.metrics.returns import ratio
from evaluation.metrics.tails import kurtosis, skew
from serving.compiled import Floats

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


def sharpe_error(returns: Floats, bars_per_year: float) -> float:
    """Return the standard error of the annual Sharpe ratio.

    With s the Sharpe ratio of one bar, g3 the skewness and g4 the kurtosis (3 for a normal):
    sqrt((1 - g3 s + (g4 - 1) / 4 s^2) / (T - 1)) sqrt(bars_per_year). NaN where the ratio is.

    References
    ----------
    Lo (2002), The statistics of Sharpe ratios (normal case: g3 = 0, g4 = 3); Mertens (2002),
    Comments on variance of the IID estimator in Lo (2002); T - 1 as in Bailey and Lopez de Prado (2012).
    """
    bar = sharpe(returns, 1.0)
    if math.isnan(bar):
        return math.nan
    shape = 1.0 - skew(returns) * bar + (kurtosis(returns) + 2.0) / 4.0 * bar**2
    return math.sqrt(max(shape, 0.0) / (returns.size - 1) * bars_per_year)


def probabilistic_sharpe(
    returns: Floats, bars_per_year: float, benchmark_sharpe: float = 0.0
) -> float:
    """Return the probability that the true annual Sharpe ratio is above `benchmark_sharpe`.

    Phi((sharpe - benchmark_sharpe) / sharpe_error), both annual; NaN where the ratio or its error is
    undefined.

    References
    ----------
    Bailey and Lopez de Prado (2012), The Sharpe ratio efficient frontier, equation 11.
    """
    lead = sharpe(returns, bars_per_year) - benchmark_sharpe
    return _NORMAL.cdf(ratio(lead, sharpe_error(returns, bars_per_year)))


def expected_maximum_sharpe(trials: int, trial_variance: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    sqrt(V) ((1 - c) z(1 - 1/N) + c z(1 - 1/(N e))), c Euler's constant, z the normal quantile; 0 for
    one trial, where nothing was chosen.

    Parameters
    ----------
    trials : int
        All that were tried, the discarded ones too; correlated trials count for fewer.
    trial_variance : float
        Variance of the trials' Sharpe ratios, in the square of the unit wanted back.

    Raises
    ------
    ValueError
        If there is no trial or the variance is negative.

    References
    ----------
    Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, equation 6.
    """
    if trials < 1 or not trial_variance >= 0:
        raise ValueError(
            f"{trials} trials with variance {trial_variance} of their Sharpe ratios: at least one trial "
            "and a variance of zero or more are needed; count every trial, the discarded ones too"
        )
    if trials == 1:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(trial_variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpe(
    returns: Floats, bars_per_year: float, *, trials: int, trial_variance: float
) -> float:
    """Return the probability that the true Sharpe ratio is above what searching alone would show.

    `probabilistic_sharpe` against `expected_maximum_sharpe`; the evidence is good above 0.95.

    Parameters
    ----------
    returns : float64 (T,)
        Of the strategy that was chosen.
    bars_per_year : float
    trials : int
        See `expected_maximum_sharpe`.
    trial_variance : float
        Variance of the trials' annual Sharpe ratios.

    References
    ----------
    Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, equation 9.
    """
    bar = expected_maximum_sharpe(trials, trial_variance)
    return probabilistic_sharpe(returns, bars_per_year, bar)
