"""The verdict on a challenger: better, worse, undecided, or not comparable and why."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from evaluation.bootstrap import optimal_block
from evaluation.comparison.blocks import Grid, Record, block_means, differences
from evaluation.comparison.config import HORIZONS, ComparisonConfig
from evaluation.comparison.planning import blocks_to_decision, detectable_ratio
from evaluation.comparison.wealth import (
    SHARES,
    log_mixture,
    log_wealths,
    lower_bound,
    past_scales,
)
from evaluation.intervals import resampled_means
from serving.compiled import Floats

Verdict = Literal["better", "worse", "undecided", "not_comparable"]

_LARGEST_LOG = 700.0
_DAY = 86_400_000_000


class Terms(NamedTuple):
    """What is compared, and how surely.

    Attributes
    ----------
    grid : Grid
    until : int
        Instant of the look, microseconds since the epoch.
    level : float
        Two-sided, of this challenger alone; see `level_of_arrival`.
    per_year : float
        What a mean per value is multiplied by where it is reported: bars a year, or 1.
    effect : float
        Declared difference, in the reported unit.
    prior_deviation : float or None
        Standard deviation of a block that is expected before there is evidence, per value.
    """

    grid: Grid
    until: int
    level: float
    per_year: float
    effect: float
    prior_deviation: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A challenger against the champion; differences are challenger less champion, *positive is better*.

    Attributes
    ----------
    verdict, reason
        `better` once the e-value against "not better" has reached 2 / level, which is when `lower` is
        above zero; `worse` likewise. `not_comparable` says why, and has no evidence.
    values, blocks : int
        Instants that both have, and complete blocks of them.
    mean_difference, lower, upper : float or None
        Mean over the values, and confidence sequence at `level` of the mean of cut blocks: the reported
        unit. A side is None while nothing is refuted there.
    level : float
    e_better, e_worse : float or None
        Evidence against "not better" and against "not worse".
    p_bootstrap : float or None
        Two-sided, of one look at a time chosen beforehand: *not* for looking again.
    days_at_observed, days_at_declared : float or None
        Expected days from now until a verdict, if the difference is the observed or the declared one;
        None where it is not known, or farther away than can be planned for.
    minimum_detectable : tuple of float or None
        Smallest difference expected to be seen within each of `HORIZONS` days from the start.
    """

    verdict: Verdict
    reason: str
    values: int
    blocks: int
    level: float
    mean_difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    e_better: float | None = None
    e_worse: float | None = None
    p_bootstrap: float | None = None
    days_at_observed: float | None = None
    days_at_declared: float | None = None
    minimum_detectable: tuple[float | None, ...] = (None,) * len(HORIZONS)


def level_of_arrival(level: float, arrival: int) -> float:
    """Return the share of a level that the challenger arriving as number `arrival`, from 1, may use.

    level / (k (k + 1)): the shares of however many challengers sum to less than the level, so that the
    chance of any false verdict is at most the level, whoever arrives when and because of what
    (Bonferroni with weights fixed beforehand; e-values need no independence).
    """
    if arrival < 1:
        raise ValueError(f"arrival {arrival}; the first challenger is number 1")
    return level / (arrival * (arrival + 1))


def compare(
    champion: Record, challenger: Record, terms: Terms, config: ComparisonConfig
) -> Comparison:
    """Compare two records on the instants they share.

    The answer is a function of the records and the terms: looking again changes nothing, and
    looking later only adds blocks.

    Parameters
    ----------
    champion, challenger : Record
    terms : Terms
    config : ComparisonConfig
        Caps, fewest blocks, paths.

    Returns
    -------
    Comparison
        Records that cannot be compared are an answer, not an error.
    """
    try:
        known_at, values = differences(champion, challenger)
    except ValueError as error:
        return _refused(str(error), 0, np.empty(0), terms, config)
    blocks = block_means(known_at, values, terms.grid, terms.until)
    refusal = _refusal(champion, challenger, values.size, blocks.size, config)
    if refusal:
        return _refused(refusal, values.size, blocks, terms, config)
    return _judge(values, blocks, terms, config)


def deviation_of(record: Record, grid: Grid, until: int) -> float | None:
    """Return the standard deviation of a record's blocks, None of fewer than two or of none that vary.

    Two books that share half of their variance differ by as much as each of them varies: what is
    expected of a difference before there is one.
    """
    blocks = block_means(record.known_at, record.value, grid, until)
    return (float(blocks.std(ddof=1)) or None) if blocks.size > 1 else None


def _refusal(
    champion: Record, challenger: Record, values: int, blocks: int, config: ComparisonConfig
) -> str:
    for name, record in (("champion", champion), ("challenger", challenger)):
        if record.known_at.size == 0:
            return f"the {name} has no record since the comparison began"
        if record.trades == 0:
            return f"the {name}'s book has no trades"
    if values == 0:
        return "no overlap: there is no instant that both have"
    if blocks < config.minimum_blocks:
        return (
            f"too few bars: {values} in common make {blocks} complete blocks of the "
            f"{config.minimum_blocks} needed (comparison.minimum_blocks)"
        )
    return ""


def _refused(
    reason: str, values: int, blocks: Floats, terms: Terms, config: ComparisonConfig
) -> Comparison:
    deviation = _planned_deviation(blocks, terms, config)
    start = np.zeros(len(SHARES))
    return Comparison(
        "not_comparable",
        reason,
        values,
        blocks.size,
        terms.level,
        days_at_declared=_days(start, terms.effect, deviation, terms, config),
        minimum_detectable=_detectable(deviation, terms, config),
    )


def _judge(values: Floats, blocks: Floats, terms: Terms, config: ComparisonConfig) -> Comparison:
    scales = past_scales(blocks, config.scale_blocks)
    ups = log_wealths(blocks, scales, 0.0, config.cap)[-1]
    downs = log_wealths(-blocks, scales, 0.0, config.cap)[-1]
    better, worse = float(log_mixture(ups)), float(log_mixture(downs))
    bound = partial(
        lower_bound, level=terms.level / 2.0, cap=config.cap, scale_blocks=config.scale_blocks
    )
    lower, upper = bound(blocks), bound(-blocks)
    mean, deviation = float(values.mean()), _planned_deviation(blocks, terms, config)
    verdict, reason = _verdict(better, worse, terms.level)
    ahead = ups if mean >= 0.0 else downs
    decided = verdict != "undecided"
    return Comparison(
        verdict,
        reason,
        values.size,
        blocks.size,
        terms.level,
        mean_difference=mean * terms.per_year,
        lower=None if lower is None else lower * terms.per_year,
        upper=None if upper is None else -upper * terms.per_year,
        e_better=math.exp(min(better, _LARGEST_LOG)),
        e_worse=math.exp(min(worse, _LARGEST_LOG)),
        p_bootstrap=_p_value(values, terms, config),
        days_at_observed=0.0
        if decided
        else _days(ahead, abs(mean) * terms.per_year, deviation, terms, config),
        days_at_declared=0.0 if decided else _days(ahead, terms.effect, deviation, terms, config),
        minimum_detectable=_detectable(deviation, terms, config),
    )


def _verdict(better: float, worse: float, level: float) -> tuple[Verdict, str]:
    wanted = math.log(2.0 / level)
    told = (
        f"evidence for better {_short(better)}, for worse {_short(worse)}; "
        f"a verdict takes {_short(wanted)}"
    )
    if better >= wanted:
        return "better", told
    return ("worse" if worse >= wanted else "undecided"), told


def _short(logarithm: float) -> str:
    return f"{math.exp(min(logarithm, _LARGEST_LOG)):.3g}"


def _planned_deviation(blocks: Floats, terms: Terms, config: ComparisonConfig) -> float | None:
    """Return a block's standard deviation: the measured one, pooled with the prior's `minimum_blocks`."""
    prior, weight = terms.prior_deviation, float(config.minimum_blocks)
    measured = float(blocks.var(ddof=1)) if blocks.size > 1 else 0.0
    freedom = max(blocks.size - 1.0, 0.0)
    if prior is None:
        return math.sqrt(measured) or None
    return math.sqrt((freedom * measured + weight * prior**2) / (freedom + weight))


def _days(
    start: Floats, effect: float, deviation: float | None, terms: Terms, config: ComparisonConfig
) -> float | None:
    if deviation is None:
        return None
    ratio = effect / terms.per_year / deviation
    blocks = blocks_to_decision(start, ratio, terms.level / 2.0, config.cap)
    return None if blocks is None else blocks * terms.grid.block / _DAY


def _detectable(
    deviation: float | None, terms: Terms, config: ComparisonConfig
) -> tuple[float | None, ...]:
    found = []
    for days in HORIZONS:
        bets = days * _DAY // terms.grid.block - config.scale_blocks
        ratio = detectable_ratio(bets, terms.level / 2.0, config.cap)
        known = ratio is not None and deviation is not None
        found.append(ratio * deviation * terms.per_year if known else None)  # type: ignore[operator]
    return tuple(found)


def _p_value(values: Floats, terms: Terms, config: ComparisonConfig) -> float:
    """Return the share of bootstrap means, centred at no difference, as far out as the observed one."""
    mean, paths = float(values.mean()), config.bootstrap_paths
    block = max(optimal_block(values), 1.0 + terms.grid.after / terms.grid.bar)
    drawn = resampled_means((values - mean)[:, None], block_bars=block, paths=paths, seed=0)
    return float((1 + np.sum(np.abs(drawn[:, 0]) >= abs(mean))) / (paths + 1))
