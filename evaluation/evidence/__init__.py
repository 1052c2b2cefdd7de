"""What a training proved, put together: of its search, of its record, of its forecasts.

The statistics are those of `evaluation.overfitting`, `evaluation.multiple_comparison`,
`evaluation.intervals`, `evaluation.reliability` and `evaluation.conformal`; here is decided what they are
asked. A question that a record cannot answer (too short, nothing traded) is answered by None, and
whoever judges takes that as not shown.
"""

from evaluation.evidence.forecasts import ForecastEvidence, forecast_evidence
from evaluation.evidence.records import CASH, RecordEvidence, record_evidence
from evaluation.evidence.searches import (
    SearchEvidence,
    TrialMoments,
    pooled_moments,
    search_evidence,
    trial_moments,
)

__all__ = [
    "CASH",
    "ForecastEvidence",
    "RecordEvidence",
    "SearchEvidence",
    "TrialMoments",
    "forecast_evidence",
    "pooled_moments",
    "record_evidence",
    "search_evidence",
    "trial_moments",
]
