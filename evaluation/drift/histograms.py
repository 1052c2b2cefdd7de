"""How a feature is spread, as counts in bins of a reference, and how far two such counts are apart.

Every statistic is computed from counts, so that a window is a sum of its days and a thousand windows
cost what one does. A value counts as the reference's median of its bin.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from serving.compiled import Counts, Floats, cached, compiled, fingerprint_of

BINS = 40
COARSE_BINS = 10
"""Bins of the population stability index and the Jensen-Shannon distance; the others use all of `BINS`."""
STATISTICS = ("psi", "ks", "wasserstein", "jensen_shannon")
_SMALLEST_SHARE = 1e-12

Columns = npt.NDArray[np.float32]


def bin_edges(X: Columns) -> tuple[Columns, Floats]:
    """Return the inner edges of equally filled bins and where in each bin its values are.

    Parameters
    ----------
    X : float32 (n, k)
        Reference values; NaN means missing and counts nowhere.

    Returns
    -------
    edges : float32 (k, BINS - 1)
        Rising; equal where a value fills more than a bin, which leaves bins empty. Infinite for a
        column without values.
    positions : float64 (k, BINS)
        Median of each bin in units of the column's standard deviation (of its medians); 0 throughout
        where a column does not vary.
    """
    k = X.shape[1]
    edges = np.full((k, BINS - 1), np.inf, np.float32)
    positions = np.zeros((k, BINS))
    levels = np.arange(1, 2 * BINS) / (2 * BINS)
    for place in range(k):
        values = X[:, place]
        finite = values[np.isfinite(values)]
        if finite.size:
            found = np.quantile(finite, levels, method="inverted_cdf")
            edges[place] = found[1::2]
            medians = found[0::2].astype(np.float64)
            spread = medians.std()
            positions[place] = medians / spread if spread > 0 else 0.0
    return edges, positions


def count_pieces(X: Columns, edges: Columns, piece: Counts, pieces: int) -> Counts:
    """Count the values of every piece of time in the bins.

    Parameters
    ----------
    X : float32 (n, k)
        NaN is not counted.
    edges : float32 (k, BINS - 1)
    piece : int64 (n,)
        Piece of each row, 0 to `pieces` - 1; a row of another number is passed over.

    Returns
    -------
    int64 (pieces, k, BINS)
        A value equal to an edge is in the bin above it.
    """
    counts = np.zeros((pieces, X.shape[1], edges.shape[1] + 1), np.int64)
    _count(np.ascontiguousarray(X, np.float32), edges, piece, counts)
    return counts


def bin_codes(X: Columns, edges: Columns) -> Columns:
    """Return each value's place among the bins, from -0.5 to 0.5; 0 where it is missing; (n, k)."""
    codes = np.zeros(X.shape, np.float32)
    for place in range(X.shape[1]):
        found = np.searchsorted(edges[place], X[:, place], side="right") / edges.shape[1] - 0.5
        codes[:, place] = np.where(np.isfinite(X[:, place]), found, 0.0)
    return codes


@compiled
def _bin_of(value: float, edges: Columns) -> int:
    low, high = 0, edges.shape[0]
    while low < high:
        middle = (low + high) // 2
        if value < edges[middle]:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _fill(X: Columns, edges: Columns, piece: Counts, counts: Counts) -> None:
    for i in range(X.shape[0]):
        where = piece[i]
        if 0 <= where < counts.shape[0]:
            for j in range(X.shape[1]):
                value = X[i, j]
                if np.isfinite(value):
                    counts[where, j, _bin_of(value, edges[j])] += 1


def _compile_count(fingerprint: int) -> Callable[..., int]:
    @cached
    def count(X: Columns, edges: Columns, piece: Counts, counts: Counts) -> int:
        _fill(X, edges, piece, counts)
        return fingerprint

    return count


_count = _compile_count(fingerprint_of(_fill))


def distances(current: Counts, reference: Counts, positions: Floats) -> Floats:
    """Return the `STATISTICS` of counts against a reference's, larger is farther.

    - psi: sum (p - r) ln(p / r) over `COARSE_BINS`, with p drawn towards r by the weight of half a
      row a bin, so that an empty bin is not infinitely far;
    - ks: the largest difference of the cumulated shares;
    - wasserstein: area between the cumulated shares, standard deviations of the reference;
    - jensen_shannon: square root of the divergence in bits over `COARSE_BINS`, in [0, 1].

    Parameters
    ----------
    current, reference : int64 (k, BINS)
    positions : float64 (k, BINS)

    Returns
    -------
    float64 (k, 4)
        NaN where either has no values.

    References
    ----------
    Siddiqi (2006), Credit risk scorecards (PSI); Vallender (1974), Wasserstein on the line; Endres and
    Schindelin (2003), A new metric for probability distributions.
    """
    n, m = current.sum(axis=-1), reference.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p, r = current / n[:, None], reference / m[:, None]
    apart = np.abs(np.cumsum(p - r, axis=-1)[:, :-1])
    few, base = _coarse(p), _coarse(r)
    return np.column_stack(
        [
            _stability_index(few, base, n),
            apart.max(axis=-1),
            np.sum(apart * np.diff(positions, axis=-1), axis=-1),
            _jensen_shannon(few, base),
        ]
    )


def _coarse(shares: Floats) -> Floats:
    grouped: Floats = shares.reshape(shares.shape[0], COARSE_BINS, -1).sum(axis=-1)
    return grouped


def _stability_index(p: Floats, r: Floats, n: Counts) -> Floats:
    weight = 0.5 * COARSE_BINS
    r = np.maximum(r, _SMALLEST_SHARE)
    with np.errstate(invalid="ignore"):
        p = (n[:, None] * p + weight * r) / (n[:, None] + weight)
        index: Floats = np.sum((p - r) * np.log(p / r), axis=-1)
    return index


def _jensen_shannon(p: Floats, r: Floats) -> Floats:
    middle = np.maximum((p + r) / 2, _SMALLEST_SHARE)
    with np.errstate(invalid="ignore"):
        bits = sum(
            np.sum(q * np.log2(np.maximum(q, _SMALLEST_SHARE) / middle), axis=-1) for q in (p, r)
        )
        root: Floats = np.sqrt(np.clip(bits / 2, 0.0, 1.0))
    return root
