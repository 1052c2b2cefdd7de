"""Gradient-boosted trees by histogram (XGBoost), NaN-native."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xgboost

from serving.observations import Observations
from serving.predictors.xgboost import XGBoostPredictor, load
from training.models.protocol import Floats, Trial
from training.samples import Samples

PARAMS_FILE = "model.json"
MAX_BIN = 64

DEFAULTS: dict[str, Any] = {
    "rounds": 100,
    "max_depth": 4,
    "learning_rate": 0.05,
    "subsample": 0.7,
    "colsample_bytree": 0.5,
    "min_child_weight": 20.0,
    "reg_lambda": 1.0,
    "gamma": 0.0,
}


class XGBoostModel:
    """Multi-class boosting with `multi:softprob`.

    Parameters
    ----------
    params : dict
        Over `DEFAULTS`: `rounds` and XGBoost's own names.
    seed : int
        Seed of row and column sampling.
    threads : int
        Threads of a fit; the model does not depend on it.

    Raises
    ------
    ValueError
        On a parameter that is not one of `DEFAULTS`.
    """

    name: ClassVar[str] = "xgboost"
    kind: ClassVar[str] = "trees"
    predictor_kind: ClassVar[str] = "xgboost"
    context_bars = 1

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        if unknown := sorted(set(params) - set(DEFAULTS)):
            raise ValueError(
                f"xgboost has no parameter {', '.join(unknown)}; known are {', '.join(DEFAULTS)}"
            )
        self.params = {**DEFAULTS, **params}
        self.seed = seed
        self.threads = threads
        self._fitted: XGBoostPredictor | None = None

    def prepare(self, samples: Samples) -> xgboost.QuantileDMatrix:
        """Bin the rows once; bin edges come from these rows only."""
        return xgboost.QuantileDMatrix(
            samples.observations.asked,
            label=samples.y,
            weight=samples.weight,
            max_bin=MAX_BIN,
            nthread=self.threads,
        )

    def fit_prepared(self, prepared: xgboost.QuantileDMatrix) -> Self:
        """Fit on binned rows."""
        settings = {
            **self.params,
            "objective": "multi:softprob",
            "num_class": 3,
            "tree_method": "hist",
            "max_bin": MAX_BIN,
            "nthread": self.threads,
            "seed": self.seed,
        }
        rounds = settings.pop("rounds")
        self._fitted = XGBoostPredictor(xgboost.train(settings, prepared, num_boost_round=rounds))
        return self

    def fit(self, samples: Samples) -> Self:
        """Fit on samples."""
        return self.fit_prepared(self.prepare(samples))

    @property
    def predictor(self) -> XGBoostPredictor:
        """The fitted booster; ValueError before a fit."""
        if self._fitted is None:
            raise ValueError("the model is not fitted; call fit first")
        return self._fitted

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        return self.predictor.predict_proba(observations)

    def importance(self) -> Floats:
        """Return each feature's share of the total gain, shape (k,)."""
        booster = self.predictor.booster
        gains = np.zeros(booster.num_features())
        for name, gain in booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return gains / total if (total := gains.sum()) > 0 else gains

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`: small, slow, heavily regularised ensembles."""
        return {
            "rounds": trial.suggest_int("rounds", 40, 200, step=20),
            "max_depth": trial.suggest_int("max_depth", 2, 6),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.15, log=True),
            "subsample": trial.suggest_float("subsample", 0.4, 0.9),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.2, 0.8),
            "min_child_weight": trial.suggest_float("min_child_weight", 5.0, 200.0, log=True),
            "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 30.0, log=True),
        }

    def save(self, folder: Path) -> None:
        """Write `booster.ubj` and `model.json`."""
        self.predictor.save(folder)
        state = {"params": self.params, "seed": self.seed, "threads": self.threads}
        (folder / PARAMS_FILE).write_text(json.dumps(state, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        state = json.loads((folder / PARAMS_FILE).read_text(encoding="utf-8"))
        model = cls(state["params"], seed=state["seed"], threads=state["threads"])
        model._fitted = load(folder)
        return model


MODEL = XGBoostModel
