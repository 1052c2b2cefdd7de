"""What searching alone would have shown: the trials of a search, and of all searches before it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evaluation.metrics import sharpe
from evaluation.multiple_comparison import SuperiorAbility, superior_ability
from evaluation.overfitting import Overfitting, cross_validated_overfitting, independent_trials
from serving.compiled import Floats

DAYS_PER_YEAR = 365.0
_MOST_BLOCKS = 16
_DAYS_A_BLOCK = 5
_FEWEST_DAYS = 20


@dataclass(frozen=True)
class TrialMoments:
    """How the annual Sharpe ratios of some trials are spread.

    Attributes
    ----------
    trials : int
        All that were tried, those that were given up between folds too.
    sharpe_mean : float
    sharpe_variance : float
        Of the population (ddof 0), so that moments of several searches can be pooled.
    """

    trials: int
    sharpe_mean: float
    sharpe_variance: float

    @property
    def sample_variance(self) -> float:
        """Variance with ddof 1, as deflation takes it; 0 for a single trial."""
        if self.trials < 2:
            return 0.0
        return self.sharpe_variance * self.trials / (self.trials - 1)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class SearchEvidence:
    """What the trials of one search say of choosing the best of them.

    Attributes
    ----------
    moments : TrialMoments
    complete : int
        Trials that ran on all folds; only these can be laid side by side.
    independent : int or None
        Groups of complete trials whose returns are alike.
    overfitting : Overfitting or None
        None with fewer than two complete trials that differ, or too few days.
    superior : SuperiorAbility or None
        Whether any complete trial earned more than cash on the search's folds, all of them counted.
    untold : dict
        Why `overfitting` or `superior` is None, by its name.
    """

    moments: TrialMoments
    complete: int
    independent: int | None
    overfitting: Overfitting | None
    superior: SuperiorAbility | None
    untold: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        return {
            "moments": self.moments.as_json(),
            "complete": self.complete,
            "independent": self.independent,
            "overfitting": self.overfitting and self.overfitting.as_json(),
            "superior": self.superior and self.superior.as_json(),
            "untold": self.untold,
        }


def trial_moments(daily: Iterable[Floats]) -> TrialMoments:
    """Return the moments of the trials' annual Sharpe ratios.

    A trial that did not trade has ratio 0. One that was given up has the ratio of the folds it ran: a
    shorter record scatters more, which makes the charge for searching larger, never smaller.

    Parameters
    ----------
    daily : iterable of float64 (days,)
        Net simple return of each day, one array a trial.

    Raises
    ------
    ValueError
        If there is no trial.
    """
    ratios = np.nan_to_num([sharpe(returns, DAYS_PER_YEAR) for returns in daily])
    if not ratios.size:
        raise ValueError("no trial is known; a search has one or more, the discarded ones too")
    return TrialMoments(ratios.size, float(ratios.mean()), float(ratios.var()))


def pooled_moments(searches: Iterable[TrialMoments]) -> TrialMoments:
    """Return the moments of all trials of several searches together.

    The pooled variance has two parts, within the searches and between their means: a market that was
    kinder to one search than to another widens it, and the charge.
    """
    known = list(searches)
    trials = sum(one.trials for one in known)
    mean = sum(one.trials * one.sharpe_mean for one in known) / trials
    spread = [one.trials * (one.sharpe_variance + (one.sharpe_mean - mean) ** 2) for one in known]
    return TrialMoments(trials, mean, sum(spread) / trials)


def search_evidence(daily: Mapping[int, Floats], *, seed: int = 0) -> SearchEvidence:
    """Judge the choice of the best of a search's trials.

    Parameters
    ----------
    daily : mapping of place to float64 (days,)
        Net simple return of each day on the search's folds, of *every* trial; a trial that was given up
        has fewer days than the others.
    seed : int
        Of the bootstrap.

    Raises
    ------
    ValueError
        If there is no trial.
    """
    moments = trial_moments(daily.values())
    longest = max(returns.size for returns in daily.values())
    whole = {place: returns for place, returns in daily.items() if returns.size == longest}
    table = np.column_stack(list(whole.values()))
    overfitting, superior = _overfitting(table), _superior(whole, seed)
    untold = {}
    if overfitting is None:
        untold["overfitting"] = (
            f"{len(whole)} complete trials differ in {np.unique(table, axis=1).shape[1]} records of "
            f"{longest} days; two that differ over {2 * _DAYS_A_BLOCK} days are needed"
        )
    if superior is None:
        untold["superior"] = (
            f"no complete trial traded, or {longest} days are fewer than {_FEWEST_DAYS}"
        )
    return SearchEvidence(
        moments=moments,
        complete=len(whole),
        independent=independent_trials(table).count if longest >= 2 else None,
        overfitting=overfitting,
        superior=superior,
        untold=untold,
    )


def _overfitting(table: Floats) -> Overfitting | None:
    distinct = np.unique(table, axis=1).shape[1]
    blocks = min(_MOST_BLOCKS, table.shape[0] // _DAYS_A_BLOCK // 2 * 2)
    if distinct < 2 or blocks < 2:
        return None
    return cross_validated_overfitting(table, blocks=blocks)


def _superior(whole: Mapping[int, Floats], seed: int) -> SuperiorAbility | None:
    losses = {f"trial {place}": -returns for place, returns in whole.items() if np.ptp(returns) > 0}
    if not losses or (days := len(next(iter(losses.values())))) < _FEWEST_DAYS:
        return None
    return superior_ability(np.zeros(days), losses, seed=seed)
