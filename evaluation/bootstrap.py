"""What else could have happened: the stationary block bootstrap of a track record's bar returns.

Blocks of consecutive bars are drawn with replacement and laid end to end, so that a path keeps what
follows what within a block (clusters of volatility, streaks) and forgets it beyond.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from evaluation.streams import GAMMA, next_place, stream
from serving.compiled import Counts, Floats, cached, compiled, fingerprint_of

FAN_STEPS = 200
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
DRAWDOWNS = (0.05, 0.10, 0.20, 0.30, 0.50)
_SHORTEST_RECORD = 8
_PATHS_AT_ONCE = 256


@dataclass(frozen=True)
class MonteCarlo:
    """Resampled track records; fractions, gains positive, drawdowns at most zero.

    Attributes
    ----------
    block_bars : float
        Mean length of a block.
    total_return, max_drawdown : float64 (paths,)
        Of each path.
    fan : polars.DataFrame
        step [bars], p05, p25, p50, p75, p95: quantiles over the paths of the equity, as a multiple
        of the capital; at most `FAN_STEPS` steps and step 0.
    summary : dict
        paths, bars, block_bars, seed; return_p05 ... return_p95, drawdown_p05 ... drawdown_p95
        (p05 is the deep end), mean_return, probability_of_loss, probability_of_drawdown_10 ...
        (of one deeper than 10 %).
    """

    block_bars: float
    total_return: Floats = field(repr=False)
    max_drawdown: Floats = field(repr=False)
    fan: pl.DataFrame = field(repr=False)
    summary: dict[str, float]


def monte_carlo(
    returns: Floats,
    *,
    paths: int = 10_000,
    seed: int = 0,
    block_bars: float | None = None,
    threads: int = 2,
) -> MonteCarlo:
    """Resample a track record by the stationary bootstrap.

    Every path has its own stream of random numbers, a function of `seed` and its number: the result
    does not depend on `threads`.

    Parameters
    ----------
    returns : float64 (T,)
        Simple return of each bar, at least -1; the paths have as many bars.
    paths, seed, threads : int
    block_bars : float, optional
        Mean length of a block, at least 1. By default the longer of `optimal_block` of the returns
        and of their absolute values: returns hardly know of each other, their sizes do, and
        drawdowns are made of them.

    Raises
    ------
    ValueError
        If there are fewer than eight returns, one is not finite or below -1, `paths` is not
        positive or `block_bars` is below 1.

    References
    ----------
    Politis and Romano (1994), The stationary bootstrap.
    """
    _check(returns, paths, block_bars)
    if block_bars is None:
        block_bars = max(optimal_block(returns), optimal_block(np.abs(returns)))
    bars = returns.size
    with np.errstate(divide="ignore"):
        growth = np.log1p(returns)
    steps = np.unique(np.linspace(0, bars, min(bars, FAN_STEPS) + 1).astype(np.int64))
    total, deepest = np.empty(paths), np.empty(paths)
    levels = np.empty((paths, steps.size))

    def resample(first: int) -> None:
        part = slice(first, min(first + _PATHS_AT_ONCE, paths))
        numbers = np.arange(part.start, part.stop)
        _resample(
            growth,
            seed,
            float(block_bars),
            numbers,
            steps,
            total[part],
            deepest[part],
            levels[part],
        )

    with ThreadPoolExecutor(max(1, threads)) as pool:
        list(pool.map(resample, range(0, paths, _PATHS_AT_ONCE)))
    total_return, max_drawdown = np.expm1(total), np.expm1(deepest)
    summary = {
        "paths": float(paths),
        "bars": float(bars),
        "block_bars": float(block_bars),
        "seed": float(seed),
        **_summary(total_return, max_drawdown),
    }
    return MonteCarlo(float(block_bars), total_return, max_drawdown, _fan(steps, levels), summary)


def optimal_block(values: Floats) -> float:
    """Return the mean block length that estimates the variance of the mean of `values` best.

    b = (2 G^2 / D)^(1/3) n^(1/3) with G = sum lambda(k/M) |k| R(k), D = 2 (sum lambda(k/M) R(k))^2,
    R the autocovariances, lambda the flat-top lag window and M twice the lag after which five
    autocorrelations in a row (more of a very long record) are insignificant. At least 1, at most
    min(3 sqrt(n), n / 3); 1 of values that do not vary.

    Parameters
    ----------
    values : float64 (n,)
        Finite.

    References
    ----------
    Politis and White (2004), Automatic block-length selection for the dependent bootstrap, with
    the correction of Patton, Politis and White (2009).
    """
    n = values.size
    deviations = values - values.mean()
    if n < _SHORTEST_RECORD or not np.any(np.abs(deviations) > 1e-15 * np.abs(values).max()):
        return 1.0
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + in_a_row, n - 1)
    covariance = np.array([deviations[k:] @ deviations[: n - k] / n for k in range(most + 1)])
    bound = 2.0 * math.sqrt(math.log10(n) / n)
    small = np.abs(covariance[1:] / covariance[0]) < bound
    runs = np.convolve(small, np.ones(in_a_row, np.int64), "valid") == in_a_row
    lags = min(2 * max(int(np.argmax(runs)), 1), most) if runs.any() else most
    k = np.arange(1, lags + 1)
    window = np.minimum(1.0, 2.0 * (1.0 - k / lags))
    slope = 2.0 * float(np.sum(window * k * covariance[1 : lags + 1]))
    spectrum = float(covariance[0] + 2.0 * np.sum(window * covariance[1 : lags + 1]))
    longest = math.ceil(min(3.0 * math.sqrt(n), n / 3.0))
    if spectrum == 0.0:
        return float(longest)
    return float(np.clip((n * slope**2 / spectrum**2) ** (1.0 / 3.0), 1.0, longest))


@compiled
def _walk_path(
    growth: Floats, state: np.uint64, ends: float, steps: Counts, levels: Floats
) -> tuple[float, float]:
    n = growth.shape[0]
    level, peak, deepest = 0.0, 0.0, 0.0
    levels[0] = 0.0
    place, mark = 0, 1
    for bar in range(1, n + 1):
        state += GAMMA
        place = next_place(state, place, bar == 1, ends, n)
        level += growth[place]
        peak = max(peak, level)
        deepest = min(deepest, level - peak)
        if bar == steps[mark]:
            levels[mark] = level
            mark += 1
    return level, deepest


@compiled
def _walk_paths(
    growth: Floats,
    seed: int,
    block_bars: float,
    numbers: Counts,
    steps: Counts,
    total: Floats,
    deepest: Floats,
    levels: Floats,
) -> None:
    for i in range(numbers.shape[0]):
        state = stream(seed, numbers[i])
        total[i], deepest[i] = _walk_path(growth, state, 1.0 / block_bars, steps, levels[i])


def _compile_resample(fingerprint: int) -> Callable[..., int]:
    @cached
    def resample(
        growth: Floats,
        seed: int,
        block_bars: float,
        numbers: Counts,
        steps: Counts,
        total: Floats,
        deepest: Floats,
        levels: Floats,
    ) -> int:
        _walk_paths(growth, seed, block_bars, numbers, steps, total, deepest, levels)
        return fingerprint

    return resample


_resample = _compile_resample(fingerprint_of(_walk_paths))


def _fan(steps: Counts, levels: Floats) -> pl.DataFrame:
    quantiles = np.exp(np.quantile(levels, QUANTILES, axis=0, method="inverted_cdf"))
    named = {f"p{round(100 * q):02d}": quantiles[i] for i, q in enumerate(QUANTILES)}
    return pl.DataFrame({"step": steps, **named})


def _summary(total_return: Floats, max_drawdown: Floats) -> dict[str, float]:
    told = {}
    for name, values in (("return", total_return), ("drawdown", max_drawdown)):
        for q, value in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True):
            told[f"{name}_p{round(100 * q):02d}"] = float(value)
    told["mean_return"] = float(total_return.mean())
    told["probability_of_loss"] = float(np.mean(total_return < 0.0))
    for depth in DRAWDOWNS:
        name = f"probability_of_drawdown_{round(100 * depth)}"
        told[name] = float(np.mean(max_drawdown < -depth))
    return told


def _check(returns: Floats, paths: int, block_bars: float | None) -> None:
    if returns.ndim != 1 or returns.size < _SHORTEST_RECORD:
        raise ValueError(
            f"a bootstrap needs {_SHORTEST_RECORD} bar returns or more, got {returns.shape}"
        )
    bad = ~(np.isfinite(returns) & (returns >= -1.0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"return {returns[row]} of bar {row} is not a number of at least -1; "
            "a record ends with its bankruptcy"
        )
    if paths < 1:
        raise ValueError(f"{paths} paths; ask for one or more")
    if block_bars is not None and not block_bars >= 1.0:
        raise ValueError(f"blocks of {block_bars} bars; their mean length is at least 1")
