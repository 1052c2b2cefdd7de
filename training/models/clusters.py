"""Clusters of symbols whose returns move together, by what training rows alone tell."""

import numpy as np
import numpy.typing as npt

from training.errors import TooLittleData
from training.samples import Samples

BUCKET_BARS = 24
"""Bars whose labels are averaged before they are compared: thinned rows of two symbols rarely meet."""
FEWEST_BUCKETS = 10
"""Buckets that two symbols must share to be told alike."""

Floats = npt.NDArray[np.float64]


def cluster_symbols(samples: Samples, clusters: int) -> list[list[int]]:
    """Return the symbols of the samples in groups, by the correlation of their realised returns.

    Average-linkage hierarchical clustering over the distance `sqrt((1 - correlation) / 2)`, cut where it
    leaves `clusters` groups.

    Parameters
    ----------
    samples : Samples
        Training rows; nothing else is looked at.
    clusters : int

    Returns
    -------
    list of list of int
        Codes of symbols, each in one group; groups in the order of their first symbol.

    Raises
    ------
    TooLittleData
        If there are fewer symbols than clusters.

    References
    ----------
    Mantegna (1999), Hierarchical structure in financial markets.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    codes, table = _bucketed(samples)
    if codes.size < clusters:
        raise TooLittleData(
            f"{codes.size} symbols cannot make {clusters} clusters; "
            f"set training.clusters to at most {codes.size}, or training.scope to global"
        )
    distance = np.sqrt((1.0 - _correlation(table)) / 2.0)
    np.fill_diagonal(distance, 0.0)
    number = fcluster(linkage(squareform(distance), "average"), clusters, criterion="maxclust")
    groups = [codes[number == one].tolist() for one in np.unique(number)]
    return sorted(groups)


def _bucketed(samples: Samples) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the symbols, and the mean realised return of each in each bucket; NaN without rows."""
    observations = samples.observations
    codes, symbol = np.unique(observations.symbol[observations.rows], return_inverse=True)
    buckets, bucket = np.unique(
        observations.bar[observations.rows] // BUCKET_BARS, return_inverse=True
    )
    known = np.isfinite(samples.realised)
    place = symbol[known] * buckets.size + bucket[known]
    size = codes.size * buckets.size
    total = np.bincount(place, weights=samples.realised[known], minlength=size)
    rows = np.bincount(place, minlength=size)
    table = np.full(size, np.nan)
    np.divide(total, rows, out=table, where=rows > 0)
    return codes, table.reshape(codes.size, buckets.size)


def _correlation(table: Floats) -> Floats:
    """Return the correlation of each pair of rows over the columns that both have; 0 where few."""
    correlation = np.eye(len(table))
    for one in range(len(table)):
        for other in range(one):
            both = np.isfinite(table[one]) & np.isfinite(table[other])
            pair = table[[one, other]][:, both]
            if both.sum() >= FEWEST_BUCKETS and (pair.std(axis=1) > 0).all():
                value = float(np.clip(np.corrcoef(*pair)[0, 1], -1.0, 1.0))
                correlation[one, other] = correlation[other, one] = value
    return correlation
