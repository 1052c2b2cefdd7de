"""Are probabilities honest? Fit a calibration, and measure what is left to be wished for.

Probabilities are arrays of shape (n, 3) for the classes down, flat, up; `outcome` holds the class
number 0, 1 or 2 that came true. References: J. Platt (1999); B. Zadrozny and C. Elkan, KDD 2002.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from serving.calibration import SMALLEST_PROBABILITY, log_odds

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.integer[Any]]

CLASSES = 3
_NEWTON_STEPS = 50


def fit_calibration(
    proba: Floats,
    outcome: Classes,
    weight: Floats,
    kind: Literal["sigmoid", "isotonic", "none"],
) -> dict[str, Any]:
    """Fit one curve a class, one against the rest.

    Parameters
    ----------
    proba : array of float64, shape (n, 3)
        Probabilities of rows that the model did *not* see: a calibration on rows that it was fitted
        on learns to trust its memory.
    outcome : array of int, shape (n,)
    weight : array of float64, shape (n,)
    kind : {"sigmoid", "isotonic", "none"}
        Platt scaling of the log odds with smoothed targets, or a monotone step curve.

    Returns
    -------
    dict
        Parameters of `serving.calibration.calibrate`, plain JSON types.
    """
    if kind == "none":
        return {"kind": "none"}
    hits = [(outcome == k).astype(np.float64) for k in range(CLASSES)]
    if kind == "sigmoid":
        fits = [_fit_sigmoid(log_odds(proba[:, k]), hits[k], weight) for k in range(CLASSES)]
        return {
            "kind": "sigmoid",
            "slope": [slope for slope, _ in fits],
            "intercept": [intercept for _, intercept in fits],
        }
    # Its import takes a second, and most who import this module fit nothing.
    from sklearn.isotonic import IsotonicRegression

    curves = [
        IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(proba[:, k], hits[k], weight)
        for k in range(CLASSES)
    ]
    return {
        "kind": "isotonic",
        "x": [curve.X_thresholds_.tolist() for curve in curves],
        "y": [curve.y_thresholds_.tolist() for curve in curves],
    }


def _fit_sigmoid(x: Floats, hit: Floats, weight: Floats) -> tuple[float, float]:
    """Return (slope, intercept) of the weighted logistic fit; a negative slope becomes the base rate."""
    positive, negative = float(weight[hit == 1].sum()), float(weight[hit == 0].sum())
    target = np.where(hit == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))
    base = float(np.average(target, weights=weight))
    design = np.column_stack([x, np.ones_like(x)])

    def loss(theta: Floats) -> float:
        z = design @ theta
        return float(weight @ (np.logaddexp(0, z) - target * z))

    theta = np.array([0.0, np.log(base / (1 - base))])
    for _ in range(_NEWTON_STEPS):
        q = 1 / (1 + np.exp(-design @ theta))
        gradient = design.T @ (weight * (q - target))
        curvature = (design * (weight * q * (1 - q))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-9 * np.trace(curvature) * np.eye(2), gradient)
        size, before = 1.0, loss(theta)
        while size > 1e-8 and loss(theta - size * step) > before:
            size /= 2
        theta = theta - size * step
        if np.abs(step).max() < 1e-10:
            break
    slope, intercept = float(theta[0]), float(theta[1])
    if not slope > 0:
        return 0.0, float(np.log(base / (1 - base)))
    return slope, intercept


def log_loss(proba: Floats, outcome: Classes, weight: Floats | None = None) -> float:
    """Return the mean of -log p(outcome) [nats]; probabilities below 1e-6 count as 1e-6."""
    return float(np.average(row_log_loss(proba, outcome), weights=weight))


def row_log_loss(proba: Floats, outcome: Classes) -> Floats:
    """Return -log p(outcome) of every row [nats]; probabilities below 1e-6 count as 1e-6."""
    chosen = proba[np.arange(outcome.size), outcome]
    loss: Floats = -np.log(np.maximum(chosen, SMALLEST_PROBABILITY))
    return loss


def brier_score(proba: Floats, outcome: Classes, weight: Floats | None = None) -> float:
    """Return the mean squared distance to the outcome, summed over the classes, in [0, 2]."""
    distance = ((proba - np.eye(CLASSES)[outcome]) ** 2).sum(axis=1)
    return float(np.average(distance, weights=weight))


def interval_coverage(realised: Floats, lower: Floats, upper: Floats) -> float:
    """Return the share of realised returns within [lower, upper]."""
    return float(np.mean((realised >= lower) & (realised <= upper)))
