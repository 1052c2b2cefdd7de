"""Whether columns are still spread as they were: features, and the predictions made from them."""

from dataclasses import dataclass

import numpy as np

from evaluation.drift.histograms import (
    BINS,
    COARSE_BINS,
    STATISTICS,
    Columns,
    bin_edges,
    count_pieces,
    distances,
)
from evaluation.drift.null import PIECES, Null, fit_null
from serving.compiled import Counts, Floats

FOLKLORE_PSI = (0.1, 0.25)
"""What is said of a stability index everywhere: below the first nothing moved, above the second much did."""
# Distances grow with the square of what moved (the stability index) or with it (the others); these roots
# of them are spread evenly enough for deviations in standard deviations.
_ROOTS = np.array([0.25, 0.5, 0.5, 0.5])
# Relative change of what chance makes of a distance, below which no feature's windows are taken to vary.
_SMALLEST_CHANGE = 0.1
_ENOUGH = 0.5


@dataclass(frozen=True)
class Judged:
    """Statistics of one window and what is to be thought of them; arrays (k, s).

    `cut` is what a statistic has to exceed for `joint_p` to be below the level; `n` (k,) counts values.
    """

    observed: Floats
    cut: Floats
    single_p: Floats
    joint_p: Floats
    n: Counts


@dataclass(frozen=True)
class Spread:
    """How columns of a reference are spread, and how far its own windows are from the rest of it.

    Attributes
    ----------
    names : tuple of str
        The k columns.
    edges, positions, counts
        As in `histograms`; (k, BINS - 1), (k, BINS), (k, BINS).
    bars : int
        Bars the reference spans.
    window_bars : int
    null : Null
        Of roots of the 4 k distances, each raised by what chance alone makes of it.
    """

    names: tuple[str, ...]
    edges: Columns
    positions: Floats
    counts: Counts
    bars: int
    window_bars: int
    null: Null

    def count(self, X: Columns) -> Counts:
        """Return the counts of all rows of a window; int64 (k, BINS)."""
        counts: Counts = count_pieces(X, self.edges, np.zeros(len(X), np.int64), 1)[0]
        return counts

    def judge(self, counts: Counts, level: float) -> Judged:
        """Judge the counts of a window; NaN where it has less than half of the values it should have."""
        n = counts.sum(axis=1)
        due = self.counts.sum(axis=1) * (self.window_bars / self.bars)
        observed = distances(counts, self.counts, self.positions)
        observed[n < _ENOUGH * due] = np.nan
        floor = _floors(self.window_bars)
        deviations = self.null.deviations(((observed + floor) ** _ROOTS).ravel())
        shape = observed.shape
        return Judged(
            observed=observed,
            cut=np.maximum(self.null.cut(level).reshape(shape), 0.0) ** (1 / _ROOTS) - floor,
            single_p=self.null.single_p(deviations).reshape(shape),
            joint_p=self.null.joint_p(deviations).reshape(shape),
            n=n,
        )


def fit_spread(names: tuple[str, ...], X: Columns, bar: Counts, *, window_bars: int) -> Spread:
    """Learn how the columns of a reference are spread, and what its windows do.

    Parameters
    ----------
    names : tuple of str
    X : float32 (n, k)
        NaN means missing. Rows of all symbols; a window takes whole instants.
    bar : int64 (n,)
        Number of each row's bar, counted in bars of one length.
    window_bars : int
        Length of the monitored window, a multiple of `PIECES`.

    Raises
    ------
    ValueError
        If the reference is shorter than `FEWEST_WINDOWS` windows, or has no values.
    """
    edges, positions = bin_edges(X)
    piece, pieces = pieces_of(bar, window_bars)
    counts = count_pieces(X, edges, piece, pieces)
    total = counts.sum(axis=0)
    floor = _floors(window_bars)
    found = [
        ((distances(part, total - part, positions) + floor) ** _ROOTS).ravel()
        for part in (counts[i : i + PIECES].sum(axis=0) for i in range(pieces - PIECES + 1))
    ]
    null = fit_null(
        np.array(found).reshape(len(found), len(names) * len(STATISTICS)),
        smallest_scale=np.tile(_SMALLEST_CHANGE * _ROOTS * floor**_ROOTS, len(names)),
    )
    bars = pieces * (window_bars // PIECES)
    return Spread(names, edges, positions, total, bars, window_bars, null)


def pieces_of(bar: Counts, window_bars: int) -> tuple[Counts, int]:
    """Return each row's piece and how many there are; what is over at the beginning is in none (-1)."""
    length = window_bars // PIECES
    last = int(bar.max(initial=0))
    pieces = (last - int(bar.min(initial=last)) + 1) // length
    return np.maximum(pieces - 1 - (last - bar) // length, -1), pieces


def _floors(window_bars: int) -> Floats:
    """Return the size that independent bars alone would give each statistic.

    Below it differences are noise however constant the reference was: a feature of the clock has
    distances of nothing, and one missing hour must not count as infinitely far.
    """
    by_chance = {
        "psi": (COARSE_BINS - 1) / window_bars,
        "ks": window_bars**-0.5,
        "wasserstein": window_bars**-0.5,
        "jensen_shannon": ((COARSE_BINS - 1) / (8 * window_bars)) ** 0.5,
    }
    return np.array([by_chance[name] for name in STATISTICS])


def spread_arrays(spread: Spread) -> dict[str, Floats | Columns | Counts]:
    """Return a spread as named arrays; its names, bars and window are kept elsewhere."""
    return {
        "edges": spread.edges,
        "positions": spread.positions,
        "counts": spread.counts,
        **{f"null.{name}": array for name, array in spread.null.as_arrays().items()},
    }


def spread_from(
    arrays: dict[str, Floats | Columns | Counts],
    names: tuple[str, ...],
    bars: int,
    window_bars: int,
) -> Spread:
    """Read what `spread_arrays` gave; ValueError if the arrays do not fit the names."""
    null = Null.from_arrays(
        {k.removeprefix("null."): v for k, v in arrays.items() if k.startswith("null.")}  # type: ignore[misc]
    )
    counts = arrays["counts"].astype(np.int64)
    if counts.shape != (len(names), BINS) or null.centre.shape != (len(names) * len(STATISTICS),):
        raise ValueError(
            f"the drift reference has counts of shape {counts.shape} for {len(names)} columns"
        )
    edges = arrays["edges"].astype(np.float32)
    positions = arrays["positions"].astype(np.float64)
    return Spread(names, edges, positions, counts, bars, window_bars, null)
