"""What a strategy added to holding the same symbols."""

import math

import numpy as np

from evaluation.metrics.returns import deviation, ratio
from serving.compiled import Floats


def alpha_beta(returns: Floats, benchmark: Floats, bars_per_year: float) -> tuple[float, float]:
    """Return annual alpha and beta of the regression r = alpha + beta b + error over the bars.

    beta = cov(r, b) / var(b), alpha = (mean(r) - beta mean(b)) bars_per_year, not compounded; both
    NaN where the benchmark does not vary.

    Parameters
    ----------
    returns, benchmark : float64 (T,)
        Of the same bars.

    References
    ----------
    Jensen (1968), The performance of mutual funds in the period 1945-1964.
    """
    _check_lengths(returns, benchmark)
    if returns.size < 2 or not deviation(benchmark) > 0:
        return math.nan, math.nan
    centred = benchmark - np.mean(benchmark)
    beta = float(np.dot(returns - np.mean(returns), centred) / np.dot(centred, centred))
    alpha = (float(np.mean(returns)) - beta * float(np.mean(benchmark))) * bars_per_year
    return alpha, beta


def information_ratio(returns: Floats, benchmark: Floats, bars_per_year: float) -> float:
    """Return mean(r - b) / std(r - b, ddof=1) sqrt(bars_per_year); NaN where the two move as one.

    References
    ----------
    Grinold and Kahn (1999), Active portfolio management.
    """
    _check_lengths(returns, benchmark)
    active = returns - benchmark
    return ratio(float(np.mean(active)) * math.sqrt(bars_per_year), deviation(active))


def compare(returns: Floats, benchmark: Floats, bars_per_year: float) -> dict[str, float]:
    """Return alpha, beta, correlation and information ratio to a benchmark by name.

    Parameters
    ----------
    returns, benchmark : float64 (T,)
        Of the same bars; the benchmark is buying and holding the same symbols.

    Raises
    ------
    ValueError
        If they are not of equal length.
    """
    alpha, beta = alpha_beta(returns, benchmark, bars_per_year)
    return {
        "alpha": alpha,
        "beta": beta,
        "correlation": ratio(beta * deviation(benchmark), deviation(returns)),
        "information_ratio": information_ratio(returns, benchmark, bars_per_year),
    }


def _check_lengths(returns: Floats, benchmark: Floats) -> None:
    if returns.size != benchmark.size:
        raise ValueError(
            f"{returns.size} returns against {benchmark.size} of the benchmark: both must be of the "
            "same bars; walk the benchmark over the same panel"
        )
