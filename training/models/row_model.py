"""What the models of rows have in common: parameters over defaults, one file of state, one predictor."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from serving.observations import Observations
from serving.predictors import Predictor, load_predictor
from training.models.protocol import Floats
from training.samples import Samples

PARAMS_FILE = "model.json"

Fitted = TypeVar("Fitted", bound=Predictor)


class RowModel(ABC, Generic[Fitted]):
    """A model that looks at each row by itself; all it learns is in its predictor.

    Parameters
    ----------
    params : dict
        Over `DEFAULTS`.
    seed : int
        Seed of all that is drawn.
    threads : int
        Threads of a fit, and of its predictions; the model does not depend on it.

    Raises
    ------
    ValueError
        On a parameter that is not one of `DEFAULTS`.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    predictor_kind: ClassVar[str]
    DEFAULTS: ClassVar[dict[str, Any]]
    context_bars = 1

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        if unknown := sorted(set(params) - set(self.DEFAULTS)):
            raise ValueError(
                f"{self.name} has no parameter {', '.join(unknown)}; "
                f"known are {', '.join(self.DEFAULTS)}"
            )
        self.params = {**self.DEFAULTS, **params}
        self.seed = seed
        self.threads = threads
        self._fitted: Fitted | None = None

    @abstractmethod
    def prepare(self, samples: Samples) -> Any:
        """Return training samples in the model's own form, to be reused by many `fit_prepared`."""

    @abstractmethod
    def fit_prepared(self, prepared: Any) -> Self:
        """Fit on what `prepare` returned."""

    @abstractmethod
    def importance(self) -> Floats:
        """Return each feature's share, shape (k,); sums to 1, or all 0."""

    def fit(self, samples: Samples) -> Self:
        """Fit on samples."""
        return self.fit_prepared(self.prepare(samples))

    @property
    def predictor(self) -> Fitted:
        """What serves the fitted model; ValueError before a fit."""
        if self._fitted is None:
            raise ValueError("the model is not fitted; call fit first")
        return self._fitted

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        return self.predictor.predict_proba(observations)

    def save(self, folder: Path) -> None:
        """Write the predictor's files and `model.json`."""
        self.predictor.save(folder)
        text = json.dumps(self._state(), sort_keys=True)
        (folder / PARAMS_FILE).write_text(text, encoding="utf-8")

    def _state(self) -> dict[str, Any]:
        return {"params": self.params, "seed": self.seed, "threads": self.threads}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; ValueError if a file is missing or damaged."""
        path = folder / PARAMS_FILE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            model = cls(state["params"], seed=state["seed"], threads=state["threads"])
        except (OSError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} does not hold the parameters of a {cls.name} ({error}); save the model anew"
            ) from None
        model._fitted = cast(Fitted, load_predictor(cls.predictor_kind, folder))
        return model


def shares(gains: Floats) -> Floats:
    """Return gains, shape (k,), as shares that sum to 1; all 0 where nothing was gained."""
    total = gains.sum()
    return gains / total if total > 0 else gains
