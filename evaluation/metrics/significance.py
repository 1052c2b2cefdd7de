"""How far a Sharpe ratio can be trusted: its error, and what is left after the search for it.

Bars are not independent (a position held for a day makes neighbours alike, volatility comes in
clusters), so the error is that of Lo (2002) for dependent returns; `lags=0` gives the one of
independent bars, for comparison with other packages.
"""

import math
from statistics import NormalDist

import numpy as np

from evaluation.metrics.long_run import long_run_variance
from evaluation.metrics.ratios import sharpe
from evaluation.metrics.returns import ratio
from serving.compiled import Floats

_EULER = 0.5772156649015329
_NORMAL = NormalDist()


def sharpe_influence(returns: Floats) -> Floats:
    """Return what every bar does to the Sharpe ratio of a bar, mean zero up to T / (T - 1).

    z - s (z^2 - 1) / 2 with z = (r - mean) / std and s the ratio of one bar; its long-run variance
    is T times the variance of the ratio.

    Parameters
    ----------
    returns : float64 (T,)
        Two or more, not all equal.

    References
    ----------
    Lo (2002), The statistics of Sharpe ratios, equation A1 (by the delta method).
    """
    spread = float(np.std(returns))
    z: Floats = (returns - np.mean(returns)) / spread
    return z - sharpe(returns, 1.0) / 2.0 * (z**2 - 1.0)


def sharpe_error(returns: Floats, bars_per_year: float, *, lags: int | None = None) -> float:
    """Return the standard error of the annual Sharpe ratio, autocorrelation of the bars included.

    sqrt(long_run_variance(sharpe_influence) / (T - 1)) sqrt(bars_per_year). With `lags=0` it is that
    of independent bars, sqrt((1 - g3 s + (g4 - 1) / 4 s^2) / (T - 1)) sqrt(bars_per_year) with s the
    ratio of one bar, g3 the skewness and g4 the kurtosis (3 for a normal). NaN where the ratio is.

    Parameters
    ----------
    returns : float64 (T,)
    bars_per_year : float
    lags : int, optional
        See `evaluation.metrics.long_run.long_run_variance`.

    References
    ----------
    Lo (2002), The statistics of Sharpe ratios (dependent returns: section "Non-IID returns"); Mertens
    (2002), Comments on variance of the IID estimator in Lo (2002); T - 1 as in Bailey and Lopez de
    Prado (2012).
    """
    if returns.size < 2 or math.isnan(sharpe(returns, 1.0)):
        return math.nan
    variance = long_run_variance(sharpe_influence(returns), lags)
    return math.sqrt(max(variance, 0.0) / (returns.size - 1) * bars_per_year)


def independent_sharpe_variance(sharpe_of_a_bar: float, skewness: float, kurtosis: float) -> float:
    """Return T - 1 times the variance of a Sharpe ratio of independent bars, from moments alone.

    1 - g3 s + (g4 - 1) / 4 s^2; for records of which only the moments are known.

    Parameters
    ----------
    sharpe_of_a_bar : float
        Not annual.
    skewness, kurtosis : float
        Of the returns; kurtosis is *excess* (0 for a normal), as `evaluation.metrics.kurtosis` gives it.

    References
    ----------
    Mertens (2002); Bailey and Lopez de Prado (2012), The Sharpe ratio efficient frontier, equation 8.
    """
    return 1.0 - skewness * sharpe_of_a_bar + (kurtosis + 2.0) / 4.0 * sharpe_of_a_bar**2


def probabilistic_sharpe(
    returns: Floats,
    bars_per_year: float,
    benchmark_sharpe: float = 0.0,
    *,
    lags: int | None = None,
) -> float:
    """Return the probability that the true annual Sharpe ratio is above `benchmark_sharpe`.

    Phi((sharpe - benchmark_sharpe) / sharpe_error), both annual; NaN where the ratio or its error is
    undefined.

    References
    ----------
    Bailey and Lopez de Prado (2012), The Sharpe ratio efficient frontier, equation 11.
    """
    lead = sharpe(returns, bars_per_year) - benchmark_sharpe
    return _NORMAL.cdf(ratio(lead, sharpe_error(returns, bars_per_year, lags=lags)))


def minimum_track_record(
    returns: Floats,
    bars_per_year: float,
    benchmark_sharpe: float = 0.0,
    *,
    confidence: float = 0.95,
    lags: int | None = None,
) -> float:
    """Return how many bars such a record must have for its Sharpe ratio to beat the benchmark.

    1 + (T - 1) (z sharpe_error / (sharpe - benchmark_sharpe))^2 with z the normal quantile of
    `confidence`: the length at which `probabilistic_sharpe` would reach it if nothing else changed.
    Infinite where the ratio is not above the benchmark, NaN where it is undefined.

    Parameters
    ----------
    returns : float64 (T,)
    bars_per_year, benchmark_sharpe : float
        Both annual.
    confidence : float
        In (0.5, 1).
    lags : int, optional
        See `evaluation.metrics.long_run.long_run_variance`: alike neighbours make the record needed longer.

    References
    ----------
    Bailey and Lopez de Prado (2012), The Sharpe ratio efficient frontier, equation 14.
    """
    lead = sharpe(returns, bars_per_year) - benchmark_sharpe
    variance = sharpe_error(returns, bars_per_year, lags=lags) ** 2 * (returns.size - 1)
    return track_record_needed(lead, variance, confidence=confidence)


def track_record_needed(lead: float, variance: float, *, confidence: float = 0.95) -> float:
    """Return the bars at which a lead is significant: 1 + variance (z / lead)^2, inf without a lead.

    Parameters
    ----------
    lead : float
        Sharpe ratio less that of the benchmark, in the unit (bar or year) of `variance`.
    variance : float
        T - 1 times the squared error, as of `independent_sharpe_variance`.
    confidence : float
        In (0.5, 1).
    """
    if not 0.5 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: a record proves something between 0.5 and 1")
    if math.isnan(lead) or math.isnan(variance):
        return math.nan
    if lead <= 0.0:
        return math.inf
    return 1.0 + variance * (_NORMAL.inv_cdf(confidence) / lead) ** 2


def expected_maximum_sharpe(trials: int, trial_variance: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless strategies is expected to show.

    sqrt(V) ((1 - c) z(1 - 1/N) + c z(1 - 1/(N e))), c Euler's constant, z the normal quantile; 0 for
    one trial, where nothing was chosen.

    Parameters
    ----------
    trials : int
        All that were tried, the discarded ones too; correlated trials count for fewer
        (`evaluation.overfitting.independent_trials`).
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
    returns: Floats,
    bars_per_year: float,
    *,
    trials: int,
    trial_variance: float,
    lags: int | None = None,
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
    lags : int, optional
        See `evaluation.metrics.long_run.long_run_variance`.

    References
    ----------
    Bailey and Lopez de Prado (2014), The deflated Sharpe ratio, equation 9.
    """
    bar = expected_maximum_sharpe(trials, trial_variance)
    return probabilistic_sharpe(returns, bars_per_year, bar, lags=lags)
