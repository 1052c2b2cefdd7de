from typing import NamedTuple

import numpy as np
import pytest
from numba.core.errors import TypingError

from serving.compiled import Counts, Floats, compiled
from serving.references import by_reference


class Pair(NamedTuple):
    left: Floats
    right: Floats


class Shelf(NamedTuple):
    pair: Pair
    counts: Counts
    factor: float
    wide: bool


@compiled
def shift(shelf: Shelf) -> float:
    """Read every kind of field and write into one."""
    shelf.counts[1] += 5
    total = shelf.pair.left[0] + 10.0 * shelf.pair.right[0, 1]
    return total * shelf.factor if shelf.wide else 0.0


@compiled
def shift_by_reference(shelf: Shelf) -> float:
    return shift(by_reference(shelf))


@compiled
def read_what_is_not_there(shelf: Shelf) -> float:
    return by_reference(shelf).nothing


def shelf_of(*, wide: bool) -> Shelf:
    # Two dimensions on one side: the fields of a pair need not be alike.
    return Shelf(Pair(np.array([1.0]), np.array([[2.0, 3.0]])), np.zeros(2, np.int64), 0.5, wide)


@pytest.mark.parametrize("wide", [True, False])
def test_a_tuple_behind_a_reference_reads_and_writes_like_the_tuple(wide: bool) -> None:
    plain, referred = shelf_of(wide=wide), shelf_of(wide=wide)
    assert shift_by_reference(referred) == shift(plain) == (15.5 if wide else 0.0)
    assert referred.counts.tolist() == plain.counts.tolist() == [0, 5]


def test_fields_of_one_kind_are_read_too() -> None:
    @compiled
    def difference(pair: Pair) -> float:
        at = by_reference(pair)
        return at.left[0] - at.right[0]

    assert difference(Pair(np.array([4.0]), np.array([1.5]))) == 2.5


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(TypingError, match="Unknown attribute 'nothing'"):
        read_what_is_not_there(shelf_of(wide=True))
