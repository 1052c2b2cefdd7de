"""Champion against challenger, bar by bar: evidence that holds however often one looks at it."""

from evaluation.comparison.blocks import Grid, Record
from evaluation.comparison.config import ComparisonConfig
from evaluation.comparison.verdict import (
    HORIZONS,
    Comparison,
    Terms,
    compare,
    deviation_of,
    level_of_arrival,
)

__all__ = [
    "HORIZONS",
    "Comparison",
    "ComparisonConfig",
    "Grid",
    "Record",
    "Terms",
    "compare",
    "deviation_of",
    "level_of_arrival",
]
