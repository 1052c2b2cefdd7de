"""An ensemble: different models of the same rows, combined into one answer."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from serving.predictors import Predictor
from training.models.composite import Composite
from training.models.members import DEFAULT_MEMBERS, PARAM_MARK, member_specs, members_space
from training.models.out_of_fold import EnsembleForm, prepare_members
from training.models.protocol import Model, Trial
from training.samples import Samples

MEMBERS = "members"


class Ensemble(Composite):
    """Members by name, all fitted on all rows.

    Parameters
    ----------
    params : dict
        `members`: names of models, with a dash and a label where one is there twice. Parameters of a
        member follow its name and a dot: `xgboost.rounds`. The others are over `DEFAULTS`.
    seed : int
        Of the first member; each has the next one.
    threads : int

    Raises
    ------
    ValueError
        On a parameter that is not known, or members that are none, double, not known or ensembles.
    """

    DEFAULTS: ClassVar[dict[str, Any]]

    def __init__(self, params: dict[str, Any], *, seed: int, threads: int) -> None:
        chosen = {MEMBERS: list(DEFAULT_MEMBERS), **self.DEFAULTS, **params}
        of_members = {key: value for key, value in chosen.items() if PARAM_MARK in key}
        own = {key: value for key, value in chosen.items() if PARAM_MARK not in key}
        known = (MEMBERS, *self.DEFAULTS)
        if unknown := sorted(set(own) - set(known)):
            raise ValueError(
                f"{self.name} has no parameter {', '.join(unknown)}; known are {', '.join(known)} "
                "and those of members, as <member>.<parameter>"
            )
        super().__init__(chosen, seed=seed, threads=threads)
        self.specs = member_specs(
            chosen[MEMBERS], of_members, owner=self.name, seed=seed, threads=threads
        )
        self.context_bars = max(spec.make().context_bars for spec in self.specs)

    def prepare(self, samples: Samples) -> EnsembleForm:
        """Prepare all samples, and inner folds where the combination learns, for every member."""
        models = [spec.make() for spec in self.specs]
        folds, horizons = self.params.get("folds", 0), self._horizons(samples)
        return prepare_members(samples, models, folds=folds, horizons=horizons)

    def fit_prepared(self, prepared: EnsembleForm) -> Self:
        """Fit the members on all rows, and what combines them on what they say out of fold."""
        members = [
            model.fit_prepared(form)
            for model, form in zip(self._fresh(prepared), prepared.full, strict=True)
        ]
        self.audits = prepared.audits
        predictor, member_shares = self._combined(prepared, members)
        return self._learned(members, member_shares, predictor)

    @abstractmethod
    def _combined(
        self, form: EnsembleForm, members: list[Model], /
    ) -> tuple[Predictor, Sequence[float]]:
        """Return the predictor of fitted members, and the share of each in its answer."""

    def _horizons(self, _samples: Samples, /) -> tuple[int | None, ...]:
        """Return the horizons that members learn; None is that of the samples."""
        return (None,)

    def _fresh(self, form: EnsembleForm) -> list[Model]:
        return [spec.make() for _ in form.horizons for spec in self.specs]

    @classmethod
    def space(
        cls,
        trial: Trial,
        members: Sequence[str] = DEFAULT_MEMBERS,
        fixed: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Return what `trial` suggests for all members at once, as `<member>.<parameter>`.

        Parameters
        ----------
        trial : Trial
        members : sequence of str
        fixed : mapping, optional
            Parameters by member that are not searched.
        """
        return members_space(trial, members, fixed or {}, owner=cls.name)
