"""Models by name, one a file, and the model that a configuration asks for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from training.config import TrainingConfig
from training.models.protocol import Model, Trial

MODELS = {"xgboost": "training.models.xgboost"}
"""Name of a model -> the module that offers it as `MODEL`; imported when asked for."""


def model_class(name: str) -> type[Model]:
    """Return the model called `name`; ValueError naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known; known are {', '.join(MODELS)}")
    model: type[Model] = import_module(MODELS[name]).MODEL
    return model


def make_model(config: TrainingConfig, params: Mapping[str, Any]) -> Model:
    """Return the unfitted model that `config` asks for; what `config` fixes wins over `params`."""
    chosen = {**params, **config.model_params}
    return model_class(config.model)(chosen, seed=config.search.seed, threads=config.threads)


def suggest(config: TrainingConfig, trial: Trial) -> dict[str, Any]:
    """Return what `trial` suggests for the model that `config` asks for."""
    return model_class(config.model).space(trial)
