"""A model for all symbols, and one of its own for each symbol or cluster with history enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from serving.predictors.grouped import GroupedPredictor
from training.errors import TooLittleData
from training.models import model_class
from training.models.clusters import cluster_symbols
from training.models.composite import Composite, inner_audits, served
from training.models.protocol import Model, Trial
from training.samples import Samples

SCOPES = ("symbol", "cluster")


@dataclass(frozen=True)
class GroupedForm:
    """Samples in the form of the model: of all symbols first, then of each group.

    Attributes
    ----------
    forms : tuple
    places : dict
        Name of a symbol -> place in `forms` of its group.
    rows : tuple of int
        Rows that each form answers for.
    """

    forms: tuple[Any, ...]
    places: dict[str, int]
    rows: tuple[int, ...]


class GroupedModel(Composite):
    """Fits any model on all symbols and again on each group; a row is foretold by its symbol's group.

    Symbols of groups with fewer than `min_rows` rows, and symbols that were not there, are foretold by
    the model of all symbols.

    Parameters
    ----------
    params : dict
        `model`: name of the model; `by`: symbol or cluster; `clusters`: how many of them;
        `min_rows`. All others are the model's own.
    seed, threads : int
        Handed on to the model.

    Raises
    ------
    ValueError
        On another `by`, a model that is not known or grouped itself, or what the model refuses.
    """

    name: ClassVar[str] = "grouped"
    predictor_kind: ClassVar[str] = "grouped"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "model": "xgboost",
        "by": "cluster",
        "clusters": 2,
        "min_rows": 500,
    }

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        super().__init__({**self.DEFAULTS, **params}, seed=seed, threads=threads)
        if self.params["by"] not in SCOPES or self.params["model"] == self.name:
            raise ValueError(
                f"grouped: a {self.params['model']} by {self.params['by']} cannot be made; "
                f"group another model by {' or '.join(SCOPES)}"
            )
        self.context_bars = self._make().context_bars

    def _make(self) -> Model:
        own = {key: value for key, value in self.params.items() if key not in self.DEFAULTS}
        return model_class(self.params["model"])(own, seed=self.seed, threads=self.threads)

    def prepare(self, samples: Samples) -> GroupedForm:
        """Group the symbols by what these samples tell, and prepare the rows of every group.

        Raises
        ------
        TooLittleData
            If no group has `min_rows` rows, or there are fewer symbols than clusters.
        """
        observations = samples.observations
        symbol = observations.symbol[observations.rows]
        groups = self._groups(samples, symbol)
        sizes = [int(np.isin(symbol, group).sum()) for group in groups]
        least = self.params["min_rows"]
        if max(sizes) < least:
            raise TooLittleData(
                f"scope {self.params['by']}: the largest of {len(groups)} groups has {max(sizes)} "
                f"rows to learn from, and training.group_min_rows is {least}; use a longer history, "
                "more rows (training.sample_every_bars), larger groups or training.scope global"
            )
        kept = [group for group, size in zip(groups, sizes, strict=True) if size >= least]
        own = [samples.of(np.flatnonzero(np.isin(symbol, group))) for group in kept]
        answered = [part.y.size for part in own]
        model = self._make()
        return GroupedForm(
            forms=(model.prepare(samples), *(model.prepare(part) for part in own)),
            places=_places(kept, observations.symbols),
            rows=(symbol.size - sum(answered), *answered),
        )

    def _groups(self, samples: Samples, symbol: npt.NDArray[np.int64]) -> list[list[int]]:
        if self.params["by"] == "symbol":
            return [[int(code)] for code in np.unique(symbol)]
        return cluster_symbols(samples, self.params["clusters"])

    def fit_prepared(self, prepared: GroupedForm) -> Self:
        """Fit the model of all symbols and that of every group."""
        members = [self._make().fit_prepared(form) for form in prepared.forms]
        self.audits = tuple(audit for member in members for audit in inner_audits(member))
        predictor = GroupedPredictor(served(members), prepared.places)
        return self._learned(members, [n / sum(prepared.rows) for n in prepared.rows], predictor)

    @classmethod
    def space(cls, trial: Trial) -> dict[str, Any]:
        """Return what `trial` suggests for the model that is grouped by default."""
        return model_class(cls.DEFAULTS["model"]).space(trial)


def _places(groups: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, int]:
    return {names[code]: place for place, group in enumerate(groups, start=1) for code in group}


MODEL = GroupedModel
