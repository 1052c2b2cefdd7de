"""Whether a model got worse: losses of each instant, in order, against those it was expected to have."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.drift.null import PIECES, Null, fit_null
from serving.compiled import Counts, Floats, cached, compiled, fingerprint_of

OUTCOMES = ("brier", "miss_rate", "page_hinkley", "adwin")
ESTIMATES = ("expected_brier", "expected_miss_rate")
_SHORTEST_SIDE = 5
_TOLERATED = 0.05


@compiled
def _walk_page_hinkley(losses: Floats, mean: float, weight: float, tolerated: float) -> float:
    total, lowest, highest, seen = 0.0, 0.0, 0.0, weight
    for i in range(losses.shape[0]):
        seen += 1.0
        mean += (losses[i] - mean) / seen
        total += losses[i] - mean - tolerated
        lowest = min(lowest, total)
        highest = max(highest, total - lowest)
    return highest


@compiled
def _walk_adwin(losses: Floats, shortest: int) -> float:
    n = losses.shape[0]
    total, square = 0.0, 0.0
    for i in range(n):
        total += losses[i]
        square += losses[i] ** 2
    variance = square / n - (total / n) ** 2
    if variance <= 1e-18:
        return 0.0
    largest, before = 0.0, 0.0
    for cut in range(1, n):
        before += losses[cut - 1]
        if shortest <= cut <= n - shortest:
            rise = (total - before) / (n - cut) - before / cut
            largest = max(largest, rise / np.sqrt(variance * (1.0 / cut + 1.0 / (n - cut))))
    return largest


def _compile_page_hinkley(fingerprint: int) -> Callable[..., tuple[float, int]]:
    @cached
    def page_hinkley(
        losses: Floats, mean: float, weight: float, tolerated: float
    ) -> tuple[float, int]:
        return _walk_page_hinkley(losses, mean, weight, tolerated), fingerprint

    return page_hinkley


def _compile_adwin(fingerprint: int) -> Callable[..., tuple[float, int]]:
    @cached
    def adwin(losses: Floats, shortest: int) -> tuple[float, int]:
        return _walk_adwin(losses, shortest), fingerprint

    return adwin


_page_hinkley = _compile_page_hinkley(fingerprint_of(_walk_page_hinkley))
_adwin = _compile_adwin(fingerprint_of(_walk_adwin))


def page_hinkley(losses: Floats, *, mean: float, weight: float, tolerated: float) -> float:
    """Return how far the cumulated losses rose above their lowest point; larger is worse.

    Parameters
    ----------
    losses : float64 (n,)
        In order of time, finite.
    mean, weight : float
        What was expected, and for how many losses that counts in the running mean.
    tolerated : float
        Excess of a loss over the mean that is let go.

    References
    ----------
    Page (1954), Continuous inspection schemes; Hinkley (1971); Gama et al. (2014), A survey on concept
    drift adaptation, section 3.2.
    """
    return _page_hinkley(np.ascontiguousarray(losses, np.float64), mean, weight, tolerated)[0]


def adwin_rise(losses: Floats) -> float:
    """Return the largest rise of the mean loss over any cut of the window, in its standard errors.

    ADWIN drops the old part where this exceeds its bound; here every cut is looked at (ADWIN0) and the
    bound comes from the reference, whose losses depend on each other. 0 where losses do not vary.

    References
    ----------
    Bifet and Gavalda (2007), Learning from time-changing data with adaptive windowing.
    """
    return _adwin(np.ascontiguousarray(losses, np.float64), _SHORTEST_SIDE)[0]


def estimated_losses(proba: Floats) -> Floats:
    """Return the Brier score and the miss rate that probabilities promise of themselves; (n, 2).

    If p is right, the expected squared distance to the outcome is 1 - sum p^2 and the likeliest class
    misses with 1 - max p. Known before any outcome is. *It trusts the calibration*: it sees a market
    that became harder to call, never one in which the same features came to mean something else.

    Parameters
    ----------
    proba : float64 (n, 3)

    References
    ----------
    Confidence-based performance estimation: Garg et al. (2022), Leveraging unlabeled data to predict
    out-of-distribution performance; Kivimaki et al. (2025), CBPE.
    """
    return np.column_stack([1.0 - np.sum(proba**2, axis=1), 1.0 - proba.max(axis=1)])


def realised_losses(proba: Floats, outcome: npt.NDArray[np.int64]) -> Floats:
    """Return squared distance to the outcome and whether the likeliest class missed; (n, 2)."""
    distance = ((proba - np.eye(3)[outcome]) ** 2).sum(axis=1)
    return np.column_stack([distance, proba.argmax(axis=1) != outcome])


def mean_by_bar(values: Floats, bar: Counts) -> tuple[Floats, Counts]:
    """Return the mean over the rows of each bar, in order of time, and the bars."""
    bars, where = np.unique(bar, return_inverse=True)
    sums = np.zeros((bars.size, values.shape[1]))
    np.add.at(sums, where, values)
    return sums / np.bincount(where)[:, None], bars


@dataclass(frozen=True)
class Stream:
    """What losses of a bar are expected to be, and what windows of the reference did.

    Attributes
    ----------
    names : tuple of str
        `OUTCOMES`, or `ESTIMATES`, whose order in time does not matter.
    means, deviations : float64 (2,)
        Of both losses over the bars of the reference.
    bars, window_bars : int
    null : Null
        Of the statistics of a window.
    """

    names: tuple[str, ...]
    means: Floats
    deviations: Floats
    bars: int
    window_bars: int
    null: Null

    def statistics(self, losses: Floats) -> Floats:
        """Return the statistics of a window of losses (bars, 2), in the order of `names`."""
        return _statistics(self.names, losses, self.means, self.deviations)


def fit_stream(names: tuple[str, ...], losses: Floats, *, window_bars: int) -> Stream:
    """Learn from losses of the reference's bars (bars, 2) what windows of them do.

    Raises
    ------
    ValueError
        If the reference is shorter than `FEWEST_WINDOWS` windows.
    """
    step = window_bars // PIECES
    starts = range(0, len(losses) - window_bars + 1, step)
    if not len(losses):
        raise ValueError("no outcome of the out-of-fold predictions is known")
    means, deviations = losses.mean(axis=0), losses.std(axis=0)
    found = [_statistics(names, losses[i : i + window_bars], means, deviations) for i in starts]
    null = fit_null(np.array(found).reshape(len(found), len(names)), smallest_scale=1e-6)
    return Stream(names, means, deviations, len(losses), window_bars, null)


def _statistics(
    names: tuple[str, ...], losses: Floats, means: Floats, deviations: Floats
) -> Floats:
    levels: Floats = losses.mean(axis=0)
    if names == ESTIMATES:
        return levels
    risen = page_hinkley(
        losses[:, 0], mean=means[0], weight=float(len(losses)), tolerated=_TOLERATED * deviations[0]
    )
    return np.array([levels[0], levels[1], risen, adwin_rise(losses[:, 0])])
