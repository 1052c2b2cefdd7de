"""Do scores mean what they say? By confidence, as a calibration curve, against returns, by regime.

A frame `scored` has the columns that `evaluation.forecast.forecast_metrics` reads: the score columns,
`known_at`, `outcome` (0 down, 1 flat, 2 up) and `realised_return` [log return over the horizon]; rows
whose outcome is null are left out. All scores must be *out of fold*: a model believes what it was
fitted on. Intervals resample instants, not rows (`evaluation.intervals`).
"""

from evaluation.reliability.confidence import by_confidence
from evaluation.reliability.curve import EVENTS, CalibrationCurve, calibration_curve
from evaluation.reliability.regimes import by_regime
from evaluation.reliability.returns import ReturnReliability, return_reliability

__all__ = [
    "EVENTS",
    "CalibrationCurve",
    "ReturnReliability",
    "by_confidence",
    "by_regime",
    "calibration_curve",
    "return_reliability",
]
