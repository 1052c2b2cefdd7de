"""Rows of features with whose and when they are: what a model learns from and is asked about.

A model of rows looks at each asked row by itself. A sequence model also looks back: at the rows of the
same symbol on the bars before. Both get the same object, so nothing has to copy windows.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Observations:
    """Rows of features, and which of them are asked for; the others are their past.

    Parameters
    ----------
    X : array of float32, shape (m, k)
        NaN means missing.
    symbols : tuple of str
        Names that `symbol` counts.
    symbol : array of int64, shape (m,)
        Place of each row's symbol in `symbols`.
    bar : array of int64, shape (m,)
        Number of each row's bar since 1970; consecutive bars differ by 1, a gap in the market is a gap
        here. A symbol has at most one row a bar; rows may stand in any order.
    rows : array of int64, shape (n,)
        Row numbers of X that are asked for, or learned from, in the order of the answer.
    """

    X: Matrix
    symbols: tuple[str, ...]
    symbol: Rows
    bar: Rows
    rows: Rows

    @property
    def asked(self) -> Matrix:
        """The asked rows of X, shape (n, k), contiguous; X itself where all are asked in order."""
        if self.rows.size == len(self.X) and np.array_equal(self.rows, np.arange(len(self.X))):
            return np.ascontiguousarray(self.X, dtype=np.float32)
        return np.ascontiguousarray(self.X[self.rows], dtype=np.float32)

    def of(self, rows: Rows) -> Self:
        """Return the same rows with `rows` asked for."""
        return type(self)(self.X, self.symbols, self.symbol, self.bar, rows)

    def with_columns(self, X: Matrix) -> Self:
        """Return the same rows with other features, shape (m, j)."""
        return type(self)(X, self.symbols, self.symbol, self.bar, self.rows)

    @classmethod
    def from_frame(
        cls, keys: pl.DataFrame, X: Matrix, bar_seconds: int, rows: Rows | None = None
    ) -> Self:
        """Lay rows out by the columns symbol and known_at of `keys`; all are asked for by default."""
        names = keys["symbol"].unique().sort()
        codes = keys["symbol"].cast(pl.Enum(names)).to_physical().cast(pl.Int64)
        bar = keys["known_at"].dt.timestamp("us").to_numpy() // (bar_seconds * 1_000_000)
        asked = np.arange(keys.height) if rows is None else rows
        return cls(X, tuple(names.to_list()), codes.to_numpy(), bar, asked)

    @classmethod
    def alone(cls, X: Matrix) -> Self:
        """Return rows that know nothing of each other: a symbol without a name and a past each."""
        every: Any = np.arange(len(X))
        return cls(X, ("",) * len(X), every, np.zeros(len(X), np.int64), every)
