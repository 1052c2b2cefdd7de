"""The members of an ensemble: models by name, with parameters and a search space of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.models import model_class
from training.models.protocol import Model, Trial

DEFAULT_MEMBERS = ("lightgbm", "logistic")
LABEL_MARK = "-"
"""Between a model's name and what tells one member from another of the same model."""
PARAM_MARK = "."
"""Between a member's name and the name of one of its parameters."""


@dataclass(frozen=True)
class MemberSpec:
    """One member: what it is called, which model it is, and how it is made."""

    name: str
    model: type[Model]
    params: dict[str, Any]
    seed: int
    threads: int

    def make(self) -> Model:
        """Return the unfitted model."""
        return self.model(self.params, seed=self.seed, threads=self.threads)


class MemberTrial:
    """A trial as a member sees it: its own names, and nothing to suggest where the hand has decided.

    Parameters
    ----------
    trial : Trial
    member : str
        Goes before every name: `xgboost.rounds`.
    fixed : mapping
        The member's parameters that are fixed.
    """

    def __init__(self, trial: Trial, member: str, fixed: Mapping[str, Any]) -> None:
        self._trial = trial
        self._prefix = f"{member}{PARAM_MARK}"
        self._fixed = fixed

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return the fixed value, or a whole number in [low, high]."""
        if name in self._fixed:
            return int(self._fixed[name])
        return self._trial.suggest_int(self._prefix + name, low, high, step=step)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return the fixed value, or a number in [low, high]."""
        if name in self._fixed:
            return float(self._fixed[name])
        return self._trial.suggest_float(self._prefix + name, low, high, log=log)

    def report(self, value: float, step: int) -> None:
        """Tell the value of fold number `step`."""
        self._trial.report(value, step)

    def should_prune(self) -> bool:
        """Say whether the trial is not worth another fold."""
        return self._trial.should_prune()

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keep a JSON value with the trial, under the member's name."""
        self._trial.set_user_attr(self._prefix + key, value)


def member_models(names: Sequence[str], *, owner: str) -> dict[str, type[Model]]:
    """Return the model of every member by the member's name.

    Raises
    ------
    ValueError
        If there are none, one is there twice, is not known, or is an ensemble itself.
    """
    if not names:
        raise ValueError(
            f"{owner} has no members; name models in training.members, e.g. [xgboost, logistic]"
        )
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise ValueError(
            f"{owner} has {', '.join(twice)} twice; tell them apart by a dash, "
            f"e.g. {twice[0]} and {twice[0]}{LABEL_MARK}2"
        )
    models = {name: model_class(name.split(LABEL_MARK)[0]) for name in names}
    for name, model in models.items():
        if model.kind == "ensemble":
            raise ValueError(
                f"{owner} cannot have the member {name}, which is an ensemble itself; "
                "name the models that it is made of"
            )
    return models


def member_specs(
    names: Sequence[str], params: Mapping[str, Any], *, owner: str, seed: int, threads: int
) -> list[MemberSpec]:
    """Return the members with their shares of `params`, whose names are like `xgboost.rounds`.

    Members have different seeds, or two of the same model would be one.

    Raises
    ------
    ValueError
        As `member_models`, and on parameters of what is not a member.
    """
    models = member_models(names, owner=owner)
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in params.items():
        name, _, param = key.partition(PARAM_MARK)
        if name not in own:
            raise ValueError(
                f"{owner} has the parameter {key} but no member {name}; members are {', '.join(names)}"
            )
        own[name][param] = value
    return [
        MemberSpec(name, model, own[name], seed + place, threads)
        for place, (name, model) in enumerate(models.items())
    ]


def members_space(
    trial: Trial, names: Sequence[str], fixed: Mapping[str, Mapping[str, Any]], *, owner: str
) -> dict[str, Any]:
    """Return what `trial` suggests for all members together, `fixed` parameters as they are."""
    suggested: dict[str, Any] = {}
    for name, model in member_models(names, owner=owner).items():
        of_member = model.space(MemberTrial(trial, name, fixed.get(name, {})))
        suggested |= {f"{name}{PARAM_MARK}{param}": value for param, value in of_member.items()}
    return suggested
