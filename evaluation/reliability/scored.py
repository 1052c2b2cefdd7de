"""The parts of a scored frame that every view of reliability reads."""

import numpy as np
import numpy.typing as npt
import polars as pl

from evaluation.forecast import PROBABILITIES

Floats = npt.NDArray[np.float64]
Instants = npt.NDArray[np.int64]

BINS = 10


def known_rows(scored: pl.DataFrame) -> tuple[pl.DataFrame, Floats, npt.NDArray[np.int64]]:
    """Return the rows whose outcome is known, their probabilities (n, 3) and their outcomes (n,).

    Raises
    ------
    ValueError
        If no outcome is known.
    """
    known = scored.filter(pl.col("outcome").is_not_null())
    if known.is_empty():
        raise ValueError("no outcome of the scored rows is known; nothing can be measured")
    return known, known.select(PROBABILITIES).to_numpy(), known["outcome"].to_numpy()


def both_returns(known: pl.DataFrame) -> tuple[Floats, Floats]:
    """Return expected and realised returns [log return over the horizon]."""
    return known["expected_return"].to_numpy(), known["realised_return"].to_numpy()


def instants_of(known: pl.DataFrame) -> Instants:
    """Return `known_at` in microseconds since the epoch."""
    return known["known_at"].dt.timestamp("us").to_numpy()


def filled_bins(values: Floats, bins: int) -> npt.NDArray[np.int64]:
    """Return the bin of each value, from 0: equally filled, equal values together, none empty."""
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    _, place = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)
    return place.astype(np.int64)
