"""Can a classifier tell the window from the reference? The joint drift that no column shows alone."""

from dataclasses import dataclass

import numpy as np

from evaluation.drift.histograms import Columns, bin_codes
from evaluation.drift.null import Null, fit_null
from evaluation.drift.spread import pieces_of
from serving.compiled import Counts, Floats

SAMPLE = 1500
"""Rows of the reference that a window is told from."""
INSTANTS = 42
"""Instants of a window that are looked at."""
_MOST_WINDOWS = 60
_APART = 4
"""Windows before and after one of the reference that it is not told from; a sixth of all if that is fewer."""
_RIDGE = 0.1
_PIECES = 7
_HALVES = ((0, 1, 2), (4, 5, 6))
"""Pieces of a window that one fold learns from and the other is tested on; the middle one is purged."""


@dataclass(frozen=True)
class Classifier:
    """Rows of the reference, and how well its own windows are told from them.

    Attributes
    ----------
    edges : float32 (k, bins - 1)
        Values enter as the place of their bin, so that no outlier leads.
    sample : float32 (m, k)
        Codes of reference rows, in order of time.
    sample_piece : int64 (m,)
        Their pieces of time; the folds are whole windows in turns.
    window_bars : int
    null : Null
        Of `discriminability` out of sample.
    """

    edges: Columns
    sample: Columns
    sample_piece: Counts
    window_bars: int
    null: Null

    def distance(self, X: Columns, bar: Counts) -> float:
        """Return how well a window is told from the reference [standard deviations]; NaN if too short."""
        codes, piece, pieces = _looked_at(X, bar, self.edges, self.window_bars)
        if pieces < _PIECES:
            return float("nan")
        return _told_apart(codes, piece - (pieces - _PIECES), self.sample, self.sample_piece)


def fit_classifier(X: Columns, bar: Counts, edges: Columns, *, window_bars: int) -> Classifier:
    """Learn how well windows of a reference are told from the rest of it.

    A linear discriminant learns on one half of the window against every other stretch of the reference
    and is tested on the other half and the other stretches, and the other way round, with a piece
    purged between the halves. Nearby hours are alike, so a window is always told apart a little; how
    much is the null, one value a window side by side (at most 60 of them). A window to come has no
    neighbours in the reference, so one of its own is told from what lies four windows away or more.

    Parameters
    ----------
    X : float32 (n, k)
    bar : int64 (n,)
    edges : float32 (k, bins - 1)
        Of `histograms.bin_edges`.
    window_bars : int

    Raises
    ------
    ValueError
        If the reference is shorter than `FEWEST_WINDOWS` windows.

    References
    ----------
    Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests.
    """
    codes, piece, pieces = _looked_at(X, bar, edges, window_bars)
    order = np.argsort(piece, kind="stable")
    codes, piece = codes[order], piece[order]
    windows = pieces // _PIECES
    chosen = np.unique(np.linspace(0, windows - 1, min(windows, _MOST_WINDOWS)).astype(int))
    apart = max(min(_APART, windows // 6), 1) * _PIECES
    firsts = [pieces - (w + 1) * _PIECES for w in chosen[::-1]]
    found = [_of_own_window(codes, piece, first, apart) for first in firsts]
    null = fit_null(np.array(found).reshape(len(found), 1), smallest_scale=0.1, overlap=1)
    kept = _thinned(np.flatnonzero(piece >= 0))
    return Classifier(edges, codes[kept], piece[kept], window_bars, null)


def _looked_at(
    X: Columns, bar: Counts, edges: Columns, window_bars: int
) -> tuple[Columns, Counts, int]:
    """Return codes and pieces of the rows that are looked at, and how many pieces all of the bars make."""
    piece, pieces = pieces_of(bar, window_bars)
    seen = (bar.max(initial=0) - bar) % max(window_bars // INSTANTS, 1) == 0
    return bin_codes(X[seen], edges), piece[seen], pieces


def _thinned(rows: Counts) -> Counts:
    places = np.linspace(0, rows.size - 1, min(SAMPLE, rows.size)).astype(np.int64)
    return rows[places]


def _of_own_window(codes: Columns, piece: Counts, first: int, apart: int) -> float:
    inside = (piece >= first) & (piece < first + _PIECES)
    near = (piece >= first - apart) & (piece < first + _PIECES + apart)
    rest = _thinned(np.flatnonzero(~near & (piece >= 0)))
    return _told_apart(codes[inside], piece[inside] - first, codes[rest], piece[rest])


def _told_apart(window: Columns, piece: Counts, rest: Columns, rest_piece: Counts) -> float:
    halves = [np.isin(piece, half) for half in _HALVES]
    stretches = [(rest_piece // _PIECES) % 2 == parity for parity in (0, 1)]
    if not all(part.any() for part in (*halves, *stretches)):
        return float("nan")
    found = []
    for learned, tested in ((0, 1), (1, 0)):
        direction = discriminant(window[halves[learned]], rest[stretches[learned]])
        these, those = window[halves[tested]], rest[stretches[tested]]
        found.append(discriminability(these @ direction, those @ direction))
    return float(np.mean(found))


def discriminant(these: Columns, those: Columns) -> Floats:
    """Return the ridge-regularised linear discriminant of two samples, (k,); larger is the first."""
    apart = these.mean(axis=0) - those.mean(axis=0)
    centred = np.concatenate([these - these.mean(axis=0), those - those.mean(axis=0)])
    spread = (centred.T @ centred).astype(np.float64) / len(centred)
    spread += np.eye(apart.size) * max(_RIDGE * float(np.trace(spread)) / apart.size, 1e-9)
    direction: Floats = np.linalg.solve(spread, apart.astype(np.float64))
    return direction


def discriminability(these: Floats, those: Floats) -> float:
    """Return how far apart the means of two samples are, in units of their common deviation (d').

    0 of samples that do not vary. Unlike the area under the curve, 1 for all that lies wholly apart, it
    says how far.

    References
    ----------
    Green and Swets (1966), Signal detection theory and psychophysics.
    """
    spread = np.sqrt((these.var() + those.var()) / 2.0)
    return float((these.mean() - those.mean()) / spread) if spread > 0.0 else 0.0
