"""Apply a calibration: raw class probabilities to honest ones. Fitting is in `evaluation`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SMALLEST_PROBABILITY = 1e-6


def log_odds(proba: Floats) -> Floats:
    """Return log(p / (1 - p)), with p kept within [1e-6, 1 - 1e-6]."""
    bounded = np.clip(proba, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    odds: Floats = np.log(bounded / (1 - bounded))
    return odds


def calibrate(proba: Floats, parameters: Mapping[str, Any]) -> Floats:
    """Map each class's probability by its own curve and normalise the row.

    Parameters
    ----------
    proba : array of float64, shape (n, 3)
        Raw probabilities; rows sum to 1.
    parameters : mapping
        ``{"kind": "sigmoid", "slope": [3], "intercept": [3]}`` on the log odds;
        ``{"kind": "isotonic", "x": [[...] * 3], "y": [[...] * 3]}`` piecewise linear;
        ``{"kind": "none"}``.

    Returns
    -------
    array of float64, shape (n, 3)
        Rows sum to 1; a row whose curves are all zero keeps its raw probabilities.

    Raises
    ------
    ValueError
        If the kind is not known.
    """
    kind = parameters["kind"]
    if kind == "none":
        return proba
    if kind == "sigmoid":
        z = log_odds(proba) * np.asarray(parameters["slope"]) + np.asarray(parameters["intercept"])
        mapped: Floats = 1 / (1 + np.exp(-z))
    elif kind == "isotonic":
        curves = zip(parameters["x"], parameters["y"], strict=True)
        mapped = np.column_stack([np.interp(proba[:, k], x, y) for k, (x, y) in enumerate(curves)])
    else:
        raise ValueError(f"calibration {kind!r} is not known; known are sigmoid, isotonic, none")
    total = mapped.sum(axis=1, keepdims=True)
    return np.where(total > 0, mapped / np.where(total > 0, total, 1), proba)
