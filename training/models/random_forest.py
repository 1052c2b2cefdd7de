"""A random forest (scikit-learn), NaN-native, on binned features."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from serving.predictors.random_forest import Forest, RandomForestPredictor
from training.models.protocol import Floats, Trial
from training.models.row_model import RowModel
from training.samples import Classes, Samples

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

BINS = 255


@dataclass(frozen=True)
class BinnedRows:
    """Training rows as numbers of bins, a float32 column a feature; NaN stays NaN.

    Parameters
    ----------
    codes : array of float32, shape (n, k)
        How many of the column's edges are below the value.
    edges : list of k arrays of float32
        Rising quantiles of these rows' values.
    y, weight
        As in `Samples`.
    """

    codes: npt.NDArray[np.float32]
    edges: list[npt.NDArray[np.float32]]
    y: Classes
    weight: Floats


class RandomForestModel(RowModel[RandomForestPredictor]):
    """Shallow trees, each grown on a draw of few rows and, at each split, few columns.

    Parameters are scikit-learn's own names. Labels overlap, so a tree is given a draw of a tenth of the
    rows (Lopez de Prado 2018, 6.4), drawn with replacement and a chance in proportion to weight. Trees
    are grown on bins, which costs a third of the time of growing them on values, and hold edges of
    bins as thresholds. A missing value takes the branch that the training rows without a value at that
    split were better off in.
    """

    name: ClassVar[str] = "random_forest"
    kind: ClassVar[str] = "trees"
    predictor_kind: ClassVar[str] = "random_forest"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "n_estimators": 100,
        "max_depth": 8,
        "max_features": 0.1,
        "max_samples": 0.1,
        "min_samples_leaf": 10,
    }

    def prepare(self, samples: Samples) -> BinnedRows:
        """Bin the rows once; bin edges come from these rows only."""
        codes = np.array(samples.observations.asked, order="F")
        edges = [_to_bins(column) for column in codes.T]
        return BinnedRows(codes, edges, samples.y, samples.weight)

    def fit_prepared(self, prepared: BinnedRows) -> Self:
        """Fit on binned rows."""
        from sklearn.ensemble import RandomForestClassifier

        drawn = max(1, round(self.params["max_samples"] * len(prepared.y)))
        forest = RandomForestClassifier(
            **{**self.params, "max_samples": drawn}, n_jobs=self.threads, random_state=self.seed
        )
        forest.fit(prepared.codes, prepared.y, prepared.weight)
        self._fitted = RandomForestPredictor(_as_arrays(forest, prepared.edges))
        return self

    def importance(self) -> Floats:
        """Return each feature's mean share of a tree's decrease of Gini impurity, shape (k,)."""
        return self.predictor.forest.importance

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`: shallow trees of large leaves."""
        return {
            "n_estimators": trial.suggest_int("n_estimators", 60, 160, step=20),
            "max_depth": trial.suggest_int("max_depth", 3, 10),
            "max_features": trial.suggest_float("max_features", 0.03, 0.3, log=True),
            "max_samples": trial.suggest_float("max_samples", 0.05, 0.3, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 50, step=5),
        }


def _to_bins(column: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Replace a column's values by their bins and return the edges between them."""
    known = ~np.isnan(column)
    ordered = np.sort(column[known])
    places = np.arange(1, BINS) * ordered.size // BINS
    edges = np.unique(ordered[places]) if ordered.size else ordered
    column[known] = np.searchsorted(edges, column[known])
    return edges


def _as_arrays(forest: "RandomForestClassifier", edges: list[npt.NDArray[np.float32]]) -> Forest:
    """Lay the trees out one after the other, their thresholds as values instead of bins."""
    trees = [one.tree_ for one in forest.estimators_]
    root = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    feature = np.concatenate([tree.feature for tree in trees])
    feature = np.where(feature < 0, -1, feature)
    code = np.concatenate([tree.threshold for tree in trees])
    probability = np.zeros((feature.size, 3))
    shares = np.concatenate([tree.value[:, 0, :] for tree in trees])
    probability[:, forest.classes_] = shares / shares.sum(axis=1, keepdims=True)
    return Forest(
        root=root.astype(np.int32),
        feature=feature.astype(np.int32),
        threshold=_values(feature, code, edges),
        left=_children(trees, root, "children_left"),
        right=_children(trees, root, "children_right"),
        missing_left=np.concatenate([tree.missing_go_to_left.astype(np.bool_) for tree in trees]),
        probability=probability,
        importance=np.asarray(forest.feature_importances_, np.float64),
    )


def _values(
    feature: npt.NDArray[np.int64], code: Floats, edges: list[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """Return the values that thresholds between bins stand for.

    A code of at most c means that at most c edges are below the value: that it is up to edge c.
    The code is infinite where a split only tells missing from known, and so is the value.
    """
    value = code.astype(np.float32)
    for place in np.flatnonzero((feature >= 0) & np.isfinite(code)):
        value[place] = edges[feature[place]][int(code[place])]
    return value


def _children(trees: list[Any], root: npt.NDArray[np.int64], side: str) -> npt.NDArray[np.int32]:
    """Return the places of children among the nodes of all trees."""
    moved = [getattr(tree, side) + first for tree, first in zip(trees, root, strict=True)]
    return np.concatenate(moved).astype(np.int32)


MODEL = RandomForestModel
