"""Gradient-boosted trees grown leaf by leaf (LightGBM), NaN-native."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from serving.predictors.lightgbm import LightGBMPredictor
from training.models.protocol import Floats, Trial
from training.models.row_model import RowModel, shares
from training.samples import Samples

if TYPE_CHECKING:
    import lightgbm

BINNING = {"max_bin": 63, "feature_pre_filter": False, "min_data_in_bin": 3, "verbosity": -1}
"""How features are binned, before any parameter of `space` is known."""


class LightGBMModel(RowModel[LightGBMPredictor]):
    """Multi-class boosting of small trees on few rows and columns each.

    Parameters are `rounds` and LightGBM's own names. Leaves are held to a sum of Hessians, which
    weighs rows, and not to a number of rows, which does not. A missing value takes the branch that the
    training rows without a value at that split were better off in.
    """

    name: ClassVar[str] = "lightgbm"
    kind: ClassVar[str] = "trees"
    predictor_kind: ClassVar[str] = "lightgbm"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "rounds": 100,
        "num_leaves": 16,
        "learning_rate": 0.05,
        "bagging_fraction": 0.5,
        "feature_fraction": 0.3,
        "min_sum_hessian_in_leaf": 20.0,
        "lambda_l1": 0.0,
        "lambda_l2": 5.0,
    }

    def prepare(self, samples: Samples) -> "lightgbm.Dataset":
        """Bin the rows once; bin edges come from these rows only."""
        import lightgbm

        dataset = lightgbm.Dataset(
            samples.observations.asked,
            label=samples.y,
            weight=samples.weight,
            params={**BINNING, "num_threads": self.threads},
        )
        return dataset.construct()

    def fit_prepared(self, prepared: "lightgbm.Dataset") -> Self:
        """Fit on binned rows."""
        import lightgbm

        settings = {
            **self.params,
            **BINNING,
            "objective": "multiclass",
            "num_class": 3,
            "min_data_in_leaf": 1,
            "bagging_freq": 1,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
        }
        rounds = settings.pop("rounds")
        booster = lightgbm.train(settings, prepared, num_boost_round=rounds)
        self._fitted = LightGBMPredictor(booster, self.threads)
        return self

    def importance(self) -> Floats:
        """Return each feature's share of the total gain, shape (k,)."""
        return shares(np.asarray(self.predictor.booster.feature_importance("gain"), np.float64))

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`: small, slow, heavily regularised ensembles."""
        return {
            "rounds": trial.suggest_int("rounds", 40, 200, step=20),
            "num_leaves": trial.suggest_int("num_leaves", 4, 32, step=4),
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.15, log=True),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.25, 0.8),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.1, 0.5),
            "min_sum_hessian_in_leaf": trial.suggest_float(
                "min_sum_hessian_in_leaf", 5.0, 200.0, log=True
            ),
            "lambda_l1": trial.suggest_float("lambda_l1", 0.001, 10.0, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 100.0, log=True),
        }


MODEL = LightGBMModel
