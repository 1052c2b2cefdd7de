"""What a model must offer to be searched, fitted, judged and served."""

from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from serving.predictors import Predictor

Matrix = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Trial(Protocol):
    """One set of hyper-parameters under trial (the part of Optuna's trial that is used here)."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return a whole number in [low, high]."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number in [low, high]."""

    def report(self, value: float, step: int) -> None:
        """Tell the value after `step` folds."""

    def should_prune(self) -> bool:
        """Say whether the trial is not worth another fold."""


class Model(Protocol):
    """A classifier of the classes 0 (down), 1 (flat), 2 (up).

    A refit forgets; the same seed, rows and threads give the same model; a class that is absent
    from `y` gets probability close to 0, never an error.
    """

    name: ClassVar[str]
    predictor_kind: ClassVar[str]

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None: ...

    def prepare(self, X: Matrix, y: Classes, weight: Floats) -> Any:
        """Return training rows in the model's own form, to be reused by many `fit_prepared`.

        The form depends on nothing that `space` varies.
        """

    def fit_prepared(self, prepared: Any) -> Self:
        """Fit on what `prepare` returned."""

    def fit(self, X: Matrix, y: Classes, weight: Floats) -> Self:
        """Fit on rows X, shape (n, k), NaN meaning missing."""

    def predict_proba(self, X: Matrix) -> Floats:
        """Return (p_down, p_flat, p_up), shape (n, 3)."""

    def importance(self) -> Floats:
        """Return each feature's share of the fit's gain, shape (k,); sums to 1, or all 0."""

    @property
    def predictor(self) -> Predictor:
        """What serves the fitted model."""

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`."""

    def save(self, folder: Path) -> None:
        """Write the fitted model into the existing `folder`; no pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
