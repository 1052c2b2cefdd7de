"""Members whose out-of-fold probabilities teach a multinomial logistic regression how to combine them."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from serving.predictors.stacking import StackingPredictor, log_evidence, softmax
from training.models.composite import served
from training.models.ensemble import Ensemble
from training.models.out_of_fold import EnsembleForm, out_of_fold_proba
from training.models.protocol import Floats, Model
from training.models.row_model import shares


class StackingModel(Ensemble):
    """A log-linear combination of the members, learned from purged out-of-fold predictions.

    Parameters
    ----------
    params : dict
        As in `Ensemble`; `folds` inner purged folds, `l2` as in `fit_log_linear`.
    seed, threads : int
    """

    name: ClassVar[str] = "stacking"
    predictor_kind: ClassVar[str] = "stacking"
    DEFAULTS: ClassVar[dict[str, Any]] = {"folds": 3, "l2": 0.01}

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        super().__init__(params, seed=seed, threads=threads)
        if not self.params["l2"] > 0:
            raise ValueError(f"{self.name}: l2 is {self.params['l2']}; use a number above 0")

    def _combined(
        self, form: EnsembleForm, members: list[Model], /
    ) -> tuple[StackingPredictor, list[float]]:
        evidence = log_evidence(out_of_fold_proba(form, lambda: self._fresh(form)))
        samples = form.samples
        coefficients, intercept = fit_log_linear(
            evidence, samples.y, samples.weight, l2=self.params["l2"]
        )
        # What is added to all classes alike changes no probability.
        telling = np.abs(coefficients - coefficients.mean(axis=1, keepdims=True))
        used = shares(telling.reshape(len(members), -1).sum(axis=1))
        return StackingPredictor(served(members), coefficients, intercept), used.tolist()


def fit_log_linear(
    evidence: Floats, y: npt.NDArray[np.int64], weight: Floats, *, l2: float
) -> tuple[Floats, Floats]:
    """Return coefficients, shape (3 m, 3), and intercept, shape (3,), of a regularised softmax.

    Minimises the weighted mean log loss of `softmax(intercept + evidence @ coefficients)`
    plus `l2 / 2` times the squared distance of the coefficients from those of equal members (the
    geometric mean of their probabilities): without evidence, that is what members are worth.

    Parameters
    ----------
    evidence : array of float64, shape (n, 3 m)
        Log probabilities of m members, as `log_evidence` lays them.
    y : array of int64, shape (n,)
    weight : array of float64, shape (n,)
        Positive, mean 1.
    l2 : float
        Above 0. Log probabilities that differ by d from row to row outweigh it at about d squared.

    Notes
    -----
    The objective is strictly convex in the coefficients; solved by L-BFGS.
    """
    from scipy.optimize import minimize

    columns = evidence.shape[1]
    equal = np.tile(np.eye(3), (columns // 3, 1)) / (columns // 3)
    happened, row_share = np.eye(3)[y], weight / weight.sum()

    def loss(flat: Floats) -> tuple[float, Floats]:
        table = flat.reshape(columns + 1, 3)
        proba = softmax(evidence @ table[:-1] + table[-1])
        away = table[:-1] - equal
        chosen = np.maximum((proba * happened).sum(axis=1), 1e-300)
        value = -row_share @ np.log(chosen) + 0.5 * l2 * (away**2).sum()
        excess = (proba - happened) * row_share[:, None]
        slope = np.vstack([evidence.T @ excess + l2 * away, excess.sum(axis=0)])
        return float(value), slope.ravel()

    start = np.vstack([equal, np.zeros(3)]).ravel()
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    table = found.x.reshape(columns + 1, 3)
    return table[:-1], table[-1]


MODEL = StackingModel
