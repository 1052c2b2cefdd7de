"""Do retrains agree on what matters? Rank correlation and overlap of feature importances.

References
----------
Kendall and Babington Smith (1939), The problem of m rankings (W, with the correction for ties);
Kalousis, Prados and Hilario (2007), Stability of feature selection algorithms (Spearman, Jaccard).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serving.compiled import Floats


@dataclass(frozen=True)
class ImportanceStability:
    """How alike several importances of the same features are.

    Attributes
    ----------
    kendall_w : float
        Concordance of the rankings in [0, 1]: 1 for equal rankings, 1 / m expected by chance of m.
    mean_spearman : float
        Mean rank correlation over all pairs, in [-1, 1].
    mean_jaccard : float
        Mean over all pairs of the share of common features among the `top` of both, in [0, 1].
    chance_jaccard : float
        What two unrelated rankings are expected to share, top / (2 features - top), to first order.
    consecutive_spearman : tuple of float
        Between each importance and the next, in the order given: where it drops, something changed.
    top, rankings, features : int
    """

    kendall_w: float
    mean_spearman: float
    mean_jaccard: float
    chance_jaccard: float
    consecutive_spearman: tuple[float, ...]
    top: int
    rankings: int
    features: int

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return {**asdict(self), "consecutive_spearman": list(self.consecutive_spearman)}


def importance_stability(importance: Floats, *, top: int = 20) -> ImportanceStability:
    """Compare the importances of windows or retrains.

    Parameters
    ----------
    importance : float64 (m, k)
        One row a window or retrain in order of time, one column a feature; finite, in any unit, larger
        is more important. Features that one of them lacked are best left out (`common_features`).
    top : int
        How many of the most important count as chosen; at most k. Features equal in importance are
        chosen from left to right.

    Raises
    ------
    ValueError
        If there are fewer than two rows or columns, `top` is below one, or a value is not finite.
    """
    from scipy.stats import rankdata

    if importance.ndim != 2 or min(importance.shape) < 2 or not np.isfinite(importance).all():
        raise ValueError(
            f"importances have shape {importance.shape} and "
            f"{int((~np.isfinite(importance)).sum())} values that are not finite; wanted are two or more "
            "finite ones of two features or more"
        )
    if top < 1:
        raise ValueError(f"the top {top} features; choose one or more")
    rankings, features = importance.shape
    top = min(top, features)
    ranks = rankdata(importance, axis=1)
    spearman = _correlations(ranks)
    first, second = np.triu_indices(rankings, 1)
    chosen = np.zeros(importance.shape)
    np.put_along_axis(chosen, np.argsort(-importance, axis=1, kind="stable")[:, :top], 1.0, axis=1)
    common = (chosen @ chosen.T)[first, second]
    return ImportanceStability(
        kendall_w=_concordance(ranks),
        mean_spearman=float(spearman[first, second].mean()),
        mean_jaccard=float(np.mean(common / (2 * top - common))),
        chance_jaccard=top / (2 * features - top),
        consecutive_spearman=tuple(float(r) for r in np.diagonal(spearman, 1)),
        top=top,
        rankings=rankings,
        features=features,
    )


def common_features(
    importances: Sequence[Mapping[str, float]],
) -> tuple[tuple[str, ...], Floats]:
    """Return the features that all importances have, and the importances of these as one array.

    Parameters
    ----------
    importances : sequence of mappings
        From feature to importance, one a window or retrain.

    Returns
    -------
    names : tuple of str, length k
        In the order of the first.
    importance : float64 (m, k)
        For `importance_stability`.
    """
    names = tuple(
        name
        for name in (importances[0] if importances else ())
        if all(name in i for i in importances)
    )
    table = [[float(importance[name]) for name in names] for importance in importances]
    return names, np.array(table, dtype=np.float64).reshape(len(importances), len(names))


def _correlations(ranks: Floats) -> Floats:
    """Return the correlations of rows; 0 with a row whose values are all equal, 1 with itself."""
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = np.where(size > 0, centred / np.where(size > 0, size, 1.0), 0.0)
    correlations: Floats = unit @ unit.T
    return correlations


def _concordance(ranks: Floats) -> float:
    m, k = ranks.shape
    ties = sum(
        float((count.astype(np.float64) ** 3 - count).sum())
        for count in (np.unique(row, return_counts=True)[1] for row in ranks)
    )
    totals = ranks.sum(axis=0)
    spread = 12.0 * float(((totals - totals.mean()) ** 2).sum())
    most = m**2 * (k**3 - k) - m * ties
    return spread / most if most > 0 else math.nan
