"""Features that move together, by rank correlation and average linkage.

References
----------
Sokal and Michener (1958), A statistical method for evaluating systematic relationships (average
linkage); Lopez de Prado (2020), Machine Learning for Asset Managers, chapter 6 (clustered importance).
"""

import numpy as np
import numpy.typing as npt

from serving.observations import Matrix

Floats = npt.NDArray[np.float64]

SAMPLE_ROWS = 4096
"""Rows that correlations are measured on, evenly spaced: the error of a correlation is below 0.02."""


def rank_correlation(X: Matrix) -> Floats:
    """Return Spearman's correlations of the columns, shape (k, k); 1 on the diagonal.

    Ranks are those among a column's own known values. A pair is compared on the rows where both are
    known, around each column's own mean rank; a pair without such rows, or with a constant, gives 0.

    Parameters
    ----------
    X : array of float32, shape (n, k)
        NaN means missing.
    """
    from scipy.stats import rankdata

    ranks = rankdata(X, axis=0, nan_policy="omit")
    known = ~np.isnan(ranks)
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, ranks - np.nansum(ranks, axis=0) / count, 0.0)
    together = centred.T @ centred
    spread = (centred**2).T @ known.astype(np.float64)
    size = np.sqrt(spread * spread.T)
    correlation = np.where(size > 0, together / np.where(size > 0, size, 1.0), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return np.clip(correlation, -1.0, 1.0)


def correlation_clusters(
    X: Matrix, rows: npt.NDArray[np.int64], names: tuple[str, ...], max_correlation: float
) -> npt.NDArray[np.int64]:
    """Return each column's cluster, shape (k,): a number counted from 0 in the order of names.

    Clusters are joined as long as their columns' mean absolute rank correlation is above
    `max_correlation`. Columns are looked at in the order of their names, so the order of X is
    of no account.

    Parameters
    ----------
    X : array of float32, shape (m, k)
    rows : array of int64, shape (n,)
        Rows that are learned from; no other is looked at.
    names : tuple of str, length k
    max_correlation : float
        In (0, 1).
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if len(names) < 2:
        return np.zeros(len(names), dtype=np.int64)
    order = np.argsort(np.array(names))
    step = max(rows.size // SAMPLE_ROWS, 1)
    apart = 1.0 - np.abs(rank_correlation(X[np.ix_(rows[::step], order)]))
    apart = (apart + apart.T) / 2.0
    np.fill_diagonal(apart, 0.0)
    tree = linkage(squareform(apart, checks=False), method="average")
    found = fcluster(tree, 1.0 - max_correlation, criterion="distance")
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    cluster = np.empty(len(names), dtype=np.int64)
    cluster[order] = np.argsort(np.argsort(first))[inverse]
    return cluster
