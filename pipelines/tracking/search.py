"""The Optuna study of a training: durable, resumable, and the same after a kill as without one.

A trial's suggestions are a function of the seed, its place in line and the finished trials before
it. Trials that a killed process left running are closed as failed and count for nothing, so
their places are taken again with the same suggestions.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna

from training.config import SearchConfig
from training.models.protocol import Trial
from training.tuning import Pruned

Progress = Callable[[int, int, str], None]

_FINISHED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
_RANDOM_TRIALS = 8
_UNPRUNED_TRIALS = 4


@dataclass(frozen=True)
class SearchResult:
    """The best parameters and every finished trial, in order."""

    params: dict[str, Any]
    value: float
    trials: list[dict[str, Any]]


def run_search(
    url: str,
    name: str,
    config: SearchConfig,
    objective: Callable[[Trial], float],
    *,
    progress: Progress | None = None,
) -> SearchResult:
    """Finish the study called `name` and return its best trial.

    Parameters
    ----------
    url : str
        SQLAlchemy URL of the Optuna database.
    name : str
        Of the study; finished trials under it count towards `config.trials`.
    config : SearchConfig
    objective : callable
        Value of a trial, to be maximised; may raise `Pruned`.
    progress : callable, optional
        Called with (trials done, trials in all, text).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"pool_size": 1})
    try:
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS),
        )
        for ghost in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(ghost.number, state=optuna.trial.TrialState.FAIL)
        _run_trials(study, config, objective, progress)
        return _result(study)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _run_trials(
    study: optuna.Study,
    config: SearchConfig,
    objective: Callable[[Trial], float],
    progress: Progress | None,
) -> None:
    done = len(study.get_trials(deepcopy=False, states=_FINISHED))
    began = time.monotonic()
    while done < config.trials:
        if done and config.timeout_seconds and time.monotonic() - began > config.timeout_seconds:
            return
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed * 10_000 + done, n_startup_trials=_RANDOM_TRIALS
        )
        trial = study.ask()
        try:
            study.tell(trial, objective(trial))
        except Pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        except BaseException:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            raise
        done += 1
        if progress:
            progress(done, config.trials, f"search: trial {done} of {config.trials}")


def _result(study: optuna.Study) -> SearchResult:
    finished = study.get_trials(deepcopy=False, states=_FINISHED)
    trials = [
        {
            "trial": place,
            "state": trial.state.name.lower(),
            "value": trial.value if trial.state.name == "COMPLETE" else None,
            "folds": list(trial.intermediate_values.values()),
            "params": trial.params,
        }
        for place, trial in enumerate(finished)
    ]
    best = study.best_trial
    return SearchResult(dict(best.params), float(best.values[0]), trials)
