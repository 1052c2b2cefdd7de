"""What a track record proves: against chance, against the search for it, against the baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.evidence.searches import TrialMoments
from evaluation.intervals import LEVEL, PATHS, Interval, sharpe_interval
from evaluation.metrics import minimum_track_record, probabilistic_sharpe
from evaluation.multiple_comparison import (
    ConfidenceSet,
    SuperiorAbility,
    SuperiorModels,
    model_confidence_set,
    superior_ability,
    superior_models,
)
from evaluation.overfitting import DeflatedSharpe, deflate_record
from serving.compiled import Floats

CASH = "cash"
"""The baseline that earns nothing and risks nothing."""

_MOST_INSTANTS = 10_000
_FEWEST = 20


@dataclass(frozen=True)
class RecordEvidence:
    """What the model's net returns on its test windows prove.

    Attributes
    ----------
    sharpe : Interval or None
        Annual, by stationary bootstrap; None if nothing was traded.
    probabilistic : float
        Probability that the true annual Sharpe ratio is above zero, had nothing been searched.
    deflated : DeflatedSharpe
        The same against what the best of all trials of the experiment's life would have shown.
    track_record_bars, bars : float, int
        Bars that such a record would need to prove a Sharpe ratio above zero at 95 %, and its own.
    against : mapping of str to (SuperiorAbility or None)
        Whether the model earned more a bar than each baseline; None where the two never differ.
    superior : SuperiorModels or None
        Which of all strategies earned more than cash, wrong about any of them one time in twenty.
    confidence_set : ConfidenceSet or None
        Strategies that the record cannot tell from the best, cash among them.
    untold : str
        Why `sharpe`, and the comparison with cash, are None; empty where they are not.
    """

    sharpe: Interval | None
    probabilistic: float
    deflated: DeflatedSharpe
    track_record_bars: float
    bars: int
    against: Mapping[str, SuperiorAbility | None]
    superior: SuperiorModels | None
    confidence_set: ConfidenceSet | None
    untold: str

    def as_json(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types; infinity stays infinity."""
        plain = ("probabilistic", "track_record_bars", "bars", "untold")
        parts = {name: getattr(self, name) for name in ("sharpe", "deflated", "superior")}
        parts["confidence_set"] = self.confidence_set
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: part and part.as_json() for name, part in parts.items()},
            "against": {name: found and found.as_json() for name, found in self.against.items()},
        }


def record_evidence(
    model: Floats,
    others: Mapping[str, Floats],
    bars_per_year: float,
    life: TrialMoments,
    *,
    level: float = LEVEL,
    paths: int = PATHS,
    seed: int = 0,
) -> RecordEvidence:
    """Judge the record of a model beside those of others on the same bars.

    Parameters
    ----------
    model : float64 (T,)
        Net simple return of each bar; finite.
    others : mapping of name to float64 (T,)
        Of the baselines, and of a champion; `CASH` is added.
    bars_per_year : float
    life : TrialMoments
        All trials that are charged, with the spread of their *annual* Sharpe ratios.
    level, paths, seed
        Of the intervals, see `evaluation.intervals.bootstrap_interval`.
    """
    traded = np.ptp(model) > 0 if model.size else False
    compared = {"model": model, **others, CASH: np.zeros_like(model)}
    losses = {name: -_coarse(returns) for name, returns in compared.items()}
    against = {
        name: _superior(losses[name], losses["model"], paths, seed)
        for name in compared
        if name != "model"
    }
    return RecordEvidence(
        sharpe=sharpe_interval(model, bars_per_year, level=level, paths=paths, seed=seed)
        if traded and model.size >= _FEWEST
        else None,
        probabilistic=probabilistic_sharpe(model, bars_per_year),
        deflated=deflate_record(
            model, bars_per_year, trials=life.trials, trial_variance=life.sample_variance
        ),
        track_record_bars=minimum_track_record(model, bars_per_year),
        bars=model.size,
        against=against,
        superior=_best(losses, paths, seed),
        confidence_set=_confidence_set(losses, paths, seed),
        untold=""
        if against[CASH] is not None
        else f"a record of {model.size} bars, in {np.count_nonzero(model)} of which something was earned "
        f"or lost, says nothing; {_FEWEST} bars and a position are needed",
    )


def _coarse(returns: Floats) -> Floats:
    """Return means of so many neighbouring bars that the tests stay quick; short records stay whole."""
    size = -(-returns.size // _MOST_INSTANTS)
    if size <= 1:
        return returns
    kept = returns.size // size * size
    means: Floats = returns[returns.size - kept :].reshape(-1, size).mean(axis=1)
    return means


def _differ(one: Floats, other: Floats) -> bool:
    difference = one - other
    return one.size >= _FEWEST and bool(
        np.ptp(difference) > 1e-14 * max(float(np.abs(difference).max(initial=0.0)), 1e-300)
    )


def _superior(benchmark: Floats, model: Floats, paths: int, seed: int) -> SuperiorAbility | None:
    if not _differ(benchmark, model):
        return None
    return superior_ability(benchmark, {"model": model}, paths=paths, seed=seed)


def _best(losses: Mapping[str, Floats], paths: int, seed: int) -> SuperiorModels | None:
    cash = losses[CASH]
    others = {name: loss for name, loss in losses.items() if _differ(loss, cash)}
    return superior_models(cash, others, paths=paths, seed=seed) if others else None


def _confidence_set(losses: Mapping[str, Floats], paths: int, seed: int) -> ConfidenceSet | None:
    """Return the set of strategies that differ from each other; of equal ones the first stands for all."""
    kept: dict[str, Floats] = {}
    for name, loss in losses.items():
        if all(_differ(loss, other) for other in kept.values()) and loss.size >= _FEWEST:
            kept[name] = loss
    return model_confidence_set(kept, paths=paths, seed=seed) if len(kept) > 1 else None
