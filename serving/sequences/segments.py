"""Rows of a panel laid out as segments of a symbol's history, so that neighbours share their past.

One window a row repeats each bar as often as the window is long. A segment of `length` bars with the
`context - 1` bars before it holds the windows of all its bars, and a network that slides over it
gives each of them the number it would give to that window alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

ABSENT = -1
"""Row number of a bar that is not there."""


@dataclass(frozen=True)
class Segments:
    """Stretches of regular bars and where in them the asked rows are answered.

    Parameters
    ----------
    rows : array of int64, shape (s, context - 1 + length)
        Row numbers of X, oldest first; `ABSENT` where the symbol has no bar.
    segment, offset : array of int64, shape (n,)
        Asked row i is answered by segment `segment[i]` at its bar `context - 1 + offset[i]`.
    """

    rows: Rows
    segment: Rows
    offset: Rows

    @property
    def seen(self) -> Rows:
        """The rows of X that some segment holds, ascending, each once."""
        return np.unique(self.rows[self.rows != ABSENT])


class SegmentIndex:
    """Finds the row of a symbol's bar, and lays rows out as segments.

    Parameters
    ----------
    symbol, bar : array of int64, shape (m,)
        Whose and which bar each row is, in any order.

    Raises
    ------
    ValueError
        If a symbol has two rows on one bar.
    """

    def __init__(self, symbol: Rows, bar: Rows) -> None:
        self._symbol, self._bar = symbol, bar
        self._order = np.lexsort((bar, symbol))
        self._first = int(bar.min()) if bar.size else 0
        self._stride = (int(bar.max()) if bar.size else 0) - self._first + 1
        self._keys = self._key(symbol, bar)[self._order]
        if (repeated := self._keys[1:] == self._keys[:-1]).any():
            row = int(self._order[int(repeated.argmax())])
            raise ValueError(
                f"symbol {int(symbol[row])} has two rows on bar {int(bar[row])}; "
                "a sequence has at most one: score one venue at a time"
            )

    def find(self, symbol: Rows, bar: Rows) -> Rows:
        """Return the row of each symbol's bar, `ABSENT` where there is none."""
        inside = (bar >= self._first) & (bar < self._first + self._stride)
        key = self._key(symbol, bar)
        place = np.searchsorted(self._keys, key).clip(max=self._keys.size - 1)
        return np.where(inside & (self._keys[place] == key), self._order[place], ABSENT)

    def lay_out(self, rows: Rows, context: int, *, longest: int, shift: int = 0) -> Segments:
        """Return the segments that answer `rows`.

        Parameters
        ----------
        rows : array of int64, shape (n,)
            Asked rows.
        context : int
            Bars, the row's own included, that an answer looks at.
        longest : int
            Bars answered by a segment at most; it bounds memory.
        shift : int
            Moves the borders between segments by so many bars: answers do not depend on it.
        """
        symbol, bar = self._symbol[rows], self._bar[rows]
        length = min(longest, int(np.ptp(bar)) + 1 if bar.size else 1)
        block = (bar - self._first + shift) // length
        blocks = (self._stride + shift) // length + 1
        keys, segment = np.unique(symbol * blocks + block, return_inverse=True)
        start = (keys % blocks) * length - shift + self._first
        bars = start[:, None] + np.arange(1 - context, length)
        return Segments(
            rows=self.find(np.broadcast_to((keys // blocks)[:, None], bars.shape), bars),
            segment=segment,
            offset=bar - start[segment],
        )

    def _key(self, symbol: Rows, bar: Rows) -> Rows:
        key: Rows = symbol * self._stride + (bar - self._first)
        return key
