"""Temporal convolutional network with attention pooling (PyTorch), swept over each symbol's history."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from serving.observations import Observations
from serving.predictors.tcn import TCNPredictor, load
from serving.sequences.architecture import Architecture
from training.models.protocol import Floats, Trial
from training.samples import Samples
from training.sequences import CONTEXT_LIMIT

if TYPE_CHECKING:
    from training.sequences.windows import Prepared

MODEL_FILE = "model.json"

SHAPE: dict[str, int] = {
    "channels": 32,
    "levels": 5,
    "kernel": 3,
    "pool_levels": 5,
    "heads": 4,
}
CUT: dict[str, int] = {"segment_bars": 128, "batch": 16}
LEARNING: dict[str, Any] = {
    "epochs": 16,
    "patience": 4,
    "learning_rate": 0.001,
    "warm_up": 0.1,
    "weight_decay": 1.0,
    "dropout": 0.5,
    "feature_dropout": 0.3,
    "focal_gamma": 0.0,
    "mixup_alpha": 0.0,
}
DEFAULTS: dict[str, Any] = {**SHAPE, **CUT, **LEARNING, "refit": True}


class TCNModel:
    """Causal dilated convolutions over the last `context_bars` bars of the row's symbol.

    Parameters
    ----------
    params : dict
        Over `DEFAULTS`. `channels`, `levels`, `kernel`, `pool_levels` and `heads` are the network's
        (see `serving.sequences.architecture`); a batch has `batch` segments of `segment_bars` learned
        bars each, and fewer where there are few; `refit` learns anew from all samples, the newest with
        them, for as many epochs as did best; the others are `training.sequences.loop.Learning`'s.
    seed : int
        Seed of first weights, segment borders, their order, dropout and mixtures.
    threads : int
        Not used: a fit and its sweeps take one thread, so that the model does not depend on it.

    Raises
    ------
    ValueError
        On a parameter that is not one of `DEFAULTS`, or that makes no network.
    """

    name: ClassVar[str] = "tcn"
    kind: ClassVar[str] = "sequence"
    predictor_kind: ClassVar[str] = "tcn"
    context_bars: int = Architecture(features=1, **SHAPE).context_bars

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        if unknown := sorted(set(params) - set(DEFAULTS)):
            raise ValueError(
                f"tcn has no parameter {', '.join(unknown)}; known are {', '.join(DEFAULTS)}"
            )
        self.params = {**DEFAULTS, **params}
        self.seed = seed
        self.threads = threads
        self.context_bars = self._architecture(features=1).context_bars
        if self.context_bars > CONTEXT_LIMIT:
            raise ValueError(
                f"the network looks back {self.context_bars} bars; the most is {CONTEXT_LIMIT}: "
                "use fewer levels, a smaller kernel or fewer pool_levels"
            )
        self.tail_losses: list[float] = []
        self._fitted: TCNPredictor | None = None
        self._importance: Floats = np.empty(0)

    def prepare(self, samples: Samples) -> "Prepared":
        """Scale, split and index the rows once; see `training.sequences.windows.prepare`."""
        from training.sequences.windows import prepare

        return prepare(samples)

    def fit_prepared(self, prepared: "Prepared") -> Self:
        """Fit on prepared rows for the epochs that foretell the last of them in time best."""
        from serving.sequences.temporal import TemporalNet, one_thread
        from training.sequences.loop import Learning, gradient_shares, learn, relearn
        from training.sequences.start import class_shares, initialise
        from training.sequences.windows import Cut

        net = TemporalNet(self._architecture(prepared.scaled.shape[1] - 1))
        learning = Learning(**{name: self.params[name] for name in LEARNING})
        cut = Cut(self.context_bars, self.params["segment_bars"], self.params["batch"])
        shares = class_shares(prepared.y[prepared.fit], prepared.weight[prepared.fit])
        with one_thread():
            initialise(net, shares, seed=self.seed)
            self.tail_losses = learn(net, prepared, cut, learning, seed=self.seed)
            if self.params["refit"]:
                initialise(net, class_shares(prepared.y, prepared.weight), seed=self.seed)
                epochs = int(np.argmin(self.tail_losses))
                relearn(net, prepared, cut, learning, epochs=epochs, seed=self.seed)
            self._importance = gradient_shares(net, prepared, cut)
        self._fitted = TCNPredictor(net.requires_grad_(False), prepared.scaling)
        return self

    def fit(self, samples: Samples) -> Self:
        """Fit on samples."""
        return self.fit_prepared(self.prepare(samples))

    @property
    def predictor(self) -> TCNPredictor:
        """The fitted network; ValueError before a fit."""
        if self._fitted is None:
            raise ValueError("the model is not fitted; call fit first")
        return self._fitted

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        return self.predictor.predict_proba(observations)

    def importance(self) -> Floats:
        """Return each feature's share of `|gradient * input|` on the tail of the fit, shape (k,)."""
        return self._importance

    @staticmethod
    def space(trial: Trial) -> dict[str, Any]:
        """Return parameters suggested by `trial`: how far it looks back, and how it is held back."""
        return {
            "levels": trial.suggest_int("levels", 3, 5),
            "pool_levels": trial.suggest_int("pool_levels", 2, 5),
            "channels": trial.suggest_int("channels", 16, 48, step=16),
            "learning_rate": trial.suggest_float("learning_rate", 0.0003, 0.003, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 0.03, 3.0, log=True),
            "dropout": trial.suggest_float("dropout", 0.1, 0.6),
            "feature_dropout": trial.suggest_float("feature_dropout", 0.0, 0.6),
            "focal_gamma": trial.suggest_float("focal_gamma", 0.0, 1.0),
            "mixup_alpha": trial.suggest_float("mixup_alpha", 0.0, 0.4),
        }

    def save(self, folder: Path) -> None:
        """Write the network's files and `model.json`."""
        self.predictor.save(folder)
        state = {
            "params": self.params,
            "seed": self.seed,
            "threads": self.threads,
            "tail_losses": self.tail_losses,
            "importance": self._importance.tolist(),
        }
        (folder / MODEL_FILE).write_text(json.dumps(state, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; ValueError if a file is missing or damaged."""
        path = folder / MODEL_FILE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            model = cls(state["params"], seed=state["seed"], threads=state["threads"])
            model.tail_losses = state["tail_losses"]
            model._importance = np.array(state["importance"])
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} does not hold a tcn ({error}); save the model anew") from None
        model._fitted = load(folder)
        return model

    def _architecture(self, features: int) -> Architecture:
        return Architecture(features, **{name: self.params[name] for name in SHAPE})


MODEL = TCNModel
