"""Models by name, one a file, and the model that a configuration asks for."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from training.config import TrainingConfig

if TYPE_CHECKING:
    from training.models.protocol import Model, Trial

MODELS = {
    "xgboost": "training.models.xgboost",
    "lightgbm": "training.models.lightgbm",
    "catboost": "training.models.catboost",
    "random_forest": "training.models.random_forest",
    "logistic": "training.models.logistic",
    "tcn": "training.models.tcn",
    "voting": "training.models.voting",
    "blending": "training.models.blending",
    "stacking": "training.models.stacking",
    "multi_horizon": "training.models.multi_horizon",
    "grouped": "training.models.grouped",
}
"""Name of a model -> the module that offers it as `MODEL`; imported when asked for."""


def model_class(name: str) -> "type[Model]":
    """Return the model called `name`; ValueError naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model {name!r} is not known; known are {', '.join(MODELS)}")
    model: type[Model] = import_module(MODELS[name]).MODEL
    return model


def make_model(config: TrainingConfig, params: Mapping[str, Any]) -> "Model":
    """Return the unfitted model that `config` asks for; what `config` fixes wins over `params`.

    Raises
    ------
    ValueError
        If there is no such model, or `config` asks for an ensemble that cannot be.
    """
    name, fixed = _asked_for(config)
    chosen = {**params, **fixed}
    return model_class(name)(chosen, seed=config.search.seed, threads=config.threads)


def suggest(config: TrainingConfig, trial: "Trial") -> dict[str, Any]:
    """Return what `trial` suggests for the model that `config` asks for."""
    from training.models.ensemble import Ensemble
    from training.models.members import DEFAULT_MEMBERS

    model = model_class(config.model)
    if issubclass(model, Ensemble):
        return model.space(trial, config.members or DEFAULT_MEMBERS, config.member_params)
    return model.space(trial)


def _asked_for(config: TrainingConfig) -> tuple[str, dict[str, Any]]:
    """Return the name of the model that is made, and the parameters that `config` fixes."""
    from training.models.ensemble import Ensemble
    from training.models.members import DEFAULT_MEMBERS

    fixed: dict[str, Any] = dict(config.model_params)
    if config.model == "grouped":
        raise ValueError(
            "training.model is grouped; name the model itself there, "
            "and set training.scope to symbol or cluster"
        )
    if issubclass(model_class(config.model), Ensemble):
        fixed["members"] = list(config.members or DEFAULT_MEMBERS)
        for member, params in config.member_params.items():
            fixed |= {f"{member}.{name}": value for name, value in params.items()}
    if config.scope == "global":
        return config.model, fixed
    group = {"by": config.scope, "clusters": config.clusters, "min_rows": config.group_min_rows}
    return "grouped", {**fixed, **group, "model": config.model}
