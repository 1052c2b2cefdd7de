"""How much a sample counts: overlapping labels share what they say.

Reference: M. Lopez de Prado, *Advances in Financial Machine Learning* (2018), ch. 4.
"""

from datetime import timedelta
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]


def sample_weights(
    symbol: npt.NDArray[np.int64],
    known_at: Instants,
    label_end: Instants,
    *,
    timeframe: timedelta,
    time_decay: float = 1.0,
) -> Floats:
    """Return the weight of every training sample: average uniqueness, with optional time decay.

    Parameters
    ----------
    symbol : array of int64, shape (n,)
        Code of each sample's symbol; labels of different symbols do not share bars.
    known_at, label_end : array of int64, shape (n,)
        Span of each label, microseconds since the epoch; only training samples belong here, or the
        weights would know of labels that the training may not see.
    timeframe : timedelta
        Length of one bar.
    time_decay : float
        Weight of the oldest instant relative to the newest, linear in time; 1 means no decay.

    Returns
    -------
    array of float64, shape (n,)
        Positive weights with mean 1.
    """
    if known_at.size == 0:
        return np.empty(0)
    weights = uniqueness(symbol, known_at, label_end, timeframe=timeframe)
    newest = known_at.max()
    age = (newest - known_at) / max(int(newest - known_at.min()), 1)
    weights *= 1.0 - (1.0 - max(time_decay, 1e-6)) * age
    weights /= float(weights.mean())
    return weights


def uniqueness(
    symbol: npt.NDArray[np.int64], known_at: Instants, label_end: Instants, *, timeframe: timedelta
) -> Floats:
    """Return the average uniqueness of every label among those of its symbol, in (0, 1]."""
    step = timeframe // timedelta(microseconds=1)
    origin = known_at.min()
    first = (known_at - origin) // step + 1
    last = (label_end - origin) // step
    out = np.empty(known_at.size)
    for code in np.unique(symbol):
        rows = symbol == code
        out[rows] = average_uniqueness(first[rows], last[rows], int(last[rows].max()) + 1)
    return out


@numba.njit(cache=True)
def average_uniqueness(first: Any, last: Any, bars: int) -> Any:
    """Return each label's mean of one over the number of labels alive, over the bars it lives on.

    Parameters
    ----------
    first, last : array of int64, shape (n,)
        First and last bar of each label, both included, in [0, bars).
    bars : int
        Length of the bar grid.

    Returns
    -------
    array of float64, shape (n,)
        In (0, 1]; 1 means that the label shares no bar with another.
    """
    change = np.zeros(bars + 1)
    for i in range(first.shape[0]):
        change[first[i]] += 1.0
        change[last[i] + 1] -= 1.0
    cumulative = np.zeros(bars + 1)
    alive = 0.0
    for bar in range(bars):
        alive += change[bar]
        cumulative[bar + 1] = cumulative[bar] + (1.0 / alive if alive > 0.0 else 0.0)
    out = np.empty(first.shape[0])
    for i in range(first.shape[0]):
        length = last[i] + 1 - first[i]
        out[i] = (cumulative[last[i] + 1] - cumulative[first[i]]) / length
    return out
