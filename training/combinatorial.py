"""Combinatorial purged cross-validation: many backtest paths through one history.

Time is cut into groups; every choice of some of them is a test set, predicted from what is unrelated
to all of it. Each group is predicted several times, and the predictions can be laid end to end as
several full histories, every one out of sample: a distribution of results instead of one.

Reference: M. Lopez de Prado, *Advances in Financial Machine Learning* (2018), ch. 12.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from training.splits import Instants, Rows, equal_groups, unrelated


@dataclass(frozen=True)
class CombinatorialPurgedCV:
    """`groups` blocks of equal time, of which every choice of `test_groups` is predicted once.

    Training rows are purged by label end around *every* test group, on all symbols at once, and those
    that start within `embargo` after one are dropped.

    Raises
    ------
    ValueError
        If `test_groups` is not between 1 and `groups` - 1.
    """

    groups: int
    test_groups: int
    embargo: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not 1 <= self.test_groups < self.groups:
            raise ValueError(
                f"{self.test_groups} test groups of {self.groups}: at least one group must be tested "
                f"and one trained on; use 1 to {max(self.groups - 1, 1)} of 2 groups or more"
            )

    @property
    def splits(self) -> int:
        """How many splits there are: groups choose test_groups."""
        return comb(self.groups, self.test_groups)

    @property
    def path_count(self) -> int:
        """How many backtest paths the splits make: how often each group is tested."""
        return comb(self.groups - 1, self.test_groups - 1)

    def tested(self) -> list[tuple[int, ...]]:
        """Return the groups that each split tests, in the order of `split`."""
        return list(combinations(range(self.groups), self.test_groups))

    def split(self, known_at: Instants, label_end: Instants) -> Iterator[tuple[Rows, Rows]]:
        """Yield (train, test) row numbers, a pair a split, in the order of `tested`.

        Parameters
        ----------
        known_at, label_end : array of int64, shape (n,)
            Microseconds since the epoch, in any order; `training.splits.NO_END` for a label without
            end.

        Raises
        ------
        ValueError
            If there are fewer instants than groups, or a group has no rows.
        """
        group = equal_groups(known_at, self.groups)
        kept = [
            unrelated(known_at, label_end, group == number, self.embargo)
            for number in range(self.groups)
        ]
        for chosen in self.tested():
            train = np.logical_and.reduce([kept[number] for number in chosen])
            yield np.flatnonzero(train), np.flatnonzero(np.isin(group, chosen))

    def paths(self) -> npt.NDArray[np.int64]:
        """Return the split that predicts each group of each path.

        Returns
        -------
        array of int64, shape (path_count, groups)
            Path p takes group g from split ``paths()[p, g]``; every (split, group) that is tested is
            used exactly once.
        """
        taking: list[list[int]] = [[] for _ in range(self.groups)]
        for number, chosen in enumerate(self.tested()):
            for group in chosen:
                taking[group].append(number)
        return np.array(taking, dtype=np.int64).T

    def along_paths(
        self, known_at: Instants, predictions: Sequence[npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Lay predictions of the splits end to end as full histories.

        Parameters
        ----------
        known_at : array of int64, shape (n,)
            Of the rows that were split.
        predictions : sequence of arrays, shape (test rows of the split, ...)
            One a split, as `split` yields its test rows.

        Returns
        -------
        array, shape (path_count, n, ...)
            Prediction of every row along every path.

        Raises
        ------
        ValueError
            If there is not one array a split with one row a test row.
        """
        group = equal_groups(known_at, self.groups)
        rows = [np.flatnonzero(np.isin(group, chosen)) for chosen in self.tested()]
        if [len(p) for p in predictions] != [r.size for r in rows]:
            raise ValueError(
                f"predictions of {[len(p) for p in predictions]} rows for splits that test "
                f"{[r.size for r in rows]} rows; hand over one array a split, in the order of split()"
            )
        first = np.asarray(predictions[0])
        laid = np.empty((self.path_count, known_at.size, *first.shape[1:]), dtype=first.dtype)
        paths = self.paths()
        for number, (found, predicted) in enumerate(zip(rows, predictions, strict=True)):
            for path, part in np.argwhere(paths == number):
                mine = group[found] == part
                laid[path, found[mine]] = np.asarray(predicted)[mine]
        return laid
