"""From two records to the blocks of their differences, each decided by its own span of time alone."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving.compiled import Floats

Instants = npt.NDArray[np.int64]


class Record(NamedTuple):
    """What one side of a comparison did.

    Attributes
    ----------
    known_at : array of int64, shape (n,)
        Microseconds since the epoch; increasing, or nothing is compared.
    value : array of float64, shape (n,)
        *More is better*: net log return of the bar, or a negative loss.
    trades : int or None
        Fills of the book; None where the record is not that of a book.
    """

    known_at: Instants
    value: Floats
    trades: int | None = None


class Grid(NamedTuple):
    """How values lie in time; all in microseconds.

    Attributes
    ----------
    block : int
        Length of a block; blocks start at multiples of it since the epoch.
    bar : int
    before, after : int
        A value known at t says something about (t - before, t + after]: a bar's return (bar, 0), a
        forecast's loss (0, horizon).
    """

    block: int
    bar: int
    before: int
    after: int

    @property
    def slots(self) -> int:
        """Values that a block without gaps holds."""
        return (self.block - self.before - self.after) // self.bar + 1


def differences(champion: Record, challenger: Record) -> tuple[Instants, Floats]:
    """Return challenger less champion at the instants both have, in order of time.

    Raises
    ------
    ValueError
        If a record's instants do not increase, or a value is not finite.
    """
    for name, record in (("champion", champion), ("challenger", challenger)):
        backwards = np.flatnonzero(np.diff(record.known_at) <= 0)
        if backwards.size:
            raise ValueError(
                f"the {name}'s clock goes backwards: record {backwards[0] + 1} is not after the one before"
            )
        bad = np.flatnonzero(~np.isfinite(record.value))
        if bad.size:
            raise ValueError(f"the {name}'s record {bad[0]} is {record.value[bad[0]]}, no number")
    both, here, there = np.intersect1d(
        champion.known_at, challenger.known_at, assume_unique=True, return_indices=True
    )
    return both, challenger.value[there] - champion.value[here]


def block_means(known_at: Instants, values: Floats, grid: Grid, until: int) -> Floats:
    """Return the mean value of every complete block, in order of time.

    A value counts for the block that holds all of its span, and for none if there is no such block:
    what a block says is known at its end, and no earlier block knew a part of it. A block counts once
    it has ended at `until`, if it has at least half of the values a block can hold.

    Parameters
    ----------
    known_at : array of int64, shape (n,)
        Increasing.
    values : array of float64, shape (n,)
    grid : Grid
    until : int
        Microseconds since the epoch.

    Returns
    -------
    array of float64, shape (blocks,)
    """
    place = (known_at - grid.before) // grid.block
    end = (place + 1) * grid.block
    whole = (known_at + grid.after <= end) & (end <= until)
    found, number = np.unique(place[whole], return_inverse=True)
    count = np.bincount(number, minlength=found.size)
    sums = np.bincount(number, weights=values[whole], minlength=found.size)
    enough = 2 * count >= grid.slots
    means: Floats = sums[enough] / count[enough]
    return means
