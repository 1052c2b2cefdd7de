"""The search of a training: one worker's turn at it, and what all of them found.

A trial's value is a function of its parameters, and these of the seed, its place in line and the finished
trials of the batches before its own. So one worker or many, killed or not, end with the same trials.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipelines.errors import ContractViolation
from pipelines.tracking.proposals import Finished, open_places, propose
from pipelines.tracking.study import Study
from training.config import SearchConfig
from training.models.protocol import Trial
from training.tuning import DAILY, Floats, Pruned, unpack_returns

Progress = Callable[[int, int, str], None]
Objective = Callable[[Trial], float]


@dataclass(frozen=True)
class SearchResult:
    """The best parameters, the place and value of their trial, and every finished trial, in order."""

    params: dict[str, Any]
    place: int
    value: float
    trials: list[dict[str, Any]]


def run_search(
    study: Study,
    config: SearchConfig,
    objective: Objective,
    *,
    warm_start: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> int:
    """Work on a study until all its trials have finished; return how many of them ran here.

    Any number of processes may do this at the same time. A batch is begun when the one before it has
    finished; a worker that finds all open places taken waits for the first, and takes it over if its
    holder dies.

    Parameters
    ----------
    study : Study
    config : SearchConfig
    objective : callable
        Value of a trial, to be maximised; may raise `Pruned`.
    warm_start : mapping, optional
        What the first trial tries.
    progress : callable, optional
        Called with (trials done, trials in all, text).
    """
    ran = 0
    while places := open_places(finished := study.finished(), config):
        tell_progress(progress, finished, config)
        with study.claim(places) as place:
            finished = study.finished()
            if place in finished:
                continue
            began = time.monotonic()
            trial = _run(place, finished, config, objective, warm_start)
            study.record(place, trial, time.monotonic() - began)
            ran += 1
    tell_progress(progress, finished, config)
    return ran


def result_of(study: Study, config: SearchConfig) -> SearchResult:
    """Return what a search found once it is over; of equal trials the first is the best.

    Raises
    ------
    ContractViolation
        If trials that are due have not finished.
    """
    finished = study.finished()
    if places := open_places(finished, config):
        raise ContractViolation(
            f"the search has finished {len(finished)} of {config.trials} trials; "
            f"{', '.join(map(str, places))} of the running batch have not; nothing was chosen",
            remedy="run search for it until it ends, then choose-params again",
        )
    complete = {p: t for p, t in finished.items() if t.state is TrialState.COMPLETE}
    best = max(complete, key=lambda place: (_value(complete[place]), -place))
    trials = [_as_row(place, trial) for place, trial in finished.items()]
    return SearchResult(dict(complete[best].params), best, _value(complete[best]), trials)


def daily_returns(study: Study) -> dict[int, Floats]:
    """Return what every trial earned a day, net of costs, on the folds that it ran; by place.

    A trial that was given up has fewer days; the days of the others are the same ones.
    """
    return {
        place: unpack_returns(trial.user_attrs[DAILY])
        for place, trial in study.finished().items()
        if DAILY in trial.user_attrs
    }


def tell_progress(progress: Progress | None, finished: Finished, config: SearchConfig) -> None:
    """Tell how many trials have finished, whoever ran them, and how good the best is."""
    if progress is None:
        return
    values = [_value(t) for t in finished.values() if t.state is TrialState.COMPLETE]
    best = f", best {max(values):.4g}" if values else ""
    text = f"search: trial {len(finished)} of {config.trials}{best}"
    progress(len(finished), config.trials, text)


def _run(
    place: int,
    finished: Finished,
    config: SearchConfig,
    objective: Objective,
    warm_start: Mapping[str, Any] | None,
) -> FrozenTrial:
    trial = propose(place, finished, config, warm_start)
    try:
        value = objective(trial)
    except Pruned:
        return trial.study.tell(trial, state=TrialState.PRUNED)
    if not math.isfinite(value):
        raise ContractViolation(
            f"trial {place} is worth {value}, with {trial.params}; the search stopped there",
            remedy="look for rows whose label or weight is not a number; fix model_params if it is them",
        )
    return trial.study.tell(trial, value)


def _value(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def _as_row(place: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": place,
        "state": trial.state.name.lower(),
        "value": _value(trial) if trial.state is TrialState.COMPLETE else None,
        "folds": [trial.intermediate_values[fold] for fold in sorted(trial.intermediate_values)],
        "params": trial.params,
    }
