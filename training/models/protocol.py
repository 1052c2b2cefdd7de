"""What a model must offer to be searched, fitted, judged and served."""

from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from serving.observations import Observations
from serving.predictors import Predictor
from training.samples import Samples

Floats = npt.NDArray[np.float64]


class Trial(Protocol):
    """One set of hyper-parameters under trial (the part of Optuna's trial that is used here)."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return a whole number in [low, high]."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number in [low, high]."""

    def report(self, value: float, step: int) -> None:
        """Tell the value of fold number `step`."""

    def should_prune(self) -> bool:
        """Say whether the trial is not worth another fold."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON value with the trial."""


class Model(Protocol):
    """A classifier of the classes 0 (down), 1 (flat), 2 (up).

    A refit forgets; the same seed, rows and threads give the same model; a class that is absent
    from `y` gets probability close to 0, never an error.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    """What it is, for people: trees, linear, sequence or ensemble."""
    predictor_kind: ClassVar[str]
    context_bars: int
    """Bars, the row's own included, that it looks at; 1 for a model of rows."""

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None: ...

    def prepare(self, samples: Samples) -> Any:
        """Return training samples in the model's own form, to be reused by many `fit_prepared`.

        The form depends on nothing that `space` varies.
        """

    def fit_prepared(self, prepared: Any) -> Self:
        """Fit on what `prepare` returned."""

    def fit(self, samples: Samples) -> Self:
        """Fit on samples; the same as `fit_prepared(prepare(samples))`."""

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""

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
