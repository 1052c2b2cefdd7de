"""Whether a challenger may become champion: one gate a question, and the choice among those who may."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from evaluation.gates import Gate, Rule, gate
from evaluation.metrics.significance import deflated_sharpe
from evaluation.promotion.config import GateName, PromotionConfig
from serving.compiled import Floats

GATES: tuple[str, ...] = get_args(GateName)
_UNKNOWN = float("nan")
_MEANINGS = {
    "evidence": "e-value of earning more than the champion on the same bars",
    "log_loss": "e-value of foreseeing worse than the champion",
    "bars": "bars both books traded since they met",
    "trades": "fills of the challenger since they met",
    "drawdown": "deepest fall of the challenger since they met",
    "deflated_sharpe": "probability that its Sharpe ratio is above the best of as many worthless challengers",
    "overfitting": "probability of backtest overfitting of its search",
    "calibrated": "calibration error on its test windows",
    "no_leak": "overlaps, and label checks of its training that did not behave",
    "no_drift": "alarms of the last window against its own training",
    "data_quality": "hours refused by a check of their data",
    "feature_set": "features at hand that are not those it was trained on",
    "reproducible": "largest difference of the last day's scores, made again",
}


@dataclass(frozen=True)
class Candidacy:
    """What a challenger has shown against the champion of that time.

    Attributes
    ----------
    version : str
    gates : tuple of Gate
        All of them, required or not.
    failed : tuple of str
        Names of the required ones that do not hold; empty for one who may be promoted.
    """

    version: str
    gates: tuple[Gate, ...]
    failed: tuple[str, ...]

    @property
    def evidence(self) -> float:
        """The e-value; NaN where there is none."""
        return next(gate.observed for gate in self.gates if gate.name == "evidence")


def candidacy(
    version: str, observed: Mapping[str, float], evidence_bound: float, config: PromotionConfig
) -> Candidacy:
    """Judge a challenger by what was observed of it.

    Parameters
    ----------
    version : str
    observed : mapping
        By gate name, see `config.GateName`; `drawdown` is a positive fraction. NaN or absent is what
        could not be measured, and fails its gate.
    evidence_bound : float
        e-value at which a comparison of this challenger has a verdict: 2 / its level.
    config : PromotionConfig
    """
    gates = tuple(
        gate(name, observed.get(name, _UNKNOWN), *_rule(name, evidence_bound, config), meaning)
        for name, meaning in _MEANINGS.items()
    )
    failed = tuple(g.name for g in gates if g.name in config.required and not g.passed)
    return Candidacy(version, gates, failed)


def _rule(name: str, evidence_bound: float, config: PromotionConfig) -> tuple[Rule, float]:
    rules: dict[str, tuple[Rule, float]] = {
        "evidence": ("at least", evidence_bound),
        "log_loss": ("below", evidence_bound),
        "bars": ("at least", config.bars),
        "trades": ("at least", config.trades),
        "drawdown": ("at most", config.drawdown),
        "deflated_sharpe": ("at least", config.deflated_sharpe),
        "overfitting": ("at most", config.overfitting),
        "calibrated": ("at most", config.calibration_error),
        "no_leak": ("at most", 0.0),
        "no_drift": ("at most", 0.0),
        "data_quality": ("at most", 0.0),
        "feature_set": ("at most", 0.0),
        "reproducible": ("at most", config.score_difference),
    }
    return rules[name]


def successor(candidates: Sequence[Candidacy]) -> Candidacy | None:
    """Return who shall be champion: of those without a failed gate the one of most evidence.

    None where there is none: then the champion stays. Of equals the first in order; one without an
    e-value, where none is required, comes after all that have one.
    """
    able = [one for one in candidates if not one.failed]
    return max(able, key=lambda one: np.nan_to_num(one.evidence, nan=-1.0), default=None)


def live_deflated_sharpe(returns: Floats, bars_per_year: float, rivals: int) -> float:
    """Return the probability that a live record is better than the best of `rivals` worthless ones.

    A worthless record of so many years has an annual Sharpe ratio of mean 0 and variance 1 / years:
    that variance is charged, for it is known beforehand, while that of a handful of rivals is not.

    Parameters
    ----------
    returns : float64 (n,)
        Of every bar since the challenger met the champion.
    bars_per_year : float
    rivals : int
        Challengers that arrived since the reign began, this one included.

    Returns
    -------
    float
        NaN of fewer than two bars, or of a record that does not vary.

    References
    ----------
    Bailey and Lopez de Prado (2014), The deflated Sharpe ratio.
    """
    if returns.size < 2 or not returns.std() > 0.0:
        return math.nan
    variance = bars_per_year / returns.size
    return deflated_sharpe(returns, bars_per_year, trials=rivals, trial_variance=variance)
