"""Splits by time and label end, never by row count, on panels of many symbols.

All instants are int64 microseconds since the epoch, one a row; rows may come in any order and many
rows may share an instant (one a symbol). A label whose end is not known has `NO_END`: such a row
may be predicted but never trained on. Reference: M. Lopez de Prado, *Advances in Financial Machine
Learning* (2018), ch. 7.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import TooLittleData

Instants = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]

NO_END = np.iinfo(np.int64).max
"""End of a label that is not known."""

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class PurgedKFold:
    """`folds` contiguous test blocks (see `equal_groups`); each is predicted from all the others.

    Training rows whose label overlaps the test interval are purged, and those that start within
    `embargo` after it are dropped, because features look back into it.
    """

    folds: int
    embargo: timedelta = timedelta(0)

    def split(self, known_at: Instants, label_end: Instants) -> Iterator[tuple[Rows, Rows]]:
        """Yield (train, test) row numbers, a pair a fold, in order of time.

        Raises
        ------
        TooLittleData
            If there are fewer instants than folds.
        """
        group = equal_groups(known_at, self.folds)
        for fold in range(self.folds):
            in_test = group == fold
            keep = unrelated(known_at, label_end, in_test, self.embargo)
            yield np.flatnonzero(keep), np.flatnonzero(in_test)


def equal_groups(known_at: Instants, groups: int) -> Rows:
    """Return the number, from 0, of the contiguous block of equal time that each row falls in.

    Where a gap would leave a block empty, as the middle fold of three leaves it to the folds within the
    other two, they are blocks of equally many instants.

    Raises
    ------
    TooLittleData
        If there are fewer instants than groups.
    """
    instants = np.unique(known_at)
    if instants.size < groups:
        raise TooLittleData(
            f"{instants.size} instants cannot make {groups} folds; "
            f"use at most {instants.size} folds or a longer span"
        )
    first, last = int(instants[0]), int(instants[-1])
    edges = [first + (last + 1 - first) * k // groups for k in range(1, groups)]
    group: Rows = np.searchsorted(np.array(edges, dtype=np.int64), known_at, side="right")
    if np.unique(group).size < groups:
        group = np.searchsorted(instants, known_at) * groups // instants.size
    return group


def unrelated(
    known_at: Instants,
    label_end: Instants,
    in_test: npt.NDArray[np.bool_],
    embargo: timedelta = timedelta(0),
) -> npt.NDArray[np.bool_]:
    """Say which rows may be trained on when the rows `in_test`, contiguous in time, are predicted.

    Their labels end before the first test row is known, or they are known after the last test label
    has ended and the embargo is over. Test rows themselves are not, nor is a label without end.
    """
    test_start = known_at[in_test].min()
    ends = label_end[in_test & (label_end != NO_END)]
    test_end = max(known_at[in_test].max(), ends.max(initial=test_start))
    before = label_end < test_start
    after = known_at > test_end + embargo // _MICROSECOND
    allowed: npt.NDArray[np.bool_] = (before | after) & (label_end != NO_END)
    return allowed


@dataclass(frozen=True)
class PurgedWalkForward:
    """`windows` test spans going back from `end`, each predicted from the `train` span before it.

    Test windows are half-open to the left, `(start, start + test]`, and tile the time up to `end`.
    A label must have ended by a window's start to be trained on. Rolling, every window has a training
    span of the same length; `expanding`, all begin where the oldest does, so that later windows know
    more.
    """

    windows: int
    test: timedelta
    train: timedelta
    end: int
    expanding: bool = False

    def bounds(self) -> list[tuple[int, int, int]]:
        """Return (train start, test start, test end) of every window, oldest first."""
        test, train = self.test // _MICROSECOND, self.train // _MICROSECOND
        starts = [self.end - (self.windows - k) * test for k in range(self.windows)]
        return [
            ((starts[0] if self.expanding else start) - train, start, start + test)
            for start in starts
        ]

    def split(self, known_at: Instants, label_end: Instants) -> Iterator[tuple[Rows, Rows]]:
        """Yield (train, test) row numbers, a pair a window, oldest first."""
        for begin, start, stop in self.bounds():
            train = (known_at > begin) & (label_end <= start)
            test = (known_at > start) & (known_at <= stop)
            yield np.flatnonzero(train), np.flatnonzero(test)


@dataclass(frozen=True)
class SplitAudit:
    """What the audit of one split saw; logged with the run."""

    name: str
    train_rows: int
    test_rows: int
    overlaps: int
    gap_bars_before: float | None
    """Bars from the last training label end before the test to its start; null if there is none."""

    def as_json(self) -> dict[str, Any]:
        """Return the audit as plain JSON types."""
        return asdict(self)


def audit_split(
    name: str,
    known_at: Instants,
    label_end: Instants,
    train: Rows,
    test: Rows,
    *,
    timeframe: timedelta,
) -> SplitAudit:
    """Check one split without trusting who made it; run for every split that is ever used.

    Every test row spans the closed interval from `known_at` to its `label_end` (to `known_at` itself
    where that is not known); no training row's interval may touch one of them.

    Raises
    ------
    TooLittleData
        If a side is empty.
    ValueError
        If a training interval touches a test interval, a row is on both sides, or a training label has
        no end.
    """
    if train.size == 0 or test.size == 0:
        raise TooLittleData(
            f"split {name}: {train.size} training and {test.size} test rows; "
            "both sides need rows: use a longer history or shorter windows"
        )
    starts, ends = _merged(known_at[test], label_end[test])
    left, right = known_at[train], label_end[train]
    nearest = np.searchsorted(starts, right, side="right") - 1
    touching = (nearest >= 0) & (ends[nearest.clip(0)] >= left)
    overlaps = int(touching.sum())
    if overlaps or (right == NO_END).any() or np.intersect1d(train, test).size:
        raise ValueError(
            f"split {name}: {overlaps} of {train.size} training labels overlap the test interval, "
            f"{int((right == NO_END).sum())} have no end, "
            f"{np.intersect1d(train, test).size} rows are on both sides; the bound is 0 of each"
        )
    before = right[right < starts[0]]
    gap = (
        (int(starts[0]) - int(before.max())) / (timeframe // _MICROSECOND) if before.size else None
    )
    return SplitAudit(name, int(train.size), int(test.size), overlaps, gap)


def _merged(known_at: Instants, label_end: Instants) -> tuple[Instants, Instants]:
    """Return starts and ends of the disjoint intervals that the rows cover, sorted."""
    order = np.argsort(known_at, kind="stable")
    starts = known_at[order]
    ends = np.where(label_end == NO_END, known_at, label_end)[order]
    reach = np.maximum.accumulate(ends)
    fresh = np.concatenate(([True], starts[1:] > reach[:-1]))
    last = np.concatenate((np.flatnonzero(fresh)[1:] - 1, [starts.size - 1]))
    return starts[fresh], reach[last]
