"""A random forest as arrays of nodes, walked by a kernel; scikit-learn is not needed to serve it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.kernels import compiled
from serving.observations import Observations
from serving.predictors.arrays import read_arrays, write_arrays

FOREST_FILE = "forest.safetensors"
_ARRAYS = {
    "root": (np.int32, 1),
    "feature": (np.int32, 1),
    "threshold": (np.float32, 1),
    "left": (np.int32, 1),
    "right": (np.int32, 1),
    "missing_left": (np.bool_, 1),
    "probability": (np.float64, 2),
    "importance": (np.float64, 1),
}

Numbers = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forest:
    """All nodes of all trees, one tree after the other; children stand behind their parent.

    Parameters
    ----------
    root : array of int32, shape (trees,)
        First node of each tree.
    feature : array of int32, shape (nodes,)
        Column a node looks at; -1 at a leaf.
    threshold : array of float32, shape (nodes,)
        Values up to it go left.
    left, right : array of int32, shape (nodes,)
        Children; not read at a leaf.
    missing_left : array of bool, shape (nodes,)
        NaN goes left.
    probability : array of float64, shape (nodes, 3)
        Classes among the training rows that reached the node.
    importance : array of float64, shape (k,)
        Each feature's mean share of a tree's decrease of Gini impurity.
    """

    root: Numbers
    feature: Numbers
    threshold: npt.NDArray[np.float32]
    left: Numbers
    right: Numbers
    missing_left: npt.NDArray[np.bool_]
    probability: Floats
    importance: Floats


class RandomForestPredictor:
    """The mean over trees of the class shares in the leaf that a row falls into."""

    context_bars = 1

    def __init__(self, forest: Forest) -> None:
        self.forest = forest

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up), shape (n, 3); NaN takes the branch learned for it.

        Where a split saw no NaN in training, NaN goes to the child with more training rows.
        """
        rows, forest = observations.asked, self.forest
        if rows.shape[1] != forest.importance.size:
            raise ValueError(
                f"X has {rows.shape[1]} columns; the forest knows {forest.importance.size}"
            )
        out = np.zeros((len(rows), 3))
        _walk(
            rows,
            forest.root,
            forest.feature,
            forest.threshold,
            forest.left,
            forest.right,
            forest.missing_left,
            forest.probability,
            out,
        )
        return out

    def save(self, folder: Path) -> None:
        """Write `forest.safetensors`."""
        write_arrays(folder / FOREST_FILE, asdict(self.forest))


@compiled
def _walk(
    rows: npt.NDArray[np.float32],
    root: Numbers,
    feature: Numbers,
    threshold: npt.NDArray[np.float32],
    left: Numbers,
    right: Numbers,
    missing_left: npt.NDArray[np.bool_],
    probability: Floats,
    out: Floats,
) -> None:
    for row in range(rows.shape[0]):
        for tree in range(root.size):
            node = root[tree]
            while feature[node] >= 0:
                value = rows[row, feature[node]]
                goes_left = missing_left[node] if np.isnan(value) else value <= threshold[node]
                node = left[node] if goes_left else right[node]
            for c in range(3):
                out[row, c] += probability[node, c]
        for c in range(3):
            out[row, c] /= root.size


def load(folder: Path) -> RandomForestPredictor:
    """Read `forest.safetensors` from `folder`; ValueError if it is missing or damaged."""
    path = folder / FOREST_FILE
    forest = Forest(**read_arrays(path, _ARRAYS))
    if not _is_walkable(forest):
        raise ValueError(f"{path} holds trees with branches that lead nowhere; save the model anew")
    return RandomForestPredictor(forest)


def _is_walkable(forest: Forest) -> bool:
    """Say whether every walk stays inside the arrays and ends: children stand behind parents."""
    nodes = forest.feature.size
    sizes = {forest.threshold.size, forest.left.size, forest.right.size, forest.missing_left.size}
    if sizes != {nodes} or forest.probability.shape != (nodes, 3) or forest.root.size == 0:
        return False
    inner = np.flatnonzero(forest.feature >= 0)
    children = np.concatenate([forest.left[inner], forest.right[inner]])
    return bool(
        (forest.root >= 0).all()
        and (forest.root < nodes).all()
        and (forest.feature < forest.importance.size).all()
        and (children > np.tile(inner, 2)).all()
        and (children < nodes).all()
    )
