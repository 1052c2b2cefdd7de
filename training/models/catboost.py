"""Gradient-boosted oblivious trees (CatBoost), NaN-native."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from serving.predictors.catboost import CatBoostPredictor
from training.errors import TooLittleData
from training.models.protocol import Floats, Trial
from training.models.row_model import RowModel, shares
from training.samples import Samples

if TYPE_CHECKING:
    import catboost

BORDERS = 64


class CatBoostModel(RowModel[CatBoostPredictor]):
    """Multi-class boosting of trees that ask one question a level.

    Parameters are CatBoost's own names. Boosting is plain: ordered boosting guards against target
    leakage of categorical features, which there are none of. Splits are scored without added noise
    (`random_strength` 0), which was better and no slower. A missing value stands below every split.
    """

    name: ClassVar[str] = "catboost"
    kind: ClassVar[str] = "trees"
    predictor_kind: ClassVar[str] = "catboost"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "iterations": 80,
        "depth": 5,
        "learning_rate": 0.1,
        "subsample": 0.5,
        "rsm": 0.3,
        "l2_leaf_reg": 20.0,
        "random_strength": 0.0,
    }

    def prepare(self, samples: Samples) -> "catboost.Pool":
        """Bin the rows once; borders come from these rows only. TooLittleData if no feature varies."""
        import catboost

        pool = catboost.Pool(
            samples.observations.asked,
            label=samples.y,
            weight=samples.weight,
            thread_count=self.threads,
        )
        with _refusals(pool):
            pool.quantize(border_count=BORDERS, random_seed=self.seed)
        return pool

    def fit_prepared(self, prepared: "catboost.Pool") -> Self:
        """Fit on binned rows; TooLittleData if CatBoost finds nothing in them to learn."""
        import catboost

        settings = {
            **self.params,
            "loss_function": "MultiClass",
            "border_count": BORDERS,
            "boosting_type": "Plain",
            "bootstrap_type": "Bernoulli",
            "score_function": "L2",
            "leaf_estimation_iterations": 1,
            "thread_count": self.threads,
            "random_seed": self.seed,
            "logging_level": "Silent",
            "allow_writing_files": False,
        }
        with _refusals(prepared):
            trees = catboost.CatBoost(settings).fit(prepared)
        self._fitted = CatBoostPredictor(trees, self.threads)
        return self

    def importance(self) -> Floats:
        """Return each feature's share of the change of predictions that its splits make, shape (k,)."""
        return shares(np.asarray(self.predictor.trees.get_feature_importance(), np.float64))

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`: small, slow, heavily regularised ensembles."""
        return {
            "iterations": trial.suggest_int("iterations", 40, 160, step=20),
            "depth": trial.suggest_int("depth", 2, 6),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "subsample": trial.suggest_float("subsample", 0.25, 0.8),
            "rsm": trial.suggest_float("rsm", 0.1, 0.5),
            "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 1.0, 200.0, log=True),
        }


@contextmanager
def _refusals(pool: "catboost.Pool") -> Iterator[None]:
    """Say in a TooLittleData what CatBoost cannot learn from."""
    import catboost

    try:
        yield
    except catboost.CatBoostError as error:
        raise TooLittleData(
            f"catboost finds nothing to learn in {pool.num_row()} rows ({error}); "
            "give it more rows, two classes and a feature that varies"
        ) from None


MODEL = CatBoostModel
