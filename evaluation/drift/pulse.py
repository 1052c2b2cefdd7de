"""One number an hour: how much of a bar lies where hardly any bar of the training did."""

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np

from evaluation.drift.histograms import BINS, Columns, count_pieces
from evaluation.drift.tail import Tail, fit_tail
from serving.compiled import Counts, Floats

# An end that holds more of the training than this is no rare place: a clock's hour, a flag's value.
_RARE = 2.0 / BINS
_ENOUGH = 0.5
_BLOCK = 8192


@dataclass(frozen=True)
class Pulse:
    """Where the outermost bins of a training's columns begin, and what its days did there.

    Attributes
    ----------
    names : tuple of str
        The k columns.
    low, high : float32 (k,)
        A value below `low`, or at `high` and above, is outermost; infinite at an end that is no rare
        place. A column without any rare end is not looked at.
    cells : float
        Cells (column and symbol) with a value that an hour of the training has, its median.
    tail : Tail
        Of the log odds of a day's largest share.
    """

    names: tuple[str, ...]
    low: Columns
    high: Columns
    cells: float
    tail: Tail

    def count(self, X: Columns) -> tuple[int, int]:
        """Return how many cells of an hour (symbols, k) are outermost, and how many have a value."""
        outermost, cells = _count_rows(X, self.low, self.high)
        return int(outermost.sum()), int(cells.sum())

    def enough(self, cells: int) -> bool:
        """Say whether an hour has at least half of the cells that it has as a rule."""
        return cells >= _ENOUGH * self.cells

    def cut(self, level: float, cells: int) -> float:
        """Return the share of an hour's `cells` beyond which one hour of a day goes with chance `level`."""
        odds = np.exp(self.tail.cut(level))
        # The inverse of log_odds.
        return float((odds / (1.0 + odds) * (cells + 1) - 0.5) / cells)

    def chance(self, outermost: int, cells: int) -> float:
        """Return the chance that any hour of a day without drift goes so far; at most about a tenth."""
        return self.tail.chance(float(log_odds(np.array([outermost]), np.array([cells]))[0]))


def fit_pulse(
    names: tuple[str, ...], X: Columns, bar: Counts, edges: Columns, *, bars_per_day: int
) -> Pulse:
    """Learn where the outermost bins of a training begin, and how full the fullest hour of a day gets.

    A day is one draw of the null, so whatever its hours remember of each other does not matter; days
    rarer than any of the training are extrapolated (`tail.fit_tail`).

    Parameters
    ----------
    names : tuple of str
    X : float32 (n, k)
        Rows of all symbols; NaN means missing and is not counted.
    bar : int64 (n,)
        Number of each row's bar since the epoch; the bar at midnight ends its day.
    edges : float32 (k, bins - 1)
        Of `histograms.bin_edges`.
    bars_per_day : int

    Raises
    ------
    ValueError
        If fewer than `tail.FEWEST_DAYS` days have at least half of their hours.
    """
    low, high = _rare_ends(X, edges)
    bars, place = np.unique(bar, return_inverse=True)
    outermost, cells = (
        np.bincount(place, part, minlength=bars.size).astype(np.int64)
        for part in _count_rows(X, low, high)
    )
    usual = float(np.median(cells)) if cells.size else 0.0
    hours = (cells >= max(_ENOUGH * usual, 1.0)).nonzero()[0]
    odds = log_odds(outermost[hours], cells[hours])
    largest = _largest_of_days(odds, (bars[hours] - 1) // bars_per_day, bars_per_day)
    return Pulse(names, low, high, usual, fit_tail(largest))


def log_odds(outermost: Counts, cells: Counts) -> Floats:
    """Return the log odds of shares, half a cell added to both sides so that none is infinite."""
    odds: Floats = np.log((outermost + 0.5) / (cells - outermost + 0.5))
    return odds


def _rare_ends(X: Columns, edges: Columns) -> tuple[Columns, Columns]:
    counts = count_pieces(X, edges, np.zeros(len(X), np.int64), 1)[0]
    total = counts.sum(axis=1)
    most = _RARE * total
    low, high = edges[:, 0].copy(), edges[:, -1].copy()
    low[(counts[:, 0] > most) | (total == 0)] = -np.inf
    high[(counts[:, -1] > most) | (total == 0)] = np.inf
    return low, high


def _count_rows(X: Columns, low: Columns, high: Columns) -> tuple[Counts, Counts]:
    """Return how many cells of each row are outermost, and how many are looked at."""
    looked_at = np.isfinite(low) | np.isfinite(high)
    outermost, cells = np.zeros(len(X), np.int64), np.zeros(len(X), np.int64)
    for rows in _blocks(len(X)):
        part = X[rows]
        # Infinities are no values; NaN is on no side.
        finite = np.isfinite(part) & looked_at
        outermost[rows] = (((part < low) | (part >= high)) & finite).sum(axis=1)
        cells[rows] = finite.sum(axis=1)
    return outermost, cells


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(first, first + _BLOCK) for first in range(0, rows, _BLOCK))


def _largest_of_days(odds: Floats, day: Counts, bars_per_day: int) -> Floats:
    """Return the largest of each day that has at least half of its hours, in order of time."""
    days, place = np.unique(day, return_inverse=True)
    largest = np.full(days.size, -np.inf)
    np.maximum.at(largest, place, odds)
    return largest[np.bincount(place, minlength=days.size) >= _ENOUGH * bars_per_day]


def pulse_arrays(pulse: Pulse) -> dict[str, Floats | Columns]:
    """Return a pulse as named arrays; its names and cells are kept elsewhere."""
    return {"low": pulse.low, "high": pulse.high, "tail": np.array(astuple(pulse.tail))}


def pulse_from(arrays: dict[str, Floats | Columns], names: tuple[str, ...], cells: float) -> Pulse:
    """Read what `pulse_arrays` gave; ValueError if the arrays do not fit the names."""
    low, high = (arrays[end].astype(np.float32) for end in ("low", "high"))
    if low.shape != (len(names),) or high.shape != low.shape:
        raise ValueError(
            f"the pulse has ends of shape {low.shape} and {high.shape} for {len(names)} columns"
        )
    return Pulse(names, low, high, cells, Tail(*(float(value) for value in arrays["tail"])))
