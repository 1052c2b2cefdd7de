"""Which parameters the trial of a place tries: a function of seed, place and the batches before it.

Nothing here is stored. Every worker rebuilds the finished trials of earlier batches in memory and asks
the sampler there, so who asks, when, and how often does not matter.
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.trial import FrozenTrial

from pipelines.tracking.study import SECONDS
from training.config import SearchConfig, TrainingConfig
from training.models import suggest

Finished = Mapping[int, FrozenTrial]

_RANDOM_TRIALS = 8
_HALVED_BY = 2
# Two folds both worse than the best trial's give 0.25, which is the least that two can give. A trial is
# given up on that: what is lost is one trial in four that is as good as the best.
_WORSE_AT = 0.3


def open_places(finished: Finished, config: SearchConfig) -> list[int]:
    """Return the places of the batch that is due which have no finished trial; none if all is done."""
    for begin in range(0, config.trials, config.batch):
        batch = range(begin, min(begin + config.batch, config.trials))
        earlier = [finished[place] for place in range(begin) if place in finished]
        due = [place for place in batch if _fits(place - begin, earlier, config)]
        if missing := [place for place in due if place not in finished]:
            return missing
        if len(due) < len(batch):
            return []
    return []


def propose(
    place: int, finished: Finished, config: SearchConfig, warm_start: Mapping[str, Any] | None
) -> optuna.Trial:
    """Return the trial of a place, to be asked for parameters; it lives in memory only.

    Parameters
    ----------
    place : int
    finished : mapping
        By place; those of the place's own batch and later ones are not looked at.
    config : SearchConfig
    warm_start : mapping, optional
        What place 0 tries, beside what the grid prescribes.
    """
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=config.seed * 10_000 + place, n_startup_trials=_RANDOM_TRIALS
        ),
        pruner=_pruner(config),
    )
    begin = place - place % config.batch
    study.add_trials([trial for at, trial in finished.items() if at < begin])
    given = dict(warm_start or {}) if place == 0 else {}
    if given | (prescribed := grid_at(place, config)):
        study.enqueue_trial({**given, **prescribed})
    return study.ask()


def grid_at(place: int, config: SearchConfig) -> dict[str, Any]:
    """Return the combination of `config.grid` that a place tries, in turn."""
    names = sorted(config.grid)
    combinations = list(itertools.product(*(config.grid[name] for name in names)))
    return dict(zip(names, combinations[place % len(combinations)], strict=True))


def searched_space(config: TrainingConfig) -> dict[str, BaseDistribution]:
    """Return what the model of `config` searches: its parameters and their ranges."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    suggest(config, trial)
    return dict(trial.distributions)


def within(space: Mapping[str, BaseDistribution], name: str, value: Any) -> bool:
    """Say whether a parameter is searched and may take `value`."""
    try:
        return name in space and space[name]._contains(space[name].to_internal_repr(value))
    except (TypeError, ValueError):
        return False


def _fits(ahead: int, earlier: Sequence[FrozenTrial], config: SearchConfig) -> bool:
    """Say whether a trial with `ahead` others before it in its batch would end within the time."""
    if config.timeout_seconds is None or not earlier:
        return True
    spent = sum(float(trial.user_attrs[SECONDS]) for trial in earlier)
    needed = spent + (ahead + 1) * spent / len(earlier)
    return needed / config.workers <= config.timeout_seconds


def _pruner(config: SearchConfig) -> BasePruner:
    if config.pruner == "none":
        return NopPruner()
    if config.pruner == "halving":
        return _HalvingOfMeans()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return WilcoxonPruner(p_threshold=_WORSE_AT, n_startup_steps=2)


class _HalvingOfMeans(BasePruner):
    """Successive halving over folds: after 1, 2, 4 ... only the better half of the means goes on."""

    def __init__(self) -> None:
        self._halving = SuccessiveHalvingPruner(min_resource=1, reduction_factor=_HALVED_BY)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        values = [trial.intermediate_values[fold] for fold in sorted(trial.intermediate_values)]
        if not values:
            return False
        copy = optuna.trial.FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            datetime_start=trial.datetime_start,
            datetime_complete=None,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={},
            system_attrs=dict(trial.system_attrs),
            intermediate_values={len(values): sum(values) / len(values)},
            trial_id=trial._trial_id,
        )
        return bool(self._halving.prune(study, copy))
