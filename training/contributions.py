"""Shapley values of the tree libraries' own making: how far each column moved a prediction.

References
----------
Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from serving.observations import Matrix
from training.models.protocol import Floats, Model


def mean_contributions(model: Model, X: Matrix) -> Floats | None:
    """Return the mean absolute Shapley value of every column, over rows and classes [log odds].

    Parameters
    ----------
    model : Model
        Fitted.
    X : array of float32, shape (n, k)
        Rows that are explained.

    Returns
    -------
    array of float64, shape (k,), or None
        None for a model whose library cannot tell.
    """
    explain = _EXPLAINED.get(model.predictor_kind)
    if explain is None:
        return None
    values = explain(model.predictor, X).reshape(len(X), -1, X.shape[1] + 1)
    mean: Floats = np.abs(values[:, :, :-1]).mean(axis=(0, 1), dtype=np.float64)
    return mean


def _xgboost(predictor: Any, X: Matrix) -> Floats:
    import xgboost

    rows = xgboost.DMatrix(X, nthread=max(predictor.threads, 1))
    predictor.booster.set_param({"nthread": max(predictor.threads, 1)})
    return np.asarray(predictor.booster.predict(rows, pred_contribs=True))


def _lightgbm(predictor: Any, X: Matrix) -> Floats:
    threads = max(predictor.threads, 1)
    return np.asarray(predictor.booster.predict(X, pred_contrib=True, num_threads=threads))


def _catboost(predictor: Any, X: Matrix) -> Floats:
    import catboost

    values: Floats = predictor.trees.get_feature_importance(
        catboost.Pool(X), type="ShapValues", thread_count=max(predictor.threads, 1)
    )
    return values


_EXPLAINED: dict[str, Callable[[Any, Matrix], Floats]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
}
