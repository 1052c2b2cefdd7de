"""How far a number of a record can be trusted: stationary-bootstrap intervals, fast.

Whatever is a function of means (a Sharpe ratio, an accuracy, a difference of losses, a slope) is
resampled as means: the compiled kernel draws blocks of consecutive instants and adds up columns, and
the statistic is taken of every path's means at once. Rows of a panel that share an instant are one
observation (`per_instant`): symbols move together, and counting them one by one would claim a
certainty that is not there.

Reference: Politis and Romano (1994), The stationary bootstrap; blocks by Politis and White (2004).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evaluation.bootstrap import optimal_block
from evaluation.metrics.significance import sharpe_influence
from evaluation.streams import GAMMA, next_place, stream
from serving.compiled import Floats, cached, compiled, fingerprint_of

Instants = npt.NDArray[np.int64]
Statistic = Callable[[Floats], Floats]

LEVEL = 0.9
PATHS = 2_000
_FEWEST = 8


@dataclass(frozen=True)
class Interval:
    """A statistic with what resampling says of it.

    Attributes
    ----------
    value : float
        Of the record itself.
    lower, upper : float
        Bounds that hold the truth with probability `level`, as far as the past repeats itself.
    level : float
        In (0, 1), shared equally by the two tails.
    block_bars : float
        Mean length of a block, in instants.
    paths : int
    """

    value: float
    lower: float
    upper: float
    level: float
    block_bars: float
    paths: int

    def as_json(self) -> dict[str, Any]:
        """Return the interval as plain JSON types."""
        return asdict(self)


def per_instant(known_at: Instants, *columns: npt.NDArray[Any]) -> Floats:
    """Return sums over the rows of every instant and, as the last column, how many rows there were.

    Parameters
    ----------
    known_at : array of int64, shape (n,)
        Instant of each row, in any order.
    *columns : arrays, shape (n,)
        What is summed; finite.

    Returns
    -------
    array of float64, shape (instants, len(columns) + 1)
        In order of time.

    Raises
    ------
    ValueError
        If a column has another length or a value that is not finite.
    """
    instants, place = np.unique(known_at, return_inverse=True)
    for number, column in enumerate(columns):
        if column.shape != known_at.shape or not np.isfinite(column).all():
            raise ValueError(
                f"column {number} has shape {column.shape} for {known_at.shape} instants and "
                f"{int((~np.isfinite(column)).sum())} values that are not finite; "
                "leave rows without an outcome out first"
            )
    sums = [np.bincount(place, weights=column, minlength=instants.size) for column in columns]
    return np.column_stack([*sums, np.bincount(place, minlength=instants.size)]).astype(np.float64)


def resampled_means(values: Floats, *, block_bars: float, paths: int, seed: int) -> Floats:
    """Return the column means of stationary-bootstrap paths of the rows.

    Parameters
    ----------
    values : array of float64, shape (T, k)
        One row an instant, in order of time.
    block_bars : float
        Mean length of a block, at least 1.
    paths, seed : int
        Path p of a seed is the same whatever `paths`.

    Returns
    -------
    array of float64, shape (paths, k)
    """
    means = np.empty((paths, values.shape[1]))
    _resample_means(np.ascontiguousarray(values), seed, 1.0 / max(block_bars, 1.0), means)
    return means


def bootstrap_interval(
    values: Floats,
    statistic: Statistic,
    *,
    driver: Floats,
    level: float = LEVEL,
    paths: int = PATHS,
    seed: int = 0,
    block_bars: float | None = None,
    shortest_block: float = 1.0,
    kind: Literal["percentile", "basic"] = "percentile",
) -> Interval:
    """Return the interval of a statistic that is a function of column means.

    Parameters
    ----------
    values : array of float64, shape (T, k)
        One row an instant, in order of time; finite.
    statistic : callable
        From means of shape (..., k) to values of shape (...).
    driver : array of float64, shape (T,)
        Series whose memory decides the length of the blocks: the statistic's influence function.
    level, paths, seed
        See `Interval` and `resampled_means`.
    block_bars : float, optional
        By default `optimal_block(driver)`.
    shortest_block : float
        Least default: the horizon, where labels of neighbouring rows overlap and a short record might
        not show it.
    kind : {"percentile", "basic"}
        Quantiles of the paths, or these mirrored at the value: for statistics that resampling
        pushes to one side (a calibration error grows with every noise).

    Raises
    ------
    ValueError
        If there are fewer than eight instants, a value is not finite or the level is not in (0, 1).
    """
    if values.shape[0] < _FEWEST or not np.isfinite(values).all() or not 0.0 < level < 1.0:
        raise ValueError(
            f"an interval needs {_FEWEST} instants or more, finite values and a level in (0, 1); got "
            f"{values.shape[0]} instants, {int((~np.isfinite(values)).sum())} values that are not "
            f"finite and level {level}"
        )
    block = max(optimal_block(driver), shortest_block) if block_bars is None else float(block_bars)
    drawn = statistic(resampled_means(values, block_bars=block, paths=paths, seed=seed))
    value = float(statistic(values.mean(axis=0)))
    tail = (1.0 - level) / 2.0
    low, high = (float(q) for q in np.nanquantile(drawn, [tail, 1.0 - tail]))
    if kind == "basic":
        low, high = 2.0 * value - high, 2.0 * value - low
    return Interval(value, low, high, level, block, paths)


def mean_interval(known_at: Instants, column: npt.NDArray[Any], **how: Any) -> Interval:
    """Return the interval of the mean over rows of `column`, resampled by instants.

    Serves an accuracy (hits as 0 and 1), a coverage, or a difference of two losses row by row: where
    its interval holds zero, neither forecast has been shown to be the better one.

    Parameters
    ----------
    known_at : array of int64, shape (n,)
    column : array, shape (n,)
        Finite.
    **how
        `level`, `paths`, `seed`, `block_bars`, `shortest_block` of `bootstrap_interval`.
    """
    sums = per_instant(known_at, np.asarray(column, dtype=np.float64))
    mean = sums[:, 0].sum() / sums[:, 1].sum()
    return bootstrap_interval(
        sums, lambda m: m[..., 0] / m[..., 1], driver=sums[:, 0] - mean * sums[:, 1], **how
    )


def accuracy_interval(known_at: Instants, hit: npt.NDArray[np.bool_], **how: Any) -> Interval:
    """Return the interval of the share of hits [fraction]; see `mean_interval`."""
    return mean_interval(known_at, hit, **how)


def skill_interval(known_at: Instants, loss: Floats, baseline_loss: Floats, **how: Any) -> Interval:
    """Return the interval of mean(baseline_loss - loss): *positive is better than the baseline*.

    Parameters
    ----------
    known_at : array of int64, shape (n,)
    loss, baseline_loss : arrays of float64, shape (n,)
        Loss of each row [nats, or the unit of the loss] of the forecast and of what it is measured by.
    **how
        As in `mean_interval`.
    """
    return mean_interval(known_at, baseline_loss - loss, **how)


def sharpe_interval(returns: Floats, bars_per_year: float, **how: Any) -> Interval:
    """Return the interval of the annual Sharpe ratio, its blocks as long as its memory.

    Parameters
    ----------
    returns : array of float64, shape (T,)
        Simple return of each bar; finite.
    bars_per_year : float
    **how
        As in `mean_interval`.

    Raises
    ------
    ValueError
        If all returns are equal, where no ratio is defined, or as in `bootstrap_interval`.
    """
    if returns.size < _FEWEST or not np.ptp(returns) > 0:
        raise ValueError(
            f"{returns.size} returns between {returns.min(initial=math.inf)} and "
            f"{returns.max(initial=-math.inf)} have no Sharpe ratio; "
            f"it needs {_FEWEST} returns or more that differ"
        )
    n = returns.size
    # Centring keeps the difference of moments exact; the mean is put back in the ratio.
    centre = float(returns.mean())
    centred = returns - centre
    scale = math.sqrt((n - 1) / n * bars_per_year)

    def ratio_of(means: Floats) -> Floats:
        variance = means[..., 1] - means[..., 0] ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio: Floats = (centre + means[..., 0]) / np.sqrt(
                np.where(variance > 0, variance, np.nan)
            )
        return scale * ratio

    moments = np.column_stack([centred, centred**2])
    return bootstrap_interval(moments, ratio_of, driver=sharpe_influence(returns), **how)


@compiled
def _mean_path(values: Floats, state: np.uint64, ends: float, means: Floats) -> None:
    n, k = values.shape
    means[:] = 0.0
    place = 0
    for bar in range(n):
        state += GAMMA
        place = next_place(state, place, bar == 0, ends, n)
        for j in range(k):
            means[j] += values[place, j]
    for j in range(k):
        means[j] /= n


@compiled
def _mean_paths(values: Floats, seed: int, ends: float, means: Floats) -> None:
    for path in range(means.shape[0]):
        _mean_path(values, stream(seed, path), ends, means[path])


def _compile_resample(fingerprint: int) -> Callable[..., int]:
    @cached
    def resample(values: Floats, seed: int, ends: float, means: Floats) -> int:
        _mean_paths(values, seed, ends, means)
        return fingerprint

    return resample


_resample_means = _compile_resample(fingerprint_of(_mean_paths))
