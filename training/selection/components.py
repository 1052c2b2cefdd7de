"""The first principal component of features that move together.

References
----------
Jolliffe (2002), Principal Component Analysis, chapter 2 (of the correlation matrix).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serving.observations import Matrix
from serving.projection import Component


def first_component(X: Matrix, members: Sequence[str]) -> Component | None:
    """Return the first principal component of standardised columns; missing values are their means.

    Its sign is such that the member with the largest loading has a positive one. Constant and empty
    columns are left out; with fewer than two others there is nothing to summarise, and the answer is
    None.

    Parameters
    ----------
    X : array of float32, shape (n, c)
        Training rows; NaN means missing.
    members : sequence of str, length c
    """
    values = X.astype(np.float64)
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, values, 0.0).sum(axis=0) / count
    centred = np.where(known, values - centre, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / count)
    varying = np.flatnonzero(scale > 1e-12 * np.maximum(np.abs(centre), 1e-300))
    if varying.size < 2:
        return None
    standardised = centred[:, varying] / scale[varying]
    _, vectors = np.linalg.eigh(standardised.T @ standardised)
    loading: npt.NDArray[np.float64] = vectors[:, -1]
    loading = loading * np.sign(loading[np.argmax(np.abs(loading))])
    return Component(
        tuple(members[i] for i in varying.tolist()),
        tuple(centre[varying].tolist()),
        tuple(scale[varying].tolist()),
        tuple(loading.tolist()),
    )
