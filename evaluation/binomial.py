"""What a count of hits in independent trials says about their rate, exactly."""

from scipy.stats import beta, binom


def upper_limit(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided Clopper-Pearson upper limit of a rate.

    Whatever the rate is, it is below the limit with probability at least `confidence`.

    Parameters
    ----------
    hits, trials : int
        0 <= hits <= trials.
    confidence : float
        In (0, 1).

    Returns
    -------
    float
        1 where every trial was a hit, and where there was none.

    Raises
    ------
    ValueError
        If the hits are not within 0 and the trials.

    References
    ----------
    Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the
    binomial.
    """
    _check(hits, trials)
    if hits == trials:
        return 1.0
    return float(beta.ppf(confidence, hits + 1, trials - hits))


def lower_limit(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided lower limit of a rate, 0 without a hit; otherwise as `upper_limit`."""
    _check(hits, trials)
    if hits == 0:
        return 0.0
    return float(beta.ppf(1.0 - confidence, hits, trials - hits + 1))


def tail_probability(hits: int, trials: int, rate: float) -> float:
    """Return the probability of `hits` or more in `trials` of a rate: the exact one-sided p-value.

    It is below 1 - confidence exactly where `lower_limit` at that confidence is above the rate.
    """
    _check(hits, trials)
    return float(binom.sf(hits - 1, trials, rate))


def _check(hits: int, trials: int) -> None:
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits in {trials} trials; hits lie within 0 and the trials")
