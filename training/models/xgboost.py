"""Gradient-boosted trees by histogram (XGBoost), NaN-native."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from serving.predictors.xgboost import XGBoostPredictor
from training.models.protocol import Floats, Trial
from training.models.row_model import RowModel, shares
from training.samples import Samples

if TYPE_CHECKING:
    import xgboost

MAX_BIN = 64


class XGBoostModel(RowModel[XGBoostPredictor]):
    """Multi-class boosting with `multi:softprob`.

    Parameters are `rounds` and XGBoost's own names. A missing value takes the branch that the training
    rows without a value at that split were better off in.
    """

    name: ClassVar[str] = "xgboost"
    kind: ClassVar[str] = "trees"
    predictor_kind: ClassVar[str] = "xgboost"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "rounds": 100,
        "max_depth": 4,
        "learning_rate": 0.05,
        "subsample": 0.7,
        "colsample_bytree": 0.5,
        "min_child_weight": 20.0,
        "reg_lambda": 1.0,
        "gamma": 0.0,
    }

    def prepare(self, samples: Samples) -> "xgboost.QuantileDMatrix":
        """Bin the rows once; bin edges come from these rows only."""
        import xgboost

        return xgboost.QuantileDMatrix(
            samples.observations.asked,
            label=samples.y,
            weight=samples.weight,
            max_bin=MAX_BIN,
            nthread=self.threads,
        )

    def fit_prepared(self, prepared: "xgboost.QuantileDMatrix") -> Self:
        """Fit on binned rows."""
        import xgboost

        settings = {
            **self.params,
            "objective": "multi:softprob",
            "num_class": 3,
            "tree_method": "hist",
            "max_bin": MAX_BIN,
            "nthread": self.threads,
            "seed": self.seed,
            "verbosity": 0,
        }
        rounds = settings.pop("rounds")
        booster = xgboost.train(settings, prepared, num_boost_round=rounds)
        self._fitted = XGBoostPredictor(booster, self.threads)
        return self

    def importance(self) -> Floats:
        """Return each feature's share of the total gain, shape (k,)."""
        booster = self.predictor.booster
        gains = np.zeros(booster.num_features())
        for name, gain in booster.get_score(importance_type="total_gain").items():
            gains[int(name.removeprefix("f"))] = gain
        return shares(gains)

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


MODEL = XGBoostModel
