"""Models by name, one a file."""

from training.models.protocol import Model
from training.models.xgboost import XGBoostModel

MODELS: dict[str, type[Model]] = {XGBoostModel.name: XGBoostModel}


def model_class(name: str) -> type[Model]:
    """Return the model called `name`; ValueError naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known; known are {', '.join(MODELS)}")
    return MODELS[name]
