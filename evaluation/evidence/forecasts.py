"""What out-of-fold forecasts are worth, and whether they mean what they say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.calibration import row_log_loss
from evaluation.conformal import Coverage, measure_coverage
from evaluation.intervals import LEVEL, PATHS, Interval, accuracy_interval, skill_interval
from evaluation.reliability import (
    CalibrationCurve,
    ReturnReliability,
    by_confidence,
    by_regime,
    calibration_curve,
    return_reliability,
)
from evaluation.reliability.scored import both_returns, instants_of, known_rows
from serving.compiled import Floats

T = TypeVar("T")


@dataclass(frozen=True)
class ForecastEvidence:
    """What out-of-fold forecasts were worth.

    Attributes
    ----------
    accuracy, directional_accuracy : Interval or None
        Of the likeliest class, and of the sign of the expected return [fraction].
    skill : Interval or None
        Log loss of the training spans' class shares less the model's [nats a row]: positive is skill.
    coverage : Coverage or None
        Of the conformal intervals.
    confidence : polars.DataFrame
        See `evaluation.reliability.by_confidence`.
    before, after : CalibrationCurve or None
        Of the likeliest class, before and after the calibration.
    returns : ReturnReliability or None
        Expected against realised returns; None where one never varies.
    regimes : polars.DataFrame or None
        See `evaluation.reliability.by_regime`; None where no state is known.
    untold : dict
        Why a measure is None although it was asked for, by the name of its attribute.
    """

    accuracy: Interval | None
    directional_accuracy: Interval | None
    skill: Interval | None
    coverage: Coverage | None
    confidence: pl.DataFrame
    before: CalibrationCurve | None
    after: CalibrationCurve | None
    returns: ReturnReliability | None
    regimes: pl.DataFrame | None
    untold: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the evidence as plain JSON types."""
        plain = ("confidence", "regimes", "untold")
        parts = {name: part for name, part in self.__dict__.items() if name not in plain}
        return {
            **{name: part and part.as_json() for name, part in parts.items()},
            "confidence": self.confidence.to_dicts(),
            "regimes": None if self.regimes is None else self.regimes.to_dicts(),
            "untold": self.untold,
        }


def forecast_evidence(
    scored: pl.DataFrame,
    base_rates: Floats,
    *,
    interval_level: float,
    horizon_bars: int,
    raw: Floats | None = None,
    regime: npt.NDArray[np.integer[Any]] | None = None,
    regime_names: Sequence[str] = (),
    level: float = LEVEL,
    paths: int = PATHS,
    seed: int = 0,
) -> ForecastEvidence:
    """Judge scores whose outcomes are known.

    Parameters
    ----------
    scored : polars.DataFrame
        See `evaluation.reliability`; n rows, all out of fold, in any order.
    base_rates : array of float64, shape (n, 3)
        Class shares of the span that each row's fit learned from: the forecast that needs no model.
    interval_level : float
        Coverage that the intervals promise.
    horizon_bars : int
        Outcomes overlap that far: no block of the bootstrap is shorter on average.
    raw : array of float64, shape (n, 3), optional
        The same probabilities before they were calibrated.
    regime : array of int, shape (n,), optional
        State of the market known at each row, a place in `regime_names`; negative where not known.
    level, paths, seed
        Of the intervals.

    Raises
    ------
    ValueError
        If no outcome is known.
    """
    how = {"level": level, "paths": paths, "seed": seed, "shortest_block": float(horizon_bars)}
    known, proba, outcome = known_rows(scored)
    there = scored["outcome"].is_not_null().to_numpy()
    at, (expected, realised) = instants_of(known), both_returns(known)
    base = row_log_loss(base_rates[there], outcome)
    lower, upper = (known[name].to_numpy() for name in ("lower", "upper"))
    before = None if raw is None else scored.with_columns(_columns(raw))
    hit, right_way = proba.argmax(axis=1) == outcome, np.sign(expected) == np.sign(realised)
    untold: dict[str, str] = {}

    def told(name: str, measure: Callable[..., T], *given: Any) -> T | None:
        """Return a measure, or None where the rows are too few or never vary, and keep the reason."""
        try:
            return measure(*given, **how)
        except ValueError as error:
            untold[name] = str(error)
            return None

    return ForecastEvidence(
        accuracy=told("accuracy", accuracy_interval, at, hit),
        directional_accuracy=told("directional_accuracy", accuracy_interval, at, right_way),
        skill=told("skill", skill_interval, at, row_log_loss(proba, outcome), base),
        coverage=told("coverage", measure_coverage, at, realised, lower, upper, interval_level),
        confidence=by_confidence(scored),
        before=None if before is None else told("before", calibration_curve, before),
        after=told("after", calibration_curve, scored),
        returns=told("returns", return_reliability, scored),
        regimes=None
        if regime is None or not (there & (regime >= 0)).any()
        else by_regime(scored, regime, base_rates[there].mean(axis=0), names=regime_names, **how),
        untold=untold,
    )


def _columns(proba: Floats) -> list[pl.Series]:
    return [pl.Series(name, proba[:, k]) for k, name in enumerate(("p_down", "p_flat", "p_up"))]
