"""What is left of a result once the search that found it is charged for."""

from evaluation.overfitting.cross_validation import Overfitting, cross_validated_overfitting
from evaluation.overfitting.deflation import (
    DeflatedSharpe,
    IndependentTrials,
    deflate,
    deflate_record,
    independent_trials,
)

__all__ = [
    "DeflatedSharpe",
    "IndependentTrials",
    "Overfitting",
    "cross_validated_overfitting",
    "deflate",
    "deflate_record",
    "independent_trials",
]
