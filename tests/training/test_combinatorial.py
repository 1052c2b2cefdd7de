"""Combinatorial purged cross-validation: nothing leaks around any test group, and paths are whole."""

from datetime import timedelta
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from training.combinatorial import CombinatorialPurgedCV
from training.splits import NO_END, audit_split

HOUR = timedelta(hours=1)
US = 3_600_000_000


@st.composite
def panels(draw):
    """(known_at, label_end) of a few symbols with gaps, labels of random length, some without end."""
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    symbols, bars = draw(st.integers(1, 3)), draw(st.integers(60, 120))
    longest = draw(st.integers(1, 5))
    known_at = np.tile(np.arange(bars) * US, symbols)
    known_at = known_at[rng.random(known_at.size) > 0.1]
    label_end = known_at + rng.integers(1, longest + 1, known_at.size) * US
    label_end[rng.random(known_at.size) < 0.05] = NO_END
    order = rng.permutation(known_at.size)
    return known_at[order], label_end[order]


def slow_group(known_at, groups):
    first, span = int(known_at.min()), int(known_at.max()) + 1 - int(known_at.min())
    edges = [first + span * k // groups for k in range(1, groups)]
    return np.array([sum(int(instant) >= edge for edge in edges) for instant in known_at])


def slow_train(known_at, label_end, test, group, tested, embargo):
    """Rows that touch no test group's interval, embargo included, one by one."""
    kept = []
    for row in range(known_at.size):
        fine = label_end[row] != NO_END
        for number in tested:
            inside = np.flatnonzero(group == number)
            begin, last = known_at[inside].min(), known_at[inside].max()
            ends = [label_end[i] for i in inside if label_end[i] != NO_END]
            stop = max([last, *ends])
            fine &= label_end[row] < begin or known_at[row] > stop + embargo * US
        if fine:
            kept.append(row)
    return kept


@given(panels(), st.integers(3, 6), st.integers(0, 4), st.data())
@budget(max_examples=30, deadline=None)
def test_training_rows_are_those_of_the_plain_twin_and_pass_the_audit(panel, groups, embargo, data):
    known_at, label_end = panel
    tests = data.draw(st.integers(1, 2))
    splitter = CombinatorialPurgedCV(groups, tests, embargo * HOUR)
    group = slow_group(known_at, groups)
    splits = list(splitter.split(known_at, label_end))
    assert len(splits) == splitter.splits == comb(groups, tests)
    for tested, (train, test) in zip(splitter.tested(), splits, strict=True):
        assert set(group[test]) == set(tested)
        assert test.size == np.isin(group, tested).sum()
        expected = slow_train(known_at, label_end, test, group, tested, embargo)
        assert train.tolist() == expected
        if train.size:
            audit_split("cpcv", known_at, label_end, train, test, timeframe=HOUR)


def test_the_paths_of_the_book():
    # Lopez de Prado (2018), figure 12.1: 6 groups, 2 tested, 15 splits and 5 paths; the first path
    # takes groups 1 to 6 from splits 1, 1, 2, 3, 4, 5.
    splitter = CombinatorialPurgedCV(6, 2)
    assert (splitter.splits, splitter.path_count) == (15, 5)
    paths = splitter.paths()
    assert paths.shape == (5, 6)
    assert (paths[0] + 1).tolist() == [1, 1, 2, 3, 4, 5]


@given(st.integers(2, 9), st.data())
def test_every_tested_group_of_every_split_is_used_once(groups, data):
    tests = data.draw(st.integers(1, groups - 1))
    splitter = CombinatorialPurgedCV(groups, tests)
    used = [(split, group) for path in splitter.paths() for group, split in enumerate(path)]
    tested = [(s, g) for s, chosen in enumerate(splitter.tested()) for g in chosen]
    assert sorted(used) == sorted(tested)
    assert splitter.path_count * groups == splitter.splits * tests


@given(panels())
@budget(max_examples=20, deadline=None)
def test_predictions_along_a_path_are_those_of_the_splits_it_names(panel):
    known_at, label_end = panel
    splitter = CombinatorialPurgedCV(4, 2)
    splits = list(splitter.split(known_at, label_end))
    told = [
        np.column_stack([np.full(test.size, number), test])
        for number, (_, test) in enumerate(splits)
    ]
    laid = splitter.along_paths(known_at, told)
    assert laid.shape == (3, known_at.size, 2)
    group = slow_group(known_at, 4)
    for path, taken in enumerate(splitter.paths()):
        assert (laid[path, :, 0] == taken[group]).all()
        assert (laid[path, :, 1] == np.arange(known_at.size)).all()


def test_predictions_that_do_not_fit_the_splits_are_refused():
    known_at = np.arange(8) * US
    with pytest.raises(ValueError, match="hand over one array a split"):
        CombinatorialPurgedCV(4, 1).along_paths(known_at, [np.zeros(2)] * 3)


@pytest.mark.parametrize(("groups", "tests"), [(4, 0), (4, 4), (1, 1)])
def test_a_choice_that_leaves_nothing_to_test_or_train_is_refused(groups, tests):
    with pytest.raises(ValueError, match=f"{tests} test groups of {groups}"):
        CombinatorialPurgedCV(groups, tests)
