"""Models by name, one a file."""

from importlib import import_module

from training.models.protocol import Model

MODELS = {"xgboost": "training.models.xgboost"}
"""Name of a model -> the module that offers it as `MODEL`; imported when asked for."""


def model_class(name: str) -> type[Model]:
    """Return the model called `name`; ValueError naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known; known are {', '.join(MODELS)}")
    model: type[Model] = import_module(MODELS[name]).MODEL
    return model
