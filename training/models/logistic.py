"""Multinomial logistic regression with an elastic net, by majorisation and coordinate descent."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numba
import numpy as np
import numpy.typing as npt

from serving.predictors.logistic import Line, LogisticPredictor
from training.models.protocol import Floats, Trial
from training.models.row_model import RowModel, shares
from training.samples import Classes, Samples

CUT = 0.005
"""Share of the training rows that is cut to a bound at either end of a feature."""

MOST_STEPS = 300
MOST_SWEEPS = 30
TOLERANCE = 1e-6
"""A step that improves the mean loss by less [nats] is the last."""

NEVER = -30.0
"""Intercept of a class that no training row has."""

_CHUNK = 8_192


@dataclass(frozen=True)
class StandardRows:
    """Training rows filled, cut, centred and scaled by their own medians, quantiles and moments.

    Parameters
    ----------
    z : array of float32, shape (n, k)
        Weighted mean 0 and variance 1; 0 throughout for a constant column.
    gram : array, shape (k, k)
        ``z.T @ diag(weight) @ z``.
    y : array of int64, shape (n,)
    weight : array, shape (n,)
        Sums to 1.
    line : Line
        With coefficients and intercept of 0.
    """

    z: npt.NDArray[np.float32]
    gram: Floats
    y: Classes
    weight: Floats
    line: Line


class LogisticModel(RowModel[LogisticPredictor]):
    """The weighted mean log loss plus an elastic net on standardised coefficients, minimised.

    ``mean loss + alpha * (l1_ratio * |B|_1 + (1 - l1_ratio) / 2 * |B|_2^2)``; intercepts are free.

    Missing values count as the median of the training rows. They get no column of their own: what
    it would learn is since when a venue publishes a number, and that tells of the years, not of the
    next hours. Values beyond the 0.5 % quantiles of the training rows are cut to them.

    Nothing is drawn, so the seed changes nothing. After `MOST_STEPS` steps the fit stops where it is, and
    the saved `model.json` says that it has not converged.

    Notes
    -----
    The Hessian of the loss is at most half the Gram matrix a class (Bohning 1992), so each step
    minimises a quadratic that touches the loss from above; correlated features, the plight of
    gradient methods, cost it nothing, and a step reads the rows only twice.
    """

    name: ClassVar[str] = "logistic"
    kind: ClassVar[str] = "linear"
    predictor_kind: ClassVar[str] = "logistic"
    DEFAULTS: ClassVar[dict[str, Any]] = {"alpha": 0.01, "l1_ratio": 0.5}

    converged = False

    def prepare(self, samples: Samples) -> StandardRows:
        """Scale the rows once, by these rows only."""
        z = np.array(samples.observations.asked, order="F")
        weight = samples.weight / samples.weight.sum()
        columns = [_standardise(column, weight) for column in z.T]
        fill, low, high, mean, scale = np.array(columns).T.reshape(5, -1)
        k = z.shape[1]
        line = Line(fill, low, high, mean, scale, np.zeros((3, k)), np.zeros(3))
        rows = np.ascontiguousarray(z)
        return StandardRows(rows, _gram(rows, weight), samples.y, weight, line)

    def fit_prepared(self, prepared: StandardRows) -> Self:
        """Fit on scaled rows."""
        strength, lasso = self.params["alpha"], self.params["l1_ratio"]
        present, y = np.unique(prepared.y, return_inverse=True)
        found, free, self.converged = _minimise(
            prepared, y, present.size, strength * lasso, strength * (1 - lasso)
        )
        coefficients, intercept = np.zeros_like(prepared.line.coefficients), np.full(3, NEVER)
        coefficients[present], intercept[present] = found, free
        self._fitted = LogisticPredictor(
            replace(prepared.line, coefficients=coefficients, intercept=intercept)
        )
        return self

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "converged": self.converged}

    def importance(self) -> Floats:
        """Return each feature's share of the absolute standardised coefficients, shape (k,)."""
        return shares(np.abs(self.predictor.line.coefficients).sum(axis=0))

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`."""
        return {
            "alpha": trial.suggest_float("alpha", 1e-3, 0.1, log=True),
            "l1_ratio": trial.suggest_float("l1_ratio", 0.0, 1.0),
        }


def _standardise(column: npt.NDArray[np.float32], weight: Floats) -> tuple[float, ...]:
    """Fill, cut, centre and scale a column in place; return fill, low, high, mean and scale."""
    missing = np.isnan(column)
    known = np.sort(column[~missing]).astype(np.float64)
    if known.size == 0:
        column[:] = 0
        return 0.0, 0.0, 0.0, 0.0, 1.0
    fill = known[known.size // 2]
    tail = int(CUT * known.size)
    low, high = known[tail], known[known.size - 1 - tail]
    x = np.clip(np.where(missing, fill, column.astype(np.float64)), low, high)
    mean = float(weight @ x)
    scale = float(np.sqrt(weight @ (x - mean) ** 2)) if high > low else 0.0
    if scale <= 1e-12 * max(abs(low), abs(high)):
        column[:] = 0
        return fill, low, low, low, 1.0
    column[:] = (x - mean) / scale
    return fill, low, high, mean, scale


def _gram(z: npt.NDArray[np.float32], weight: Floats) -> Floats:
    gram = np.zeros((z.shape[1], z.shape[1]))
    root = np.sqrt(weight)
    for i in range(0, len(z), _CHUNK):
        part = z[i : i + _CHUNK] * root[i : i + _CHUNK, None]
        gram += part.T @ part
    return gram


def _minimise(
    rows: StandardRows, y: Classes, classes: int, lasso: float, ridge: float
) -> tuple[Floats, Floats, bool]:
    """Return coefficients, shape (classes, k), intercepts, and whether a step became too small."""
    truth = np.eye(classes)[y]
    weight = rows.weight[:, None]
    intercept = np.log((weight * truth).sum(axis=0))
    coefficients = np.zeros((classes, rows.z.shape[1]))
    before = np.inf
    for _ in range(MOST_STEPS):
        score = rows.z @ coefficients.T.astype(np.float32) + intercept
        score -= score.max(axis=1, keepdims=True)
        odds = np.exp(score)
        total = odds.sum(axis=1, keepdims=True)
        loss = float((weight[:, 0] * (np.log(total[:, 0]) - score[np.arange(len(y)), y])).sum())
        loss += lasso * np.abs(coefficients).sum() + ridge / 2 * (coefficients**2).sum()
        if before - loss < TOLERANCE:
            return coefficients, intercept, True
        before = loss
        error = weight * (odds / total - truth)
        slope = (rows.z.T @ error.astype(np.float32)).T.astype(np.float64)
        intercept = intercept - 2 * error.sum(axis=0)
        for one, gradient in zip(coefficients, slope, strict=True):
            _descend(one, gradient, rows.gram, lasso, ridge)
    return coefficients, intercept, False


@numba.njit(cache=True)
def _descend(beta: Floats, gradient: Floats, gram: Floats, lasso: float, ridge: float) -> None:
    """Minimise ``gradient @ d + d @ gram @ d / 4`` plus the penalty of ``beta + d``, over d, in place."""
    for _ in range(MOST_SWEEPS):
        furthest = 0.0
        for j in range(beta.size):
            bend = gram[j, j] / 2
            if bend == 0:
                continue
            wish = bend * beta[j] - gradient[j]
            kept = max(abs(wish) - lasso, 0.0)
            step = (kept if wish > 0 else -kept) / (bend + ridge) - beta[j]
            if step != 0:
                beta[j] += step
                for i in range(beta.size):
                    gradient[i] += gram[j, i] * step / 2
                furthest = max(furthest, abs(step))
        if furthest < 1e-5:
            return


MODEL = LogisticModel
