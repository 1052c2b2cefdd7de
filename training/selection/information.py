"""Mutual information of every feature with the class, by counting in bins.

References
----------
Miller (1955), Note on the bias of information estimates (the correction); Cover and Thomas,
Elements of Information Theory, chapter 2.
"""

import numba
import numpy as np
import numpy.typing as npt

from serving.observations import Matrix

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

BINS = 16
"""Bins of equal size; one more holds the missing values."""

_EDGE_ROWS = 8192


def mutual_information(X: Matrix, y: Classes, rows: npt.NDArray[np.int64]) -> Floats:
    """Return how much each column says about the class [nats], less what chance would say.

    A column is cut at its sixteen-quantiles, and a missing value is a bin of its own. The plug-in
    estimate is lowered by Miller and Madow's correction, so a column without information is about
    0, of either sign. Rows whose labels overlap are counted as if they were independent: the noise
    left is larger than the correction thinks, but alike for all columns.

    Parameters
    ----------
    X : array of float32, shape (m, k)
        NaN means missing.
    y : array of int64, shape (n,)
        Classes 0, 1, 2 of `rows`.
    rows : array of int64, shape (n,)
        Rows of X that are learned from; no other is looked at.

    Returns
    -------
    array of float64, shape (k,)
    """
    counts = _count(X, y, rows, bin_edges(X, rows))
    return information_of(counts)


def bin_edges(X: Matrix, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return where each column is cut, shape (BINS - 1, k), from up to 8,192 rows evenly spaced.

    Edges are values of the column (no interpolation); an all-missing column has edges of infinity.
    """
    step = max(rows.size // _EDGE_ROWS, 1)
    ordered = np.sort(X[rows[::step]], axis=0)
    known = ordered.shape[0] - np.isnan(ordered).sum(axis=0)
    shares = np.arange(1, BINS) / BINS
    places = np.minimum((shares[:, None] * known).astype(np.int64), np.maximum(known - 1, 0))
    edges = np.take_along_axis(ordered, places, axis=0)
    return np.where(known > 0, edges, np.float32(np.inf)).astype(np.float32)


def information_of(counts: npt.NDArray[np.int64]) -> Floats:
    """Return the corrected mutual information of contingency tables.

    Parameters
    ----------
    counts : array of int64, shape (k, bins, classes)

    Returns
    -------
    array of float64, shape (k,)
        ``sum p(x, y) log(p(x, y) / p(x) p(y))`` less ``(cells - bins - classes + 1) / 2 n``, where
        cells, bins and classes are those that occur [nats].
    """
    n = counts.sum(axis=(1, 2))
    of_bin, of_class = counts.sum(axis=2), counts.sum(axis=1)
    expected = of_bin[:, :, None] * of_class[:, None, :] / n[:, None, None]
    ratio = np.where(counts > 0, counts / np.where(expected > 0, expected, 1.0), 1.0)
    plug_in = (counts * np.log(ratio)).sum(axis=(1, 2)) / n
    cells = (counts > 0).sum(axis=(1, 2))
    surplus = cells - (of_bin > 0).sum(axis=1) - (of_class > 0).sum(axis=1) + 1
    information: Floats = plug_in - surplus / (2.0 * n)
    return information


@numba.njit(cache=True, error_model="numpy")
def _count(
    X: Matrix, y: Classes, rows: npt.NDArray[np.int64], edges: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    bins, columns = edges.shape[0] + 1, edges.shape[1]
    counts = np.zeros((columns, bins + 1, 3), dtype=np.int64)
    for i in range(rows.size):
        for j in range(columns):
            value = X[rows[i], j]
            place = bins
            if not np.isnan(value):
                place = 0
                for step in (8, 4, 2, 1):
                    if edges[place + step - 1, j] <= value:
                        place += step
            counts[j, place, y[i]] += 1
    return counts
