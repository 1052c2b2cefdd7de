"""A model made of fitted models: how it is kept, read, asked and explained."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from serving.observations import Observations
from serving.predictors import Predictor, load_predictor
from serving.predictors.members import Member, member_folder
from training.models import model_class
from training.models.protocol import Floats, Model
from training.models.row_model import shares
from training.samples import Samples
from training.splits import SplitAudit

PARAMS_FILE = "model.json"


class Composite(ABC):
    """A model whose members are models, each in a subfolder of its own.

    Parameters
    ----------
    params : dict
    seed, threads : int
        Handed on to the members.
    """

    kind: ClassVar[str] = "ensemble"
    name: ClassVar[str]
    predictor_kind: ClassVar[str]
    context_bars: int

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        self.params = params
        self.seed = seed
        self.threads = threads
        self.audits: tuple[SplitAudit, ...] = ()
        """Of the splits inside the last fit."""
        self._members: list[Model] = []
        self._shares: list[float] = []
        self._predictor: Predictor | None = None

    @abstractmethod
    def prepare(self, samples: Samples) -> Any:
        """Return training samples in the members' own forms, to be reused by many `fit_prepared`."""

    @abstractmethod
    def fit_prepared(self, prepared: Any) -> Self:
        """Fit on what `prepare` returned."""

    def fit(self, samples: Samples) -> Self:
        """Fit on samples."""
        return self.fit_prepared(self.prepare(samples))

    def _learned(self, members: list[Model], shares_of: Sequence[float], predictor: Any) -> Self:
        self._members = members
        self._shares = [float(share) for share in shares_of]
        self._predictor = predictor
        return self

    @property
    def members(self) -> tuple[Model, ...]:
        """The fitted members, in order; none before a fit."""
        return tuple(self._members)

    @property
    def predictor(self) -> Predictor:
        """What serves the fitted model; ValueError before a fit."""
        if self._predictor is None:
            raise ValueError("the model is not fitted; call fit first")
        return self._predictor

    def predict_proba(self, observations: Observations) -> Floats:
        """Return (p_down, p_flat, p_up) of the asked rows, shape (n, 3)."""
        return self.predictor.predict_proba(observations)

    def importance(self) -> Floats:
        """Return the members' importances, shape (k,), by the share that each has in the answer."""
        each = zip(self._shares, self._members, strict=True)
        return shares(np.sum([share * member.importance() for share, member in each], axis=0))

    def save(self, folder: Path) -> None:
        """Write the predictor, `model.json`, and every member into its subfolder."""
        self.predictor.save(folder)
        for place, member in enumerate(self._members):
            member.save(member_folder(folder, place))
        state = {
            "params": self.params,
            "seed": self.seed,
            "threads": self.threads,
            "members": [member.name for member in self._members],
            "shares": self._shares,
        }
        (folder / PARAMS_FILE).write_text(json.dumps(state, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; ValueError if a file is missing or damaged."""
        path = folder / PARAMS_FILE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            model = cls(state["params"], seed=state["seed"], threads=state["threads"])
            names, member_shares = state["members"], state["shares"]
        except (OSError, KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} does not hold the parameters of a {cls.name} ({error}); save the model anew"
            ) from None
        members = [
            model_class(name).load(member_folder(folder, place)) for place, name in enumerate(names)
        ]
        return model._learned(members, member_shares, load_predictor(cls.predictor_kind, folder))


def inner_audits(model: Model) -> tuple[SplitAudit, ...]:
    """Return the audits of the splits inside the model's last fit; none where it makes none."""
    return model.audits if isinstance(model, Composite) else ()


def served(members: Sequence[Model]) -> list[Member]:
    """Return the fitted members as what serves them."""
    return [Member(member.predictor_kind, member.predictor) for member in members]
